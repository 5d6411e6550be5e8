"""Notes that an instrument plays are measured beside recordings and a sampler, and a report shows them."""

import json

import numpy as np
import pytest
import soundfile
from timbrel.export.evaluate import evaluate_instrument
from timbrel.export.families import chroma_report
from timbrel.export.fidelity import comparison, floors
from timbrel.export.fidelity import page as pages
from timbrel.export.fidelity.measures import NoteDistance
from timbrel.export.fidelity.notes import NoteSound
from timbrel.export.fidelity.page import NONE, as_text, in_short
from timbrel.export.first_preset import first_preset
from timbrel.export.reports import report
from timbrel.host.errors import UserError
from timbrel.host.model.model import Model
from timbrel.host.preset.library import Patch
from timbrel.host.preset.preset import EnvelopeSettings, Preset
from timbrel.host.preset.shipped import shipped_models

from ..evaluate.runs import make_run, measured, octave, write_corpus
from ..undrawn import undrawn
from .tones import RATE, note_corpus, tone

KEYS = [("train", 60, {}), ("train", 66, {}), ("test", 62, {}), ("test", 64, {"velocity": 50})]


@pytest.fixture(autouse=True)
def small_pictures(monkeypatch):
    monkeypatch.setattr(report, "DPI", 30)


def patched(model, **parts):
    preset = first_preset(model).model_copy(update=parts)
    return Patch("bells", preset, model, model.path.parent)


def test_an_instrument_that_has_the_notes_spectrum_is_near_and_one_that_has_another_is_not(analytic, tmp_path):
    clips = note_corpus(tmp_path / "c", KEYS)
    slow = EnvelopeSettings(attack_seconds=0.02, release_seconds=0.2)
    near, sharp = (
        comparison.compare_notes(patched(model, envelope=slow), clips, 0, lambda done, what: None).figures
        for model in (analytic(), analytic(semitones=(5,) * 12, name="sharp"))
    )
    assert near["notes"] == 2
    assert near["each"][0]["ours"]["shape_db"] == near["ours"]["shape_db"]["worst"]
    assert near["ours"]["shape_db"]["worst"] + 5 < sharp["ours"]["shape_db"]["median"]
    assert near["ours"]["attack_ms"]["worst"] <= 10
    assert near["codes"] is None  # no encoder lies beside it
    assert sorted(row["velocity"] for row in near["each"]) == [50, pytest.approx(127, abs=3)]
    assert {abs(round(row["sampler"]["semitones"])) for row in near["each"]} == {2}
    assert near["sampler"]["shape_db"]["median"] < sharp["ours"]["shape_db"]["median"]


def test_a_sampler_has_every_training_note_and_plays_a_key_that_it_has_as_it_is(analytic, tmp_path):
    clips = note_corpus(tmp_path / "c", [*KEYS, ("train", 62, {"velocity": 90})])
    found = comparison.compare_notes(patched(analytic()), clips, 0, lambda done, what: None).figures
    apart = {row["key"]: abs(round(row["sampler"]["semitones"])) for row in found["each"]}
    assert apart == {62: 0, 64: 2}
    assert found["unheard_keys"] == 1
    near = {row["key"]: row["sampler"]["shape_db"] for row in found["each"]}
    assert near[62] < 0.5


def test_recordings_are_tuned_to_their_keys(analytic, tmp_path):
    clips = note_corpus(tmp_path / "c", [("train", 60, {}), ("test", 62.4, {}), ("test", 64, {})])
    found = comparison.compare_notes(patched(analytic()), clips, 0, lambda done, what: None).figures
    off, plain = sorted(found["each"], key=lambda row: row["key"])
    assert off["cents"] == pytest.approx(40, abs=6)
    assert off["ours"]["sustain_db"] == pytest.approx(plain["ours"]["sustain_db"], abs=1.0)


