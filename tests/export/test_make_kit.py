"""A folder of short sounds becomes a kit: read whole at its own rate, labelled, and heard on its keys."""

import json
import re
import shutil

import numpy as np
import pytest
import soundfile
import torch
from timbrel.export import evaluate as evaluating
from timbrel.export import export as exporting
from timbrel.export import first_preset
from timbrel.export import make as making
from timbrel.export.api import making as api_making
from timbrel.export.fidelity.dynamics import performed_sides
from timbrel.export.first_preset import as_text
from timbrel.export.kinds.clip import HIT_SECONDS
from timbrel.export.make import MakeStopped
from timbrel.host.errors import Failure, UserError
from timbrel.host.events import NoteOn
from timbrel.host.model.encoder import encoder_path
from timbrel.host.model.model import Model
from timbrel.host.preset.library import open_patch
from timbrel.host.resynthesis.distance import distance_db
from timbrel.host.spectra import log_mel
from timbrel.train import loop
from timbrel.train.checkpoint import load, progress_of
from timbrel.train.corpus.store import Corpus
from timbrel.train.run import Run

from ..train.struck import hat, tom
from .instruments import PARTS, interrupt_at, made

pytestmark = pytest.mark.usefixtures("small_instruments")

KIT_PARTS = PARTS - {"scale.wav"} | {"kit.wav"}
RATE = 8000


def hits(folder, each=5, seconds=0.4, rates=(RATE, RATE)):
    """Toms and hats, each in a folder of its own."""
    for word, make, rate in (("tom", tom, rates[0]), ("hat", hat, rates[1])):
        (folder / word).mkdir(parents=True)
        for seed in range(each):
            soundfile.write(folder / word / f"{word}{seed}.wav", make(seed, seconds, rate), rate)
    return folder


@pytest.fixture
def quick_kit(monkeypatch, quick, hit_model):
    """The model is one that was made of such sounds, told labels or not: what follows training takes no time."""

    def export(run, path, labels, recordings, overwrite):
        source = hit_model(bool(run.recipe.network.words))
        shutil.copy(source, path)
        shutil.copy(encoder_path(source), encoder_path(path))
        return Model(path).card

    def export_untrained(run, network, path, labels):
        raise Failure

    monkeypatch.setattr(evaluating, "export", export)
    monkeypatch.setattr(making, "export_untrained", export_untrained)
    monkeypatch.setattr(first_preset, "peaks_dbfs", lambda patch: {})  # no key is too loud


# ---- what is made


@pytest.fixture(scope="module")
def sounds(tmp_path_factory):
    """Hits at two rates, one of them long, a word without a sound, and silence."""
    folder = hits(tmp_path_factory.mktemp("hits"), 8, rates=(RATE, 6000))
    soundfile.write(folder / "tom" / "long.wav", np.concatenate([tom(20, 1.0), tom(21, 1.5)]), RATE)
    soundfile.write(folder / "hat" / "silent.wav", np.zeros(4000), RATE)
    return folder


