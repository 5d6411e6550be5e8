"""One command turns recordings into an instrument, says how well it plays, and goes on where it was stopped."""

import json
import shutil
import signal
from dataclasses import replace

import numpy as np
import pytest
import soundfile
import torch
from timbrel.export import first_preset
from timbrel.export import make as making
from timbrel.export.listen import Obedience
from timbrel.export.make import Stopped, make
from timbrel.export.reports import chroma as chroma_report
from timbrel.host.contract.encoder import encoder_path
from timbrel.host.contract.model import Model
from timbrel.host.errors import Failure, UserError
from timbrel.host.patch.library import open_patch
from timbrel.host.pitch import sounding_note
from timbrel.host.progress import Display
from timbrel.train import checkpoint, families, loop
from timbrel.train.corpus.store import Corpus
from timbrel.train.models.chroma import ChromaAutoencoder
from timbrel.train.recipe import load_recipe
from timbrel.train.run import Run

PARTS = {"preset.toml", "model.onnx", "model.encoder.onnx", "scale.wav", "run", "corpus", "report"}
TEXTURE_PARTS = PARTS - {"scale.wav"} | {"texture.wav"}
SMALL = {
    "tuned-8": ["network.hidden=[128,64,32]", "frames.rows=2000", "training.batch_size=64"],
    "texture-10": ["network.hidden=[64]", "network.adjudicator=[32]", "frames.hop_length=200"],
}
MINUTES = 0.05  # three seconds


class Notes(Display):
    """A display that keeps what it is told."""

    def __init__(self):
        super().__init__()
        self.stages, self.said = [], []

    def stage(self, name):
        self.stages.append(name)

    def say(self, message):
        self.said.append(message)


def small_recipe(name, changes=()):
    return load_recipe(name, [*changes, *SMALL[name]])


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    """A small network, and fewer codes listened to, so that a whole instrument takes seconds."""
    monkeypatch.setattr(making, "load_recipe", small_recipe)
    monkeypatch.setattr(chroma_report, "HEARD_CODES", 2)
    monkeypatch.setattr(chroma_report, "TEST_FRAMES", 64)
    listen = first_preset.listen
    monkeypatch.setattr(first_preset, "listen", lambda model, progress: listen(model, _few(model), progress))


def _few(model):
    return np.array([mark.latent for mark in model.card.landmarks[::80]], np.float32)


@pytest.fixture(scope="module")
def recordings(tones, tmp_path_factory):
    """Ten tones of an octave, and one that is lower."""
    folder = tmp_path_factory.mktemp("recordings")
    for note in range(60, 70):
        shutil.copy(tones / f"tone_{note}.wav", folder)
    shutil.copy(tones / "tone_57.wav", folder)
    return folder


@pytest.fixture(scope="module")
def noises(tmp_path_factory):
    """Six recordings of rain, light and heavy."""
    folder = tmp_path_factory.mktemp("noises")
    for index in range(6):
        noise = np.random.default_rng(index).standard_normal(40000)
        tilted = np.convolve(noise, np.exp(-np.arange(30) * (0.1 + 0.3 * index)), mode="same")
        soundfile.write(folder / f"rain{index}.wav", 0.3 * tilted / np.abs(tilted).max(), 44100)
    return folder


def made(sounds, output, **options):
    display = Notes()
    given = sounds if isinstance(sounds, list) else [sounds]
    summary = make(given, output, **{"minutes": MINUTES, "family": "auto", "display": display, **options})
    return summary, display


def contents(folder):
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


# ---- what is made