def test_a_second_take_of_a_key_and_velocity_stands_beside_and_so_do_notes_that_training_heard(analytic, tmp_path):
    clips = [("train", 60, {"velocity": 90}), ("test", 62, {"velocity": 50}), ("val", 62, {"velocity": 50})]
    clips += [("test", 64, {"velocity": 50}), ("train", 64, {"velocity": 90, "fall": 0.4})]
    found = comparison.compare_notes(
        patched(analytic()), note_corpus(tmp_path / "c", clips), 0, lambda done, what: None
    ).figures
    takes = {row["recording"]: row["take"] and row["take"]["recording"] for row in found["each"]}
    assert takes == {"1": "2", "2": "1", "3": None}  # of another velocity is no second take
    assert found["takes"] == 2
    assert found["take"]["shape_db"]["worst"] < 0.5
    assert found["heard"]["shape_db"]["median"] > 0
    assert max(found["takes_apart"]["recorded"].values()) < 0.1
    assert found["takes_apart"]["pairs"] == 1  # each is the other's take
    assert found["takes_apart"]["played"]["level_db"] < 0.2  # a plain preset strikes alike
    assert "2nd take" in as_text(found)
    assert "2 notes have one" in pages.figures_section(found)


def test_classifiers_tell_ours_and_hardly_a_second_take_or_an_mp3_of_the_recording(analytic, tmp_path, monkeypatch):
    monkeypatch.setattr(floors, "FOLDS", 2)
    monkeypatch.setattr(floors, "STEPS", 20)
    clips = [
        (split, key, {"velocity": 80, "fall": 0.7 + 0.002 * (7 * key % 5), "seconds": 0.6, "held": 0.5})
        for key in range(60, 66)
        for split in ("train", "test")
    ]
    patch, corpus = patched(analytic(semitones=(5,) * 12)), note_corpus(tmp_path / "c", clips)
    found = comparison.compare_notes(patch, corpus, 0, lambda done, what: None).figures
    assert found["told_apart"]["statistics"] > 0.9
    assert found["told_take"] is None  # six pairs: a take of a take is the same pair
    assert 0 <= found["told_mp3"]["statistics"] <= found["told_apart"]["statistics"]


def stereo_notes(width, seed):
    """Twelve notes of four keys, [2, samples] each, whose sides share a tone and have breath of their own."""
    rng = np.random.default_rng(seed)
    breath = 0.01 * rng.standard_normal((12, 2, RATE)).astype(np.float32)
    return [tone(60 + number % 4, 1.0) + width * own for number, own in enumerate(breath)]


def test_classifiers_tell_collapsed_sides_and_mono_notes_have_no_figure_of_them(monkeypatch):
    monkeypatch.setattr(floors, "FOLDS", 2)
    monkeypatch.setattr(comparison, "as_mp3", lambda sound, rate: None)

    def told(played, stereo=True):
        compared = [
            comparison._Compared(
                None,
                {side: NoteSound(sides.mean(0), sides if stereo else None) for side, sides in both.items()},
                {"key": 60 + number % 4},
            )
            for number, both in enumerate(
                {"recording": recorded, "ours": ours} for recorded, ours in zip(stereo_notes(1, 0), played, strict=True)
            )
        ]
        return comparison._told_apart(compared, RATE)

    assert told(stereo_notes(0, 1))["told_apart_sides"] == {"statistics": 1.0, "network": 1.0}
    assert told(stereo_notes(1, 1))["told_apart_sides"]["statistics"] < 0.8
    mono = told(stereo_notes(1, 1), stereo=False)
    assert mono["told_apart"] is not None
    assert {name for name, figures in mono.items() if figures is None} == {
        "told_apart_sides",
        "told_take",
        "told_take_sides",
        "told_mp3",
        "told_mp3_sides",
    }


def test_time_of_attack_is_the_presets(analytic, tmp_path):
    clips = note_corpus(tmp_path / "c", KEYS)
    slow = EnvelopeSettings(attack_seconds=0.32, release_seconds=0.2)
    found = comparison.compare_notes(patched(analytic(), envelope=slow), clips, 0, lambda done, what: None).figures
    assert found["ours"]["attack_ms"]["median"] == pytest.approx(0.71 * 300, abs=15)
    assert found["sampler"]["attack_ms"]["median"] <= 10


def test_an_instruments_report_lies_in_a_new_folder(analytic, tmp_path):
    clips = note_corpus(tmp_path / "c", KEYS)
    model = analytic()
    found = evaluate_instrument(patched(model), clips, tmp_path / "report")
    assert found == json.loads((tmp_path / "report" / "report.json").read_text(encoding="utf-8"))
    files = {path.name for path in (tmp_path / "report").iterdir()}
    sounds = {f"note-{n}-{who}.wav" for n in (1, 2) for who in ("recording", "ours", "sampler")}
    pictures = {f"note-{n}{theme}.png" for n in (1, 2) for theme in ("", "-dark")}
    assert files == sounds | pictures | {"index.html", "abx.html", "report.json"}
    page = (tmp_path / "report" / "index.html").read_text(encoding="utf-8")
    assert all(name in page for name in sounds | pictures | {"abx.html"})
    levels = [np.sqrt(np.mean(soundfile.read(tmp_path / "report" / name)[0][6000:30000] ** 2)) for name in sounds]
    assert 20 * np.log10(max(levels) / min(levels)) < 4  # the louder would seem the better
    with pytest.raises(UserError, match="exists"):
        evaluate_instrument(patched(model), clips, tmp_path / "report")


