"""One command turns recordings into an instrument, and says how well it plays."""

import json
import signal
from html import escape

import numpy as np
import pytest
import soundfile
from timbrel.export import make as making
from timbrel.export.kinds.spectrum import SCALE
from timbrel.export.make import MakeStopped
from timbrel.export.reports.measure import good_news
from timbrel.host.errors import Failure, UserError
from timbrel.host.model.model import Model
from timbrel.host.preset.library import open_patch
from timbrel.host.signal import sounding_note
from timbrel.train.checkpoint import load, progress_of
from timbrel.train.corpus.build import build
from timbrel.train.corpus.store import Corpus
from timbrel.train.families import FAMILIES
from timbrel.train.families.partials.network import PartialsAutoencoder
from timbrel.train.families.recipes import load_recipe
from timbrel.train.loop import Outcome
from timbrel.train.run import Run

from ..train.struck import corpus_of
from .fidelity.tones import tone
from .instruments import MINUTES, PARTS, Notes, contents, interrupt_at, made

pytestmark = pytest.mark.usefixtures("small_instruments")

TEXTURE_PARTS = PARTS - {"scale.wav"} | {"texture.wav"}


# ---- what is made


def check_page(output, summary, report):
    """The terminal says the report's verdict, and its page begins with sounds: the scale, then notes."""
    told = [line.removeprefix("but:").strip() for line in summary.splitlines() if line.startswith("but:")]
    assert told == report["shortcomings"]
    good = [line.removeprefix("verdict:").strip() for line in summary.splitlines() if line.startswith("verdict:")]
    assert " ".join(good) == good_news(report)
    page = (output / "report" / "index.html").read_text(encoding="utf-8")
    assert all(escape(line) in page for line in (report["verdict"], *told))
    names = ("scale", "note-1-recording", "note-1-ours", "note-1-sampler")
    heard = [page.index(f'src="{name}.wav"') for name in names]
    assert heard == sorted(heard)
    assert heard[-1] < page.index("<table") < page.index("<h2>Research</h2>")
    assert (output / "report" / "scale.wav").read_bytes() == (output / "scale.wav").read_bytes()


@pytest.mark.usefixtures("no_pictures")
def test_an_instrument_is_made_of_tonal_recordings(recordings, tmp_path):
    output = tmp_path / "bells"
    summary, display = made(recordings, output)
    assert {path.name for path in output.iterdir()} == PARTS
    runs = {"trial", "run"}
    assert [path for path in output.rglob("*.toml") if not runs & set(path.parts)] == [output / "preset.toml"]
    training = ["training tuned-partials without held-out sounds", "training tuned-partials"]
    assert display.stages == ["reading sounds", *training, "exporting", "evaluating", "rendering"]
    assert f"\n{output}: an instrument with 8 knobs; keys choose the note\n" in f"\n{summary}"
    assert f"timbrel render {output} YOUR.mid -o OUT.wav" in summary
    assert not [line for line in display.said if "no clear pitch" in line]
    report = json.loads((output / "report" / "report.json").read_text(encoding="utf-8"))
    check_page(output, summary, report)
    assert [row["key"] for row in report["notes"]["each"]] in ([62, 68], [68, 62])  # of eleven keys one in six
    assert (report["notes"]["trial"], report["notes"]["unheard_keys"]) == (True, 2)
    assert any(line.startswith("keys held out for the report: D4, G#4; ") for line in display.said)
    assert [line for line in summary.splitlines() if line.startswith("notes:    shape ")]
    assert [line for line in summary.splitlines() if line.startswith("dynamics: ")]
    assert report["notes"]["dynamics"]["notes"] == 9

    corpus = Corpus.open(output / "corpus")
    assert (corpus.name, len(corpus.clips())) == ("bells", 11)
    assert {clip.name for clip in corpus.clips("test")} == {"tone_62.wav", "tone_68.wav"}
    assert corpus.report.split_clips == {"train": 9, "test": 2}
    assert {round(note.key) for one in Model(output / "model.onnx").gestures.instruments for note in one.notes} == {
        57,
        *range(60, 70),
    }  # all keys are learned in the end
    model = Model(output / "model.onnx")
    assert model.verify().passed
    assert model.card.name == "bells"
    assert f"<code>timbrel panel {output}</code>" in (output / "report" / "index.html").read_text(encoding="utf-8")
    assert (output / "report" / "report.json").exists()
    assert not (output / "run" / "report").exists()

    patch = open_patch(str(output / "preset.toml"))
    assert patch.warnings == ()
    preset, knobs = patch.preset, model.card.latents
    assert preset.model == "model.onnx"  # so that the folder can be moved
    assert preset.model_sha256 == model.sha256
    maps = {(c.target, c.low, c.high) for c in preset.cc if c.number >= 20}
    assert {(f"latent.{i}", knob.low, knob.high) for i, knob in enumerate(knobs)} < maps
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
    assert "knobs are in use" in summary
    scale, rate = soundfile.read(tmp_path / "bells" / "scale.wav", dtype="float32")
    partials = Model(tmp_path / "bells" / "model.onnx").card.partials
    lowest = 12 * round((partials.low + partials.high - 12) / 24)
    for index, step in enumerate(SCALE):
        note = scale[index * 22050 + 4000 : (index + 1) * 22050 - 4000].sum(1)
        assert sounding_note(note, rate) == pytest.approx(lowest + step, abs=0.5)


