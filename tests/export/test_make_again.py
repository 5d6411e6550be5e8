"""`timbrel make` goes on where it was stopped, with the same sounds and no others."""

import shutil
from types import SimpleNamespace

import pytest
import soundfile
import torch
from timbrel.export import evaluate as evaluating
from timbrel.export import first_preset
from timbrel.export import make as making
from timbrel.export.make import MakeStopped
from timbrel.host.errors import UserError
from timbrel.train import checkpoint
from timbrel.train.corpus import chunks
from timbrel.train.corpus.build import build

from .instruments import MINUTES, PARTS, contents, interrupt_at, made

pytestmark = pytest.mark.usefixtures("small_instruments")


# ---- stopping and going on


def test_ctrl_c_while_it_trains_saves_and_the_same_command_goes_on(recordings, tmp_path, monkeypatch, timbrel, quick):
    output = tmp_path / "bells"
    command = ["make", recordings, "-o", output, "--minutes", MINUTES]
    with monkeypatch.context() as patch:
        interrupt_at(patch, 5)
        stopped = timbrel(*command)
    assert stopped.status == 130
    assert stopped.err.splitlines()[-1] == (
        "timbrel: stopped at step 6, all is saved; run the same command again to resume"
    )
    assert {path.name for path in output.iterdir()} == {"corpus", "trial"}
    before = (output / "corpus" / "corpus.json").stat().st_mtime_ns
    ended = timbrel(*command)
    assert ended.status == 0, ended.err
    assert {path.name for path in output.iterdir()} == PARTS
    assert (output / "corpus" / "corpus.json").stat().st_mtime_ns == before  # not built again
    for part in ("trial", "run"):
        last = checkpoint.progress_of(checkpoint.load(output / part / "last.ckpt"))
        assert last.step > 6
        assert 30 * MINUTES <= last.seconds < 30 * MINUTES + 0.5  # of a clock that the loop's looks move


@pytest.mark.parametrize(("module", "part"), [(making, "evaluate"), (evaluating, "export"), (first_preset, "render")])
def test_ctrl_c_after_training_costs_no_training(recordings, tmp_path, monkeypatch, quick, module, part):
    output = tmp_path / "bells"

    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(module, part, interrupted)
        with pytest.raises(KeyboardInterrupt):
            made(recordings, output, minutes=0.01)
    trained = checkpoint.progress_of(checkpoint.load(output / "run" / "last.ckpt")).step
    assert trained > 0
    made(recordings, output, minutes=0.01)
    assert {path.name for path in output.iterdir()} == PARTS
    assert checkpoint.progress_of(checkpoint.load(output / "run" / "last.ckpt")).step == trained


@pytest.mark.usefixtures("quick")
def test_a_make_that_was_killed_while_it_read_goes_on(recordings, tmp_path, monkeypatch):
    monkeypatch.setattr(chunks, "CHUNK_FILES", 3)  # sounds, which stay once they are read
    output = tmp_path / "bells"
    output.mkdir()
    with pytest.raises(KeyboardInterrupt):
        build([recordings], output / "corpus", progress=interrupted)
    assert (output / "corpus" / ".reading").exists()
    made(recordings, output, minutes=0.01)
    assert {path.name for path in output.iterdir()} == PARTS
    assert not (output / "corpus" / ".reading").exists()


def interrupted(done, name):
    if done > 0.5:
        raise KeyboardInterrupt


# ---- going on with what is finished


def trained_seconds(output):
    """Return the seconds that the trial and the run after it were trained."""
    return sum(
        checkpoint.progress_of(checkpoint.load(output / part / "last.ckpt")).seconds for part in ("trial", "run")
    )


def test_more_minutes_go_on_with_a_finished_instrument_and_again(recordings, tmp_path, quick, timbrel):
    output = tmp_path / "bells"
    made(recordings, output, minutes=0.02)
    first = trained_seconds(output)
    weights = checkpoint.load(output / "run" / "last.ckpt")["model"]
    done = timbrel("make", "-o", output, "--more-minutes", 0.02)
    assert done.status == 0, done.err
    assert f"further:  timbrel make -o {output} --more-minutes 5" in done.out
    second = trained_seconds(output)
    assert first + 1.2 <= second < first + 30
    after = checkpoint.load(output / "run" / "last.ckpt")["model"]
    assert not all(torch.equal(weights[name], after[name]) for name in weights)
    assert {path.name for path in output.iterdir()} == PARTS  # a preset that nobody edited is written anew
    assert quick == ["export", "evaluate"] * 2
    made(recordings, output, more_minutes=0.02)  # the sounds may be given
    assert trained_seconds(output) >= second + 1.2


def test_more_minutes_that_were_stopped_are_finished_and_no_more(recordings, tmp_path, quick, monkeypatch):
    output = tmp_path / "bells"
    made(recordings, output, minutes=0.02)
    before = (output / "preset.toml").read_bytes()
    step = checkpoint.progress_of(checkpoint.load(output / "run" / "last.ckpt")).step
    asked = trained_seconds(output) + 60 * 0.05
    with monkeypatch.context() as patch:
        interrupt_at(patch, step + 3)
        with pytest.raises(MakeStopped):
            made([], output, more_minutes=0.05)
    assert (output / "preset.toml").read_bytes() == before  # it plays as it did
    _, display = made([], output, more_minutes=0.05)
    assert any(
        line.endswith("minutes of those asked for last time are left, and are trained now") for line in display.said
    )
    assert asked <= trained_seconds(output) < asked + 0.5  # of a clock that the loop's looks move