def test_an_instrument_is_made_of_tonal_recordings(recordings, tmp_path):
    output = tmp_path / "bells"
    summary, display = made(recordings, output)
    assert {path.name for path in output.iterdir()} == PARTS
    assert [path for path in output.rglob("*.toml") if "run" not in path.parts] == [output / "preset.toml"]
    assert display.stages == ["reading sounds", "training tuned-8", "evaluating", "exporting", "listening"]
    assert str(output) in summary.splitlines()[0]
    assert "knobs" in summary
    assert "8 knobs" in summary
    assert "% of" in summary
    assert f"timbrel render {output} YOUR.mid -o OUT.wav" in summary
    assert not [line for line in display.said if "no clear pitch" in line]
    report = json.loads((output / "report" / "report.json").read_text(encoding="utf-8"))
    told = [line.removeprefix("but:").strip() for line in summary.splitlines() if line.startswith("but:")]
    assert told == report["shortcomings"]

    corpus = Corpus.open(output / "corpus")
    assert (corpus.name, len(corpus.clips())) == ("bells", 11)
    model = Model(output / "model.onnx")
    assert model.verify().passed
    assert model.card.name == "bells"
    assert (output / "report" / "index.html").stat().st_size > 1000
    assert (output / "report" / "report.json").exists()
    assert not (output / "run" / "report").exists()

    patch = open_patch(str(output / "preset.toml"))
    assert patch.warnings == ()
    preset, knobs = patch.preset, model.card.latents
    assert preset.model == "model.onnx"  # so that the folder can be moved
    assert preset.model_sha256 == model.sha256
    assert [(c.number, c.target, c.low, c.high) for c in preset.cc] == [
        (70 + i, f"latent.{i}", knob.low, knob.high) for i, knob in enumerate(knobs)
    ]
    start = np.array(preset.latent.values)
    assert min(np.abs(start - mark.latent).max() for mark in model.card.landmarks) < 1e-5
    first = (output / "preset.toml").read_text(encoding="utf-8").splitlines()[0]
    assert first.startswith("# Starts from a moment of tone_")

    scale, rate = soundfile.read(output / "scale.wav", dtype="float32")
    assert (rate, scale.shape[1]) == (44100, 2)
    assert np.isfinite(scale).all()
    for index in range(8):  # each note sounds, and none clips
        note = scale[index * 22050 + 2000 : (index + 1) * 22050 - 4000]
        assert 0.005 < np.abs(note).max() < 1
        assert np.isfinite(sounding_note(note.sum(1), rate))

    (output).rename(tmp_path / "moved")
    assert open_patch(str(tmp_path / "moved" / "preset.toml")).warnings == ()


@pytest.mark.slow
def test_the_instrument_plays_the_right_notes(recordings, tmp_path, monkeypatch):
    """With the recipe as it ships and a minute of training."""
    monkeypatch.setattr(making, "load_recipe", load_recipe)
    summary, _ = made(recordings, tmp_path / "bells", minutes=1.0)
    assert "it plays in tune" in summary
    scale, rate = soundfile.read(tmp_path / "bells" / "scale.wav", dtype="float32")
    for index, step in enumerate(first_preset.SCALE):
        note = scale[index * 22050 + 4000 : (index + 1) * 22050 - 4000].sum(1)
        assert sounding_note(note, rate) == pytest.approx(60 + step, abs=0.5)


@pytest.fixture
def quick(monkeypatch, small_model):
    """All that follows training takes no time: `small_model` is what any run exports."""
    done = []

    def evaluate(run, progress):
        (run.folder / "report").mkdir(exist_ok=True)
        (run.folder / "report" / "index.html").write_text("figures", encoding="utf-8")
        done.append("evaluate")
        return {"shortcomings": []}

    def export(run, path, labels, overwrite):
        shutil.copy(small_model, path)
        shutil.copy(encoder_path(small_model), encoder_path(path))
        done.append("export")
        return Model(path).card

    def listen(model, progress):
        done.append("listen")
        return Obedience(1.0, 1.0, 384)

    monkeypatch.setattr(making, "evaluate", evaluate)
    monkeypatch.setattr(making, "export", export)
    monkeypatch.setattr(first_preset, "listen", listen)
    return done


def test_recordings_without_pitch_become_a_chroma_instrument_if_one_wants_it(noises, tmp_path, quick):
    summary, display = made(noises, tmp_path / "rain", minutes=0.01, family="chroma")
    assert {path.name for path in (tmp_path / "rain").iterdir()} == PARTS
    assert any("no clear pitch" in line for line in display.said)
    assert "no clear pitch" in summary
    assert "in tune" not in summary
    assert Run.open(tmp_path / "rain" / "run").recipe.loss.consistency == 0


def test_recordings_without_pitch_become_a_texture(noises, tmp_path):
    output = tmp_path / "rain"
    summary, display = made(noises, output)
    assert {path.name for path in output.iterdir()} == TEXTURE_PARTS
    assert display.stages == ["reading sounds", "training texture-10", "evaluating", "exporting", "rendering"]
    assert any(line.startswith("0 % of the sound has a pitch: a texture of grains") for line in display.said)
    assert "an instrument with 10 knobs" in summary
    assert "texture.wav" in summary
    patch = open_patch(str(output / "preset.toml"))
    assert patch.warnings == ()
    card = patch.model.card
    assert (card.kind, card.domain, card.sample_rate, card.frame_length) == ("grain", "magnitude", 44100, 2048)
    assert patch.model.verify().passed
    assert {mark.label for mark in card.landmarks} <= {f"rain{index}.wav" for index in range(6)}
    targets = [knob.target for knob in patch.preset.cc]
    assert targets[:10] == [f"latent.{index}" for index in range(10)]
    assert {"grain.density", "grain.length", "grain.pitch", "grain.spread", "grain.code_jitter"} == set(targets[10:])
    texture, rate = soundfile.read(output / "texture.wav", dtype="float32")
    assert (rate, texture.shape[1]) == (44100, 2)
    assert np.isfinite(texture).all()
    assert 0.01 < texture[22050 : 10 * 44100].std() < 0.5
    assert np.abs(texture).max() < 1