def test_recordings_without_pitch_become_a_chroma_instrument_if_one_wants_it(noises, tmp_path, quick):
    summary, display = made(noises, tmp_path / "rain", minutes=0.01, family="chroma")
    assert {path.name for path in (tmp_path / "rain").iterdir()} == PARTS
    assert any("no clear pitch" in line for line in display.said)
    assert "; keys choose the colour\n" in summary
    assert Run.open(tmp_path / "rain" / "run").recipe.loss.consistency == 0
    assert "held out for the report: rain3.wav; the instrument learns them after a trial without" in display.said


@pytest.mark.usefixtures("no_pictures")
def test_recordings_without_pitch_become_a_texture(noises, tmp_path):
    output = tmp_path / "rain"
    summary, display = made(noises, output)
    assert {path.name for path in output.iterdir()} == TEXTURE_PARTS
    training = ["training texture-10 without held-out sounds", "training texture-10"]
    assert display.stages == ["reading sounds", *training, "exporting", "evaluating", "rendering"]
    assert Run.open(output / "trial").recipe.frames.held_out == 0.1
    assert Run.open(output / "run").recipe.frames.held_out == 0  # ends of recordings are learned too
    assert any(line.startswith("0 % of the sound has a pitch: a texture of grains") for line in display.said)
    assert "an instrument with 10 knobs" in summary
    assert "texture.wav" in summary
    patch = open_patch(str(output / "preset.toml"))
    assert patch.warnings == ()
    card = patch.model.card
    assert (card.kind, card.domain, card.sample_rate, card.frame_length) == ("grain", "magnitude", 44100, 2048)
    assert patch.model.verify().passed
    assert {mark.label for mark in card.landmarks} == {f"rain{index}.wav" for index in range(6)}
    targets = [knob.target for knob in patch.preset.cc]
    assert targets[:10] == [f"latent.{index}" for index in range(10)]
    assert {"grain.density", "grain.length", "grain.pitch", "grain.spread", "grain.code_jitter"} == set(targets[10:])
    page = (output / "report" / "index.html").read_text(encoding="utf-8")
    assert page.index('src="texture.wav"') < page.index('src="source.wav"') < page.index("<table")
    texture, rate = soundfile.read(output / "report" / "texture.wav", dtype="float32")
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