@pytest.mark.parametrize(
    ("rate", "clips", "words"),
    [
        (44100, KEYS, "has 44100 Hz and model 'analytic' 48000 Hz; build the corpus with --rate 48000"),
        (RATE, [("train", 60, {}), ("test", None, {})], "holds no single note under test or val"),
    ],
)
def test_what_cannot_be_compared_is_refused_and_leaves_nothing(analytic, tmp_path, rate, clips, words):
    corpus = note_corpus(tmp_path / "c", clips, rate=rate)
    with pytest.raises(UserError, match=words):
        evaluate_instrument(patched(analytic()), corpus, tmp_path / "report")
    assert not (tmp_path / "report").exists()


def test_a_model_whose_keys_choose_no_note_is_refused(tmp_path):
    model = Model(shipped_models()["gm-drums"])
    patch = Patch("hits", Preset(format=1, model=str(model.path)), model, tmp_path)
    with pytest.raises(UserError, match=r"keys choose the note.*of kind 'clip', do not; give its run"):
        evaluate_instrument(patch, note_corpus(tmp_path / "c", KEYS), tmp_path / "report")


def test_a_runs_report_has_the_notes_of_its_own_export(tmp_path, monkeypatch):
    monkeypatch.setattr(chroma_report, "HEARD_CODES", 2)
    monkeypatch.setattr(chroma_report, "NOTES", 2)
    undrawn(monkeypatch)
    folder = write_corpus(tmp_path / "corpus", octave("train", "val", "test"))
    run = make_run(tmp_path / "run", folder)
    found = measured(run)["notes"]
    assert (found["notes"], found["splits"]) == (2, {"test": 2, "val": 0})
    assert set(found["codes"]) == {"each_frame", "one", "one_played"}
    assert all(found["codes"][name]["median"] > 0 for name in found["codes"])
    files = {path.name for path in (run.folder / "report").iterdir()}
    assert {"abx.html", "note-1-ours.wav", "note-2.png"} <= files
    text = (run.folder / "report" / "index.html").read_text(encoding="utf-8")
    assert "Notes beside recordings" in text
    assert not list(run.folder.rglob("*.onnx"))