def test_sounds_too_short_to_learn_from_are_refused_and_nothing_is_left(tmp_path):
    (tmp_path / "sounds").mkdir()
    soundfile.write(tmp_path / "sounds" / "drop.wav", 0.1 * np.random.default_rng(0).standard_normal(44100), 44100)
    with pytest.raises(UserError, match="50 are the least; add sounds"):
        made(tmp_path / "sounds", tmp_path / "rain")
    assert {path.name for path in tmp_path.iterdir()} == {"sounds"}


def test_tones_become_a_texture_if_one_wants_it(recordings, tmp_path):
    _, display = made(recordings, tmp_path / "bells", family="grain")
    assert "training texture-10" in display.stages
    assert open_patch(str(tmp_path / "bells" / "preset.toml")).model.card.kind == "grain"


@pytest.mark.parametrize(
    ("heard", "words"),
    [
        (1.0, "it plays in tune: 100.0 %"),
        (0.96, "it plays in tune: 96.0 %"),
        (0.94, "it is not yet in tune: 94.0 %"),
    ],
)
def test_the_summary_does_not_claim_what_was_not_heard(recordings, tmp_path, monkeypatch, quick, heard, words):
    monkeypatch.setattr(first_preset, "listen", lambda model, progress: Obedience(1.0, heard, 384))
    summary, _ = made(recordings, tmp_path / "bells", minutes=0.01)
    assert words in summary


# ---- stopping and going on


def interrupt_at(monkeypatch, step_number):
    original = loop._Loop._step

    def step(self, indices, done):
        if self.progress.step == step_number:
            signal.raise_signal(signal.SIGINT)
        return original(self, indices, done)

    monkeypatch.setattr(loop._Loop, "_step", step)


def test_ctrl_c_while_it_trains_saves_and_the_same_command_goes_on(recordings, tmp_path, monkeypatch, timbrel, quick):
    output = tmp_path / "bells"
    command = ["make", recordings, "-o", output, "--minutes", MINUTES]
    with monkeypatch.context() as patch:
        interrupt_at(patch, 5)
        stopped = timbrel(*command)
    assert stopped.status == 130
    assert stopped.err.splitlines()[-1] == (
        "timbrel: stopped at step 6, all is saved; the same command goes on from there"
    )
    assert {path.name for path in output.iterdir()} == {"corpus", "run"}
    before = (output / "corpus" / "corpus.json").stat().st_mtime_ns
    ended = timbrel(*command)
    assert ended.status == 0, ended.err
    assert {path.name for path in output.iterdir()} == PARTS
    assert (output / "corpus" / "corpus.json").stat().st_mtime_ns == before  # not built again
    last = checkpoint.progress_of(checkpoint.load(output / "run" / "last.ckpt"))
    assert last.step > 6
    assert 60 * MINUTES <= last.seconds < 60 * MINUTES + 30


@pytest.mark.parametrize("part", ["evaluate", "export", "listen", "_render"])
def test_ctrl_c_after_training_costs_no_training(recordings, tmp_path, monkeypatch, quick, part):
    output = tmp_path / "bells"

    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(making if hasattr(making, part) else first_preset, part, interrupted)
        with pytest.raises(KeyboardInterrupt):
            made(recordings, output, minutes=0.01)
    trained = checkpoint.progress_of(checkpoint.load(output / "run" / "last.ckpt")).step
    assert trained > 0
    made(recordings, output, minutes=0.01)
    assert {path.name for path in output.iterdir()} == PARTS
    assert checkpoint.progress_of(checkpoint.load(output / "run" / "last.ckpt")).step == trained


def test_ctrl_c_while_it_reads_leaves_nothing(recordings, tmp_path, monkeypatch):
    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("timbrel.train.corpus.build.pitch_track", interrupted)
    with pytest.raises(KeyboardInterrupt):
        made(recordings, tmp_path / "bells")
    assert list(tmp_path.iterdir()) == []


# ---- going on with what is finished


def trained_seconds(output):
    return checkpoint.progress_of(checkpoint.load(output / "run" / "last.ckpt")).seconds


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
    assert quick == ["evaluate", "export", "listen"] * 2
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
        with pytest.raises(Stopped):
            made([], output, more_minutes=0.05)
    assert (output / "preset.toml").read_bytes() == before  # it plays as it did
    _, display = made([], output, more_minutes=0.05)
    assert any(
        line.endswith("minutes of those asked for last time are left, and are trained now") for line in display.said
    )
    assert asked <= trained_seconds(output) < asked + 5


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
        (["--more-minutes", "0"], "--more-minutes 0 must be above 0, such as 5"),
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