def test_more_minutes_that_were_stopped_after_the_trial_train_no_trial_again(recordings, tmp_path, quick, monkeypatch):
    output = tmp_path / "bells"
    made(recordings, output, minutes=0.02)
    resumed = making.resume

    def stopped_after_the_trial(folder, recipe, options):
        if folder.name == "run":
            raise KeyboardInterrupt
        return resumed(folder, recipe, options)

    with monkeypatch.context() as patch:
        patch.setattr(making, "resume", stopped_after_the_trial)
        with pytest.raises(KeyboardInterrupt):
            made([], output, more_minutes=0.02)
    steps = checkpoint.progress_of(checkpoint.load(output / "trial" / "last.ckpt")).step
    before = checkpoint.progress_of(checkpoint.load(output / "run" / "last.ckpt")).seconds
    made([], output, more_minutes=0.02)
    assert checkpoint.progress_of(checkpoint.load(output / "trial" / "last.ckpt")).step == steps
    assert checkpoint.progress_of(checkpoint.load(output / "run" / "last.ckpt")).seconds >= before + 0.6


def test_a_preset_that_was_edited_is_kept_beside_the_new_one(recordings, tmp_path, quick):
    output = tmp_path / "bells"
    made(recordings, output, minutes=0.01)
    for number in ("", "2"):
        mine = (output / "preset.toml").read_text(encoding="utf-8") + f"# mine{number}\n"
        (output / "preset.toml").write_text(mine, encoding="utf-8")
        _, display = made([], output, more_minutes=0.01)
        assert (output / f"preset-before{number}.toml").read_text(encoding="utf-8") == mine
        assert "mine" not in (output / "preset.toml").read_text(encoding="utf-8")
        assert any(f"preset-before{number}.toml" in line for line in display.said)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (
            ["--more-minutes", "0"],
            "--more-minutes 0 must be above 0, and 100000 at most; give the minutes to",
        ),
        (["--more-minutes", "nan"], "--more-minutes nan must be above 0"),
        (["--more-minutes", "1", "--minutes", "2"], "--minutes 2 and --more-minutes 1 are two budgets; give one"),
        (["--more-minutes", "1"], "holds no finished instrument; make one, or go on with one that was stopped, with"),
        ([], "give sounds to make an instrument of"),
    ],
)
def test_what_cannot_be_gone_on_with_is_one_line(tmp_path, timbrel, options, words):
    refused = timbrel("make", "-o", tmp_path / "bells", *options)
    assert refused.status == 2
    assert words in refused.err
    assert len(refused.err.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


# ---- other sounds


def louder(path):
    sound, rate = soundfile.read(path)
    soundfile.write(path, 0.5 * sound, rate)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda sounds: (sounds / "tone_60.wav").unlink(), "tone_60.wav missing"),
        (lambda sounds: shutil.copy(sounds / "tone_60.wav", sounds / "new.wav"), "new.wav new"),
        (lambda sounds: louder(sounds / "tone_60.wav"), "tone_60.wav changed"),
        (lambda sounds: [louder(path) for path in sounds.iterdir()], "tone_57.wav and 10 more changed"),
    ],
)
def test_what_was_begun_with_other_sounds_is_not_gone_on_with(begun, change, words):
    sounds, output = begun
    change(sounds)
    before = contents(output)
    with pytest.raises(UserError) as refused:
        made(sounds, output, minutes=0.01)
    assert str(refused.value) == (
        f"{output} was begun with other sounds than {sounds} ({words}); give the same ones to go on, or another -o"
    )
    assert contents(output) == before


def test_releases_of_an_sfz_and_files_that_cannot_be_read_are_the_same_sounds_again(tmp_path, monkeypatch):
    sounds = tmp_path / "sounds"
    sounds.mkdir()
    for name in ("a.wav", "rel_a.wav", "locked.wav"):
        (sounds / name).write_bytes(name.encode())
    (sounds / "all.sfz").write_text("<region> sample=a.wav key=60\n<region> sample=rel_a.wav key=60 trigger=release\n")

    def digest(path):
        if path.name == "locked.wav":
            raise PermissionError(13, "Permission denied")
        return path.name

    monkeypatch.setattr(making, "file_digest", digest)
    corpus = SimpleNamespace(files={"a.wav": "a.wav", "locked.wav": 64 * "0"})
    making._check_same(corpus, [sounds], tmp_path / "out")
    (sounds / "all.sfz").unlink()
    with pytest.raises(UserError, match=r"rel_a\.wav new"):
        making._check_same(corpus, [sounds], tmp_path / "out")


def test_the_same_sounds_elsewhere_are_gone_on_with(begun, tmp_path):
    sounds, output = begun
    sounds.rename(tmp_path / "moved")
    made(tmp_path / "moved", output, minutes=0.01)
    assert {path.name for path in output.iterdir()} == PARTS


def test_a_finished_instrument_is_not_trained_further_with_other_sounds(begun, recordings, noises):
    sounds, output = begun
    made(sounds, output, minutes=0.01)
    before = contents(output)
    with pytest.raises(UserError, match="was begun with other sounds"):
        made(noises, output, more_minutes=0.01)
    assert contents(output) == before


def test_another_family_than_was_begun_is_refused_and_auto_goes_on_with_it(begun):
    sounds, output = begun
    with pytest.raises(UserError, match=r"--family grain: \S+bells was begun as partials; leave it out to go on"):
        made(sounds, output, minutes=0.01, family="grain")
    made(sounds, output, minutes=0.01)