def test_figures_are_told_in_words():
    assert as_text(None) == NONE
    figure = {"median": 14.14, "worst": 20.0}
    ours = dict.fromkeys(NoteDistance._fields, figure) | {"brightness": None}
    found = {
        "notes": 2,
        "splits": {"test": 1, "val": 1},
        "ours": ours,
        "sampler": None,
        "take": None,
        "heard": None,
        "stored": None,
        "codes": None,
        "dynamics": None,
        "tuning": {"median_cents": -12.4, "most_cents": 19.9},
        "judge": True,
        "told_apart": {"statistics": 0.944, "network": 0.9},
        "told_take": {"statistics": 0.5, "network": 0.45},
        "told_mp3": {"statistics": 0.55, "network": 0.6},
        "told_apart_sides": {"statistics": 0.8, "network": 0.7},
        "told_take_sides": None,
        "told_mp3_sides": {"statistics": 0.65, "network": 0.6},
        "takes_apart": {
            "recorded": {"shape_db": 4.91, "level_db": 1.08},
            "played": {"shape_db": 4.5, "level_db": 0.8},
        },
        "frechet": {"ours": 30.0, "sampler": 20.0, "ratio": 1.5},
    }
    lines = as_text(found).splitlines()
    assert lines[0] == ("2 recorded notes that training never saw (1 of the test split, 1 of the validation split).")
    assert lines[1].split() == ["median", "worst"]
    assert lines[2].split() == ["Shape,", "dB", "14.1", "20.0"]
    assert lines[-5:] == [
        "Two classifiers tell ours from recordings below 6 kHz in 94% and 90% (50 % is luck): by statistics of bands, "
        "and a small network",
        "They tell second takes in 50% and 45%, and the recordings themselves as MP3 of 112 kbit/s in 55% and 60%",
        "By the differences of left and right they tell ours in 80% and 70%, the recordings themselves as MP3 of 112 "
        "kbit/s in 65% and 60%",
        "Two takes of a key and velocity differ by 4.9 dB in the held part and by 1.1 dB in level, two strikes of ours "
        "by 4.5 and 0.8 dB",
        "All frames together, ours are 1.50 times as far from recorded as a sampler's",
    ]
    off = as_text(found | {"tuning": {"median_cents": -12.4, "most_cents": 47.2}}).splitlines()
    assert off[-1].startswith("tuning: recordings lie up to 47 cents off their keys, -12 in the median; notes are")
    assert not [line for line in as_text(found | {"told_apart": None, "frechet": None}).splitlines() if "told" in line]
    assert "takes" not in as_text(found | {"takes_apart": None, "told_take": None})
    without_mp3 = as_text(found | {"told_mp3": None}).splitlines()
    assert "They tell second takes in 50% and 45%" in without_mp3
    assert "No MP3 was compared: libsndfile writes none here, or none of this rate" in without_mp3
    assert as_text(found | {"sampler": ours}).splitlines()[2].split() == ["Shape,", "dB", *["14.1", "20.0"] * 2]
    assert "zimtohrli" not in as_text(found).partition("Two")[2].lower()
    without_judge = as_text(found | {"judge": False, "ours": ours | {"zimtohrli": None}}).splitlines()
    assert [line.split()[-2:] for line in without_judge if line.startswith("Zimtohrli distance ×")] == [["–", "–"]]
    assert "Zimtohrli distances need timbrel[judge]: pip install 'timbrel[judge]'" in without_judge
    assert in_short(found) == (
        "shape 14.1 dB, shape of the held part 14.1 dB, envelope 14.1 dB, late 14 ms, brightness –; "
        "medians of 2 notes it never heard"
    )


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--corpus", "c"], "--corpus needs -o"),
        (["-o", "report"], "goes with --corpus"),
        (["--corpus", "c", "-o", "report", "--checkpoint", "last"], "leave either out"),
        (["--corpus", "c", "-o", "report"], "no preset, model or file is named 'bells'"),
    ],
)
def test_options_that_do_not_go_together_are_refused_in_a_line(tmp_path, monkeypatch, timbrel, options, words):
    monkeypatch.chdir(tmp_path)
    ended = timbrel("evaluate", "bells", *options)
    assert ended.status == 2
    assert words in ended.err
    assert ended.err.strip().count("\n") == 0
    assert not list(tmp_path.iterdir())


def test_an_instrument_alone_is_asked_for_a_corpus_or_its_run(timbrel, tmp_path, monkeypatch):
    ended = timbrel("evaluate", "gm-keys")
    assert ended.status == 2
    assert "gm-keys is an instrument, no run; to compare its notes, give --corpus CORPUS" in ended.err
    (tmp_path / "my flute" / "run").mkdir(parents=True)
    (tmp_path / "my flute" / "preset.toml").touch()
    (tmp_path / "my flute" / "run" / "run.json").touch()
    monkeypatch.chdir(tmp_path)
    ended = timbrel("evaluate", "my flute")
    assert ended.status == 2
    assert "my flute is an instrument, no run; its run is my flute/run: timbrel evaluate 'my flute/run'" in ended.err


def test_takes_are_compared_while_both_are_held(analytic, tmp_path):
    clips = [
        ("train", 60, {"velocity": 50}),
        ("test", 62, {"velocity": 50}),
        ("val", 62, {"velocity": 50, "held": 0.5}),
    ]
    found = comparison.compare_notes(
        patched(analytic()), note_corpus(tmp_path / "c", clips), 0, lambda done, what: None
    ).figures
    assert found["takes_apart"]["pairs"] == 1
    assert max(found["takes_apart"]["recorded"].values()) < 0.2
    assert found["take"]["envelope_db"]["worst"] > 3  # their releases differ


def test_a_sampler_is_not_charged_with_silence_after_its_end():
    recorded = tone(60, seconds=1.0)
    half = recorded[: len(recorded) // 2]
    figures = comparison._distances(NoteSound(recorded), NoteSound(half), RATE)
    assert figures["shape_db"] == pytest.approx(0, abs=1e-6)
    assert figures["envelope_db"] == pytest.approx(0, abs=1e-6)