@pytest.fixture(scope="module")
def stopped(recordings, tmp_path_factory):
    """An instrument whose training was stopped."""
    output = tmp_path_factory.mktemp("stopped") / "bells"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(making, "load_recipe", small_recipe)
        interrupt_at(patch, 1)
        with pytest.raises(Stopped):
            made(recordings, output, minutes=0.1)
    return output


@pytest.fixture
def begun(stopped, recordings, tmp_path, quick):
    """A copy of it, and of its sounds."""
    sounds = shutil.copytree(recordings, tmp_path / "sounds")
    return sounds, shutil.copytree(stopped, tmp_path / "bells")


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
    with pytest.raises(UserError, match=r"--family grain: \S+bells was begun as chroma; leave it out to go on"):
        made(sounds, output, minutes=0.01, family="grain")
    made(sounds, output, minutes=0.01)


# ---- bad news


def test_what_an_instrument_lacks_is_said_in_the_terminal(begun, monkeypatch):
    sounds, output = begun
    found = ["It has learned nothing: at all.", "Hits and words are lost: all of them."]
    evaluated = making.evaluate
    monkeypatch.setattr(making, "evaluate", lambda run, progress: evaluated(run, progress) | {"shortcomings": found})
    summary, _ = made(sounds, output, minutes=0.001)
    lines = summary.splitlines()
    assert lines[1:3] == [f"but:      {line}" for line in found]
    assert lines[3].startswith("hear it:")


@pytest.mark.parametrize(
    ("pitched", "words"), [(1.0, "; it plays in tune"), (0.6, "in the recordings, 60% of the sound, plays in tune")]
)
def test_plays_in_tune_is_said_of_what_has_a_pitch_alone(recordings, tmp_path, monkeypatch, quick, pitched, words):
    monkeypatch.setattr(first_preset, "pitched_frames", lambda corpus: (round(100 * pitched), 100))
    summary, _ = made(recordings, tmp_path / "bells", minutes=0.01)
    assert words in summary


# ---- what goes wrong


def test_an_instrument_that_exists_is_kept(recordings, tmp_path):
    (tmp_path / "bells").mkdir()
    (tmp_path / "bells" / "preset.toml").write_text("mine", encoding="utf-8")
    with pytest.raises(UserError, match=r"bells holds an instrument already; .* -o \S+bells --more-minutes 5$"):
        made(recordings, tmp_path / "bells")
    assert contents(tmp_path) == {tmp_path / "bells" / "preset.toml": b"mine"}


def test_a_folder_that_holds_something_else_is_kept(recordings, tmp_path):
    (tmp_path / "bells").mkdir()
    (tmp_path / "bells" / "letter.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(UserError, match="exists and is not empty"):
        made(recordings, tmp_path / "bells")
    assert contents(tmp_path) == {tmp_path / "bells" / "letter.txt": b"mine"}


@pytest.mark.parametrize("existing", [False, True])
@pytest.mark.parametrize("minutes", [MINUTES, 0.0, -1.0, float("nan"), float("inf")])
def test_what_cannot_be_made_leaves_everything_as_it_was(tmp_path, minutes, existing, recordings):
    (tmp_path / "empty").mkdir()
    if existing:
        (tmp_path / "bells").mkdir()
    sounds = tmp_path / "empty" if minutes == MINUTES else recordings
    with pytest.raises(UserError):
        made(sounds, tmp_path / "bells", minutes=minutes)
    assert (tmp_path / "bells").exists() == existing
    assert contents(tmp_path) == {}


class Dead(ChromaAutoencoder):
    """Its encoder has stopped listening."""

    def distribution(self, frames, chroma):
        mean, log_variance = super().distribution(frames, chroma)
        return mean * 0 + 0.5, log_variance


def test_a_model_whose_knobs_do_nothing_is_no_instrument(recordings, tmp_path, monkeypatch):
    monkeypatch.setitem(families.FAMILIES, "chroma", replace(families.FAMILIES["chroma"], network=Dead))
    with pytest.raises(Failure, match=r"every sound got the same code.*run make again"):
        made(recordings, tmp_path / "bells", minutes=0.02)
    assert {path.name for path in (tmp_path / "bells").iterdir()} == {"corpus", "run"}


def test_stopped_has_the_status_that_shells_expect():
    assert Stopped.exit_status == 128 + signal.SIGINT