def test_tones_become_a_texture_if_one_wants_it(recordings, tmp_path, monkeypatch):
    """Training begins: what a network of grains becomes, `test_grain_export` says."""
    interrupt_at(monkeypatch, 1)
    with pytest.raises(MakeStopped):
        made(recordings, tmp_path / "bells", family="grain")
    run = Run.open(tmp_path / "bells" / "trial")
    assert (run.recipe.name, run.info.tonal) == ("texture-10", True)


# ---- bad news


def test_what_an_instrument_lacks_is_said_in_the_terminal(begun, monkeypatch):
    sounds, output = begun
    found = ["It has learned nothing: at all.", "Hits and words are lost: all of them."]
    evaluated = making.evaluate
    monkeypatch.setattr(making, "evaluate", lambda run, **given: evaluated(run, **given) | {"shortcomings": found})
    summary, _ = made(sounds, output, minutes=0.001)
    lines = summary.splitlines()
    assert lines[:2] == [f"but:      {line}" for line in found]
    assert lines[2].startswith(f"{output}: an instrument with ")
    assert lines[3] == "verdict:  Keys are obeyed."
    assert lines[4].startswith("hear it:")


@pytest.mark.parametrize(("steps", "idle", "slowed"), [(0, 0, False), (160, 310, False), (3, 310, True)])
def test_steps_beside_other_programs_are_said_with_those_of_an_idle_core(steps, idle, slowed):
    weakness, line = making._pace(Outcome(9, 0.0, False, False, steps, idle), "'my kit'")
    assert line == ["steps:    160; an idle core does about 310 in these minutes"] * (steps == 160)
    assert (
        weakness
        == [
            "Other programs slowed the training: 3 steps, where an idle core does about 310 in these minutes; "
            "go on with timbrel make -o 'my kit' --more-minutes 5."
        ]
        * slowed
    )


def test_steps_of_a_trial_and_of_the_instrument_count_together():
    both = making._sum_outcomes([Outcome(5, 0.0, False, False, 5, 50), Outcome(7, 0.5, True, False, 7, 70)])
    assert both == Outcome(7, 0.5, True, False, 12, 120)


HELD_OUT = [
    ("clip", ["train", "test", "val"], "held out for the report: clip 1 and 1 more"),
    ("loops", ["train", "train", "test"], "held out for the report: clip 2"),
    ("clip", ["train"] * 3, None),
    ("grain", ["train"], "ends of the sounds are held out for the report"),
    ("partials", ["train", "test", "val"], None),  # too few keys to spare one
]


@pytest.mark.parametrize(("family", "splits", "said"), HELD_OUT)
def test_sounds_are_held_out_of_a_trial_with_a_line_or_learned(family, splits, said, tmp_path):
    display = Notes()
    corpus = corpus_of(tmp_path / "corpus", [np.zeros(2048)] * len(splits), splits=splits)
    corpus, tried = making._held_out(corpus, making.FAMILIES[family], display)
    assert display.said == [f"{said}; the instrument learns them after a trial without"] * (said is not None)
    assert tried == (said is not None)
    assert [clip.split for clip in corpus.clips()] == (splits if tried else ["train"] * len(splits))


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


class Dead(PartialsAutoencoder):
    """Its encoder has stopped listening."""

    def encode_levels(self, levels, pitches):
        return super().encode_levels(levels, pitches) * 0 + 0.5


@pytest.mark.usefixtures("no_pictures")
def test_an_instrument_whose_knobs_do_nothing_says_so(recordings, tmp_path, monkeypatch):
    monkeypatch.setattr(FAMILIES["partials"], "network", Dead)
    summary, _ = made(recordings, tmp_path / "bells", minutes=0.02)
    assert "Its knobs do nothing: every sound gets the same code. Train longer" in summary
    assert {path.name for path in (tmp_path / "bells").iterdir()} == PARTS
    assert Model(tmp_path / "bells" / "model.onnx").verify().passed