@pytest.mark.usefixtures("no_pictures")
def test_a_kit_is_made_of_hits_by_their_folders(sounds, tmp_path, monkeypatch, timbrel):
    monkeypatch.setattr(exporting, "model_loudness_lufs", lambda model: -20.0)
    output = tmp_path / "drums"
    summary, display = made(sounds, output, minutes=0.03, label="folder")
    assert {path.name for path in output.iterdir()} == KIT_PARTS
    training = ["training tuned-clip without held-out sounds", "training tuned-clip"]
    assert display.stages == ["reading sounds", *training, "exporting", "evaluating", "rendering"]
    assert any(line.endswith("knobs that bend them (--family clip)") for line in display.said)
    assert "clips are kept whole, at 8000 Hz: 17 of them; not used: 1 silent (hat/silent.wav)" in display.said
    tried, learned = [line for line in display.said if line.startswith("clips of ")]
    assert ("17 recordings" in tried, "17 recordings" in learned) == (False, True)
    assert "1 is longer, and cut with a fade" in learned
    assert "varied in pitch and decay" in learned
    assert "2 keys from 42 to 45 play its recordings" in summary
    assert any(re.fullmatch(r"keys\n   42  hat \(hat\d\)\n   45  tom \(tom\d\)", line) for line in display.said)
    assert any(
        "it contains the 17 recordings it learned from (licence: none is stated)" in line for line in display.said
    )
    report = json.loads((output / "report" / "report.json").read_text(encoding="utf-8"))
    lines = summary.splitlines()
    assert [line.removeprefix("but:      ") for line in lines if line.startswith("but:")] == report["shortcomings"]
    assert report["reconstruction"]["log_mel_db"]["median"] > 6  # after a few steps
    assert report["run"]["trial"]
    assert report["trained"] == len(Corpus.open(output / "corpus").clips("train")) < 17
    assert any(line.startswith("The network brings recordings back") for line in report["shortcomings"])

    corpus = Corpus.open(output / "corpus")
    assert (corpus.rate, corpus.name) == (RATE, "drums")
    assert {clip.label for clip in corpus.clips()} == {"hat", "tom"}
    patch = open_patch(str(output / "preset.toml"))
    assert patch.warnings == ()
    assert patch.model.card.labels == ["hat", "tom"]
    assert len(patch.model.card.landmarks) == 17
    labels = {recording.name: recording.label for recording in patch.model.card.recordings}
    assert [(entry.key, labels[entry.recording]) for entry in patch.preset.keys] == [(42, "hat"), (45, "tom")]
    assert patch.model.verify().passed
    page = (output / "report" / "index.html").read_text(encoding="utf-8")
    assert page.index('src="kit.wav"') < page.index('src="recording-1.wav"') < page.index("<table")
    assert "of a trial that learned without them; the instrument learned all sounds after it" in page
    kit, rate = soundfile.read(output / "report" / "kit.wav", dtype="float32")
    step = round(HIT_SECONDS * rate)
    level = np.abs(kit).max(1)
    assert 0.02 < level.max() < 1
    for place in (0, 2, 4, 7):  # the keys one after another, then the bar
        before = level[max(0, place * step - step // 4) : place * step]
        assert level[place * step : place * step + step // 4].max() > 0.01
        assert not len(before) or before.max() < level[place * step : place * step + step // 4].max()
    begun = int(np.argmax(level > 0.05 * level[:step].max()))
    assert begun < 0.01 * rate
    assert timbrel("info", output).status == 0
    again = timbrel("make", sounds, "-o", output)
    assert again.status == 2
    assert "holds an instrument already" in again.err


def test_labels_are_read_from_names_too_and_without_any_each_recording_has_a_key(tmp_path, quick_kit):
    folder = hits(tmp_path / "sounds")
    for label, words in (("^[a-z]+", ["hat", "tom"]), (None, [])):
        output = tmp_path / f"kit-{len(words)}"
        made(folder, output, minutes=0.005, label=label)
        run = Run.open(output / "run")
        assert run.recipe.network.words == words
        patch = open_patch(str(output / "preset.toml"))
        marks = {mark.label for mark in patch.model.card.landmarks}
        labels = {recording.name: recording.label for recording in patch.model.card.recordings}
        assert {labels[entry.recording] or entry.recording for entry in patch.preset.keys} == ({*words} or marks)
        assert len(patch.preset.keys) == (len(words) or 24)


def test_hits_that_are_shorter_than_any_note_are_read_too(tmp_path, quick_kit):
    """40 ms: pitch is taken from 93."""
    folder = hits(tmp_path / "sounds", seconds=0.04)
    shutil.copy(folder / "hat" / "hat0.wav", folder / "hat" / "another name.wav")
    _, display = made(folder, tmp_path / "kit", minutes=0.005)
    assert len(Corpus.open(tmp_path / "kit" / "corpus").clips()) == 10
    assert "clips are kept whole, at 8000 Hz: 10 of them; 1 identical to others is left out" in display.said
    with pytest.raises(UserError, match="11 too short"):
        made(tmp_path / "sounds", tmp_path / "notes", family="chroma")
    assert not (tmp_path / "notes").exists()


@pytest.mark.parametrize(("rate", "kept"), [(48_000, 48_000), (96_000, 48_000)])
def test_hits_keep_their_rate_up_to_48_khz(tmp_path, quick_kit, rate, kept):
    folder = hits(tmp_path / "sounds", each=2, seconds=0.1, rates=(rate, rate))
    _, display = made(folder, tmp_path / "kit", minutes=0.001, family="clip")
    assert f"clips are kept whole, at {kept} Hz: 4 of them" in display.said
    assert Run.open(tmp_path / "kit" / "run").recipe.frames.sample_rate == kept


def test_notes_become_a_kit_if_one_wants_it(recordings, tmp_path, quick_kit):
    _, display = made(recordings, tmp_path / "kit", minutes=0.005, family="clip")
    assert "training tuned-clip" in display.stages
    assert Run.open(tmp_path / "kit" / "run").recipe.frames.sample_rate == 44100


# ---- what is refused


def test_one_hit_alone_is_refused_in_a_line_and_nothing_is_left(tmp_path):
    (tmp_path / "sounds").mkdir()
    soundfile.write(tmp_path / "sounds" / "tom.wav", tom(0), RATE)
    with pytest.raises(UserError, match=r"has 1 training clip that sounds, and 2 are the least; add sounds$") as caught:
        made(tmp_path / "sounds", tmp_path / "kit")
    assert "\n" not in str(caught.value)
    assert {path.name for path in tmp_path.iterdir()} == {"sounds"}


def test_silence_alone_is_refused_and_nothing_is_left(tmp_path):
    (tmp_path / "sounds").mkdir()
    for name in "ab":
        soundfile.write(tmp_path / "sounds" / f"{name}.wav", np.zeros(3000), RATE)
    with pytest.raises(UserError, match="can be used: 2 silent"):
        made(tmp_path / "sounds", tmp_path / "kit")
    assert {path.name for path in tmp_path.iterdir()} == {"sounds"}


# ---- stopping and going on


def test_a_kit_that_was_stopped_goes_on_with_what_it_has(tmp_path, monkeypatch, quick_kit):
    folder, output = hits(tmp_path / "sounds"), tmp_path / "kit"
    with monkeypatch.context() as patch:
        interrupt_at(patch, 2)
        with pytest.raises(MakeStopped):
            made(folder, output, minutes=0.02, label="folder")
    before = (output / "corpus" / "corpus.json").stat().st_mtime_ns
    _, display = made(folder, output, minutes=0.02, label="folder")
    assert {path.name for path in output.iterdir()} == KIT_PARTS
    assert (output / "corpus" / "corpus.json").stat().st_mtime_ns == before
    assert not [line for line in display.said if "kept whole" in line]
    assert progress_of(load(output / "run" / "last.ckpt")).step > 3


def test_a_kit_plays_its_recordings_before_it_is_trained_and_after_a_training_that_fails(
    tmp_path, monkeypatch, timbrel
):
    """Also those that the trial holds out; the next call goes on."""
    folder, output = hits(tmp_path / "sounds"), tmp_path / "kit"
    with monkeypatch.context() as patch:
        patch.setattr(loop._Loop, "_step", lambda self, done: torch.tensor(np.nan))
        with pytest.raises(Failure, match=f"training has diverged.*; {re.escape(str(output))} plays its recordings$"):
            made(folder, output, minutes=0.02)
    patch = open_patch(str(output))
    assert patch.model.card.training.steps == 0
    assert len(patch.preset.keys) == len(patch.model.card.recordings) == 10
    assert not encoder_path(patch.model.path).exists()
    entry = next(entry for entry in patch.preset.keys if entry.recording == "tom1")
    played = performed_sides(patch, [NoteOn(0, 0, entry.key, 127)], 3200)
    recording, rate = soundfile.read(folder / "tom" / "tom1.wav", dtype="float32")
    assert distance_db(log_mel(recording[None], rate), log_mel(played[:1, : len(recording)], rate))[0] < 0.5
    told = timbrel("make", folder, "-o", output, "--more-minutes", "1")
    assert (told.status, "holds no finished instrument" in told.err) == (2, True)
    with monkeypatch.context() as patch:
        interrupt_at(patch, 2)
        with pytest.raises(MakeStopped):
            made(folder, output, minutes=0.02)
    assert open_patch(str(output)).model.card.training.steps == 0


def test_a_stop_while_sounds_are_read_again_keeps_what_was_read(tmp_path, monkeypatch, quick_kit):
    folder, output = hits(tmp_path / "sounds"), tmp_path / "kit"

    def stopped(sounds, destination, **options):
        raise KeyboardInterrupt

    build = making.build
    with monkeypatch.context() as patch:
        patch.setattr(making, "build", lambda *a, **o: (stopped if "rate" in o else build)(*a, **o))
        with pytest.raises(KeyboardInterrupt):
            made(folder, output, minutes=0.005)
    assert {path.name for path in output.iterdir()} == {"corpus"}
    assert Corpus.open(output / "corpus").rate == 44100
    made(folder, output, minutes=0.005)
    assert {path.name for path in output.iterdir()} == KIT_PARTS
    assert Corpus.open(output / "corpus").rate == RATE


def test_a_finished_kit_is_trained_further(tmp_path, quick_kit):
    output = tmp_path / "kit"
    made(hits(tmp_path / "sounds"), output, minutes=0.005)
    first = progress_of(load(output / "run" / "last.ckpt")).step
    _, display = made([], output, more_minutes=0.005)
    assert progress_of(load(output / "run" / "last.ckpt")).step > first
    assert not [line for line in display.said if "was edited" in line]


def test_the_preset_states_licence_and_credits_in_lines_of_their_own():
    patch = open_patch("stereo-kit")
    for texts, stated in (
        ({"license": "CC BY 4.0", "credits": "A\nB"}, ["# Licence: CC BY 4.0", "# Credits: A B"]),
        ({"license": "unknown", "credits": ""}, []),
    ):
        lines = as_text(patch.preset, patch.model.card.model_copy(update=texts)).splitlines()
        assert [line for line in lines[1:] if line.startswith("# ")][: len(stated) + 1] == stated


def test_the_command_passes_licence_and_credits_on(tmp_path, monkeypatch, timbrel):
    passed = {}
    monkeypatch.setattr(api_making, "make_instrument", lambda *sounds, **options: passed.update(options) or "made")
    told = timbrel("make", tmp_path, "-o", tmp_path / "kit", "--license", "CC0", "--credits", "Ann")
    assert (told.status, passed["license"], passed["credits"]) == (0, "CC0", "Ann")
    timbrel("make", tmp_path, "-o", tmp_path / "kit")
    assert (passed["license"], passed["credits"]) == (None, None)


def test_the_first_instrument_states_them_and_a_stopped_call_keeps_them(tmp_path, monkeypatch):
    folder, output = hits(tmp_path / "sounds"), tmp_path / "kit"
    with monkeypatch.context() as patch:
        patch.setattr(loop._Loop, "_step", lambda self, done: torch.tensor(np.nan))
        with pytest.raises(Failure, match=r"plays its recordings$"):
            made(folder, output, minutes=0.02, license="CC0", credits="Ann")
    card = Model(output / "model.onnx").card
    assert (card.name, card.license, card.credits) == ("kit", "CC0", "Ann")
    assert making._labels(output, None, None) == exporting.LabelInput("kit", None, "CC0", "Ann")
    assert making._labels(output, "MIT", None) == exporting.LabelInput("kit", None, "MIT", "Ann")