def test_too_few_keys_have_none_to_spare(recordings, tmp_path, quick):
    few = [recordings / f"tone_{key}.wav" for key in (60, 62, 64, 66)]
    _, display = made(few, tmp_path / "bells", minutes=0.01)
    assert {path.name for path in (tmp_path / "bells").iterdir()} == PARTS - {"trial"}
    assert not [line for line in display.said if "held out" in line]
    assert Run.open(tmp_path / "bells" / "run").trial() is None


@pytest.mark.parametrize("error", [UserError("no frame is audible"), ValueError("bad\nshape"), OSError(28, "no room")])
def test_a_report_that_fails_leaves_an_instrument_without_one(recordings, tmp_path, monkeypatch, quick, error):
    def fail(run, **options):
        raise error

    monkeypatch.setattr(making, "evaluate", fail)
    summary, _ = made(recordings, tmp_path / "bells", minutes=0.02)
    (line,) = [line for line in summary.splitlines() if line.startswith("but:")]
    assert "It has no report (" in line
    assert f"timbrel evaluate {tmp_path / 'bells' / 'run'}" in line
    assert str(error).splitlines()[0] in line
    assert "see it:" not in summary
    assert {path.name for path in (tmp_path / "bells").iterdir()} == PARTS - {"report"}


def test_an_export_that_fails_keeps_the_training_for_the_next_call(recordings, tmp_path, monkeypatch, quick):
    output, exported = tmp_path / "bells", making.exported_patch

    def fail(*arguments, **options):
        raise Failure("its model is silent")

    monkeypatch.setattr(making, "exported_patch", fail)
    with pytest.raises(Failure, match=r"is silent; the training is kept: .*--more-minutes") as caught:
        made(recordings, output, minutes=0.02)
    assert "\n" not in str(caught.value)
    assert {path.name for path in output.iterdir()} == {"corpus", "trial", "run"}
    steps = progress_of(load(output / "run" / "last.ckpt")).step
    monkeypatch.setattr(making, "exported_patch", exported)
    summary, _ = made([], output, more_minutes=0.02)
    assert "an instrument with" in summary
    assert progress_of(load(output / "run" / "last.ckpt")).step > steps


def test_stopped_has_the_status_that_shells_expect():
    assert MakeStopped.exit_status == 128 + signal.SIGINT


# ---- melodies


def melody(keys, seconds=0.5):
    return np.concatenate([tone(key, seconds, held=0.8 * seconds, rate=44100) for key in keys])


HITS = {
    f"hit{number}": np.random.default_rng(number).standard_normal(11025) * np.geomspace(0.2, 1e-5, 11025)
    for number in range(3)
}


@pytest.mark.parametrize(
    ("family", "sounds", "clips"),
    [
        ("auto", {"tune": melody([60, 64, 67, 65, 62])}, 5),
        ("partials", {"tune": melody([60, 64, 67]), "note": tone(60, 1.0, rate=44100)}, 4),
        ("auto", {"tune": melody([60, 64, 67, 65, 62]), **HITS}, 4),
        ("grain", {"tune": melody([60, 64, 67, 65, 62])}, 1),
    ],
)
def test_melodies_are_cut_into_notes_where_keys_will_choose_them(family, sounds, clips, tmp_path):
    (tmp_path / "sounds").mkdir()
    for name, sound in sounds.items():
        soundfile.write(tmp_path / "sounds" / f"{name}.wav", sound, 44100)
    display = Notes()
    (tmp_path / "out").mkdir()
    build([tmp_path / "sounds"], tmp_path / "out" / "corpus", shortest_seconds=0.02)
    found = making._cut(
        Corpus.open(tmp_path / "out" / "corpus"), making.family_named(family), [tmp_path / "sounds"], None, display
    )
    assert len(found.clips()) == clips
    assert any("5 notes" in line or "3 notes" in line for line in display.said) == (clips > len(sounds))
