"""The study of continued sound: rows of networks beside floors, memories, corpora without copies, vowels, claims."""

import json
import re

import numpy as np
import pytest
import scipy
import soundfile
import torch
from timbrel.export.families import sequence_floors
from timbrel.export.families.sequence import frames_after
from timbrel.export.measures.floors import compare_row
from timbrel.export.measures.sounds import onset_measure, rms_db
from timbrel.export.reports import report as picture
from timbrel.export.study import sequence as studying
from timbrel.export.study import sequence_measures as measuring
from timbrel.export.study import sequence_sounds as sounding
from timbrel.export.study.runs import Training
from timbrel.export.study.sequence import (
    ROWS,
    USUAL_ROWS,
    SequenceStudyOptions,
    parse_corpora,
    parse_rows,
    study,
)
from timbrel.export.study.sequence_measures import (
    CONSTANT,
    FIRST,
    GROWN,
    MEASURES,
    MEMORIES,
    TRIMMED,
    continued,
    floors,
    frame_floors,
    high_db,
    read_counts,
    spread,
    vowel_agreement,
    vowel_count,
)
from timbrel.export.study.sequence_page import claims, scaling_verdict
from timbrel.export.study.sequence_sounds import FORMANTS_HZ, KICKS, LOOP, PITCH_HZ, VOWELS, different, vowels
from timbrel.host.errors import UserError
from timbrel.host.progress import Display
from timbrel.train.corpus.store import Corpus
from timbrel.train.families import FAMILIES
from timbrel.train.families.recipes import load_recipe
from timbrel.train.families.sequence.data import pieces
from timbrel.train.families.sequence.network import delayed
from timbrel.train.metrics.rhythm import envelope_correlation
from timbrel.train.run import Run, trained

from ..train.struck import RATE, corpus_of, hat, tom

LENGTH = 64
SMALL = [
    f"frames.sample_rate={RATE}",
    f"frames.frame_length={LENGTH}",
    f"frames.hop_length={LENGTH}",
    "network.size=16",
    "training.steps=3",
]


@pytest.fixture(autouse=True)
def _short_tails(monkeypatch):
    monkeypatch.setattr(measuring, "TAIL", 20)
    monkeypatch.setattr(sequence_floors, "PART", 5)
    monkeypatch.setattr(measuring, "SHOWN", 2)


@pytest.fixture
def drawn(monkeypatch):
    """The names of pictures that were drawn; no time is spent on them."""
    names = []

    def touch(one, folder):
        names.append(one.name)
        for suffix in ("", "-dark"):
            (folder / f"{one.name}{suffix}.png").touch()

    monkeypatch.setattr(picture.Picture, "save", touch)
    return names


def named(folder, name):
    path = folder / "corpus.json"
    path.write_text(path.read_text(encoding="utf-8").replace('"struck"', f'"{name}"'), encoding="utf-8")
    return folder


@pytest.fixture
def loop(tmp_path):
    sounds = [tom(5, 0.1), np.concatenate([hat(3, 0.3), tom(4, 0.3)]), np.zeros(9000, np.float32)]
    return named(corpus_of(tmp_path / "loop", sounds, splits=["train", "test", "train"]).folder, "loop")


@pytest.fixture
def kicks(tmp_path):
    return named(corpus_of(tmp_path / "kicks", [tom(1, 0.12), tom(2, 0.15), hat(1, 0.12)]).folder, "one")


@pytest.fixture
def copies(tmp_path):
    """A new kick, a copy of an earlier one, and one that is softer and late."""
    late = np.concatenate([np.zeros(37, np.float32), 0.3 * tom(2, 0.15)])
    return named(corpus_of(tmp_path / "copies", [tom(3, 0.1), tom(1, 0.12), late]).folder, "two")


def make(options):
    with Display() as display:
        return study(options, display)


def options_of(folder, corpora, rows=("vowels-256",), changes=SMALL, **fields):
    return SequenceStudyOptions(corpora, folder, rows, changes, accelerator="cpu", **fields)


def figures_of(folder):
    return json.loads((folder / "study.json").read_text(encoding="utf-8"))


# ---- the study


def test_a_study_has_each_row_with_each_memory_and_scaling_beside_floors(loop, kicks, copies, tmp_path, drawn):
    folder = tmp_path / "study"
    assert make(options_of(folder, {LOOP: [loop], KICKS: [kicks, copies]}, USUAL_ROWS, seeds=2))
    figures = figures_of(folder)
    assert list(figures["experiments"]) == [LOOP, KICKS, VOWELS]
    assert [figures["experiments"][role]["recordings"] for role in (LOOP, KICKS, VOWELS)] == [1, 4, 1]
    for role, experiment in figures["experiments"].items():
        assert [network["name"] for network in experiment["networks"]] == [
            name for name in USUAL_ROWS if name.startswith(role)
        ]
        for network in experiment["networks"]:
            keys = [(row["memory"], row["restored"]) for row in network["rows"]]
            assert keys == [(memory, restored) for memory in MEMORIES for restored in (True, False)]
            assert network["runs"] == [f"{network['name']}-0", f"{network['name']}-1"]
            runs = [json.loads((folder / "runs" / run / "figures.json").read_text()) for run in network["runs"]]
            assert network["mean_square"] == pytest.approx(spread([run["mean_square"] for run in runs]))
            assert network["mean_square"][1] > 0
            for row, *run_rows in zip(network["rows"], *(run["rows"] for run in runs), strict=True):
                for name, measure in MEASURES[role].items():
                    value = spread([run_row[name] for run_row in run_rows])
                    floored = experiment["floors"].get(name)
                    assert (floored is None) == (measure.rises is None)
                    assert row[name] == (compare_row(floored, *value) if floored else list(value))
                for name in ("tail_db", "rise_db"):
                    assert (row[name] is None) == (row["memory"] != GROWN)
                    if row[name] is not None:
                        value = spread([run_row[name] for run_row in run_rows])
                        assert row[name] == compare_row(experiment["floors"][name], *value)
    html = (folder / "index.html").read_text(encoding="utf-8")
    targets = {target for target in re.findall(r'(?:src|href|srcset)="([^"]+)"', html) if "/report/" not in target}
    assert all((folder / target).exists() for target in targets)
    assert {"loop-continued.png", "kicks-beyond.png", "vowels-256-fft-unrestored.wav"} < targets
    assert "white noise" in html
    sound, rate = soundfile.read(folder / "loop-256-restored.wav")
    assert rate == RATE
    assert len(sound) == (60 + 1 + 20) * LENGTH
    assert {claim["network"] for claim in figures["claims"]} == set(USUAL_ROWS)


def test_a_measured_row_is_the_networks_own_continuation(loop, tmp_path, drawn):
    folder = tmp_path / "study"
    assert make(options_of(folder, {LOOP: [loop]}, ["loop-256"], seeds=1))
    run, corpus = Run.open(folder / "runs" / "loop-256-0"), Corpus.open(folder / "corpora" / "loop")
    (piece,) = pieces(corpus, "train", run.recipe.frames)
    network = trained(run, "best")[0]
    frames = network.standard.to_samples(frames_after(network, run.recipe, corpus, piece, 0, 1, 20)).numpy()
    recorded = np.pad(corpus.samples(piece.clip), (0, LENGTH))
    (network_figures,) = figures_of(folder)["experiments"][LOOP]["networks"]
    row = network_figures["rows"][0]
    sound = frames.reshape(-1)
    assert row["onsets"]["value"] == pytest.approx(onset_measure(recorded, sound[: len(recorded)], RATE))
    with torch.no_grad():
        known_frames = network.standard(torch.from_numpy(recorded.reshape(1, -1, LENGTH)))
        predicted = network.predict(delayed(known_frames), network.codes(torch.tensor([0])))[0]
    error = float((predicted - known_frames)[:, 1:].square().mean())
    assert network_figures["mean_square"] == pytest.approx([error, 0], rel=1e-4)
    tail = sound[len(recorded) :]
    levels = [10 * np.log10(np.square(part).mean()) for part in (tail[: 5 * LENGTH], tail[-5 * LENGTH :])]
    assert row["rise_db"]["value"] == pytest.approx(levels[1] - levels[0], abs=1e-3)
    assert row["tail_db"]["value"] == pytest.approx(levels[1] - 10 * np.log10(np.square(recorded).mean()), abs=1e-3)


def test_a_study_resumes_without_training_or_measuring_again(tmp_path, drawn, monkeypatch):
    folder, given = tmp_path / "study", []
    original = Training.train

    def halted(training, options):
        given.append(training.folder.name)
        return original(training, options) and len(given) < 2

    monkeypatch.setattr(Training, "train", halted)
    options = options_of(folder, {}, ["vowels-256", "vowels-256-fft"], seeds=1)
    assert not make(options)
    assert not (folder / "study.json").exists()
    monkeypatch.setattr(Training, "train", original)
    checkpoint, measured = (folder / "runs" / "vowels-256-0" / name for name in ("last.ckpt", "figures.json"))
    before = checkpoint.stat().st_mtime_ns, measured.stat().st_mtime_ns
    assert make(options)
    assert (checkpoint.stat().st_mtime_ns, measured.stat().st_mtime_ns) == before
    assert given == ["vowels-256-0", "vowels-256-fft-0"]


def test_a_page_keeps_the_rows_and_seeds_of_earlier_calls_with_equal_settings(tmp_path, drawn):
    folder = tmp_path / "study"
    assert make(options_of(folder, {}, ["vowels-256-fft"], seeds=2))
    assert make(options_of(folder, {}, ["vowels-256"], seeds=1))
    networks = figures_of(folder)["experiments"][VOWELS]["networks"]
    assert [network["runs"] for network in networks] == [["vowels-256-0"], ["vowels-256-fft-0", "vowels-256-fft-1"]]
    (folder / "runs" / "vowels-256-copy").mkdir()
    (folder / "runs" / "vowels-256-fft-1" / "figures.json").unlink()
    assert make(options_of(folder, {}, ["vowels-2048"], [*SMALL, "training.steps=4"], seeds=1))
    assert [network["name"] for network in figures_of(folder)["experiments"][VOWELS]["networks"]] == ["vowels-2048"]
    assert make(options_of(folder, {}, ["vowels-256"], seeds=1))
    networks = figures_of(folder)["experiments"][VOWELS]["networks"]
    assert [network["runs"] for network in networks] == [["vowels-256-0"], ["vowels-256-fft-0"]]


def test_rows_without_a_corpus_and_long_rows_are_named(tmp_path, drawn, capsys):
    assert make(options_of(tmp_path / "study", {}, USUAL_ROWS, seeds=1))
    said = capsys.readouterr().err
    lacking = ", ".join(name for name in USUAL_ROWS if ROWS[name].role != VOWELS)
    assert f"{lacking} are left out: --corpus loop= and --corpus kicks= is not given" in said
    assert "loop-2048 (" in said
    assert list(figures_of(tmp_path / "study")["experiments"]) == [VOWELS]


def test_rows_have_the_posts_numbers_and_say_their_hours():
    assert {row.role for row in ROWS.values()} == {LOOP, KICKS, VOWELS}
    for name, row in ROWS.items():
        recipe = load_recipe(row.recipe, row.changes)
        assert recipe.frames.frame_length == recipe.frames.hop_length == 2048
        assert recipe.network.latents == 0
        assert recipe.network.size == int(name.split("-")[1])
        assert (recipe.frames.domain == "half_complex") == name.endswith("-fft")
        assert (recipe.network.size == 2048) == (name not in USUAL_ROWS) == row.is_long


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"rows": ["loop-256"]}, "--rows loop-256 need corpora that are not given; give --corpus loop=FOLDER"),
        ({"changes": ["network.size=0"]}, "network.size"),
        ({"changes": [*SMALL, "frames.sample_rate=16000"]}, "is at 8000 Hz, the recipes want 16000"),
        ({"twice": True}, "two --corpus kicks are named one"),
    ],
)
def test_a_wrong_study_is_refused_in_one_line_and_nothing_is_made(kicks, tmp_path, fields, words):
    corpora = {KICKS: [kicks] * (1 + fields.pop("twice", False))}
    with pytest.raises(UserError) as error:
        make(options_of(tmp_path / "study", corpora, **{"rows": ["kicks-256"], **fields}))
    assert words in str(error.value)
    assert len(str(error.value).splitlines()) == 1
    assert not (tmp_path / "study").exists()


def test_a_study_refuses_to_resume_with_other_sounds_or_settings(kicks, copies, tmp_path, drawn):
    folder = tmp_path / "study"
    assert make(options_of(folder, {KICKS: [kicks]}, ["kicks-256"], seeds=1))
    with pytest.raises(UserError, match="was made with other corpora or frames"):
        make(options_of(folder, {KICKS: [kicks, copies]}, ["kicks-256"], seeds=1))
    with pytest.raises(UserError, match="was trained with other settings"):
        make(options_of(folder, {KICKS: [kicks]}, ["kicks-256"], [*SMALL, "training.steps=4"], seeds=1))


@pytest.mark.parametrize(
    ("parse", "given", "words"),
    [
        (parse_corpora, ["loops=a"], "must be PART=FOLDER, PART one of loop, kicks"),
        (parse_corpora, ["loop="], "must be PART=FOLDER"),
        (parse_corpora, ["loop=a", "loop=b"], "--corpus loop is given twice, as a and b"),
        (parse_rows, "loop-255", "no row is named 'loop-255'; choose from loop-256,"),
        (parse_rows, "loop-256,loop-256", "names loop-256 twice"),
    ],
)
def test_wrong_options_are_refused(parse, given, words):
    with pytest.raises(UserError, match=re.escape(words)):
        parse(given)


def test_the_command_takes_a_loop_several_kicks_and_rows(timbrel, tmp_path):
    assert [path.name for path in parse_corpora(["kicks=a", "loop=c", "kicks=b"])[KICKS]] == ["a", "b"]
    refused = timbrel("study", "sequence", "--rows", "loop-256", "-o", tmp_path / "s")
    assert (refused.status, "give --corpus loop=FOLDER" in refused.err) == (2, True)


# ---- corpora


def test_a_loop_is_the_beginning_of_the_longest_recording(loop, tmp_path, drawn):
    assert make(options_of(tmp_path / "study", {LOOP: [loop]}, ["loop-256"], seeds=1))
    source, made = Corpus.open(loop), Corpus.open(tmp_path / "study" / "corpora" / "loop")
    (clip,) = made.clips("train")
    assert clip.length == 60 * LENGTH
    assert np.array_equal(made.samples(clip), source.samples(source.clips()[1])[: 60 * LENGTH])


def test_kicks_are_padded_to_one_length_and_copies_are_left_out(kicks, copies, tmp_path, drawn):
    assert make(options_of(tmp_path / "study", {KICKS: [kicks, copies]}, ["kicks-256"], seeds=1))
    made = Corpus.open(tmp_path / "study" / "corpora" / "kicks")
    assert [clip.name for clip in made.clips()] == ["one clip 0", "one clip 1", "one clip 2", "two clip 0"]
    assert {clip.length for clip in made.clips()} == {32 * LENGTH}
    assert np.array_equal(made.samples(made.clips()[0])[:960], tom(1, 0.12))
    assert np.all(made.samples(made.clips()[0])[960:] == 0)


def test_a_copy_is_a_sound_that_another_explains_to_forty_decibels():
    kick, noise = tom(1, 0.2).astype(np.float64), np.random.default_rng(0).standard_normal(1600)
    noise *= np.sqrt(np.square(kick).sum() / np.square(noise).sum())
    near, far = kick + 10 ** (-45 / 20) * noise, kick + 10 ** (-35 / 20) * noise
    assert different([kick, -0.2 * np.roll(np.pad(kick, (0, 300)), 211)]) == [0]
    assert different([kick, near, far]) == [0, 2]
    assert different([far, kick, near]) == [0, 1]


def test_vowels_have_one_pitch_and_their_formants():
    samples = 8000
    sound = vowels(RATE, samples)
    assert len(sound) == 4 * samples
    for index, formants in enumerate(FORMANTS_HZ.values()):
        part = sound[index * samples + 1000 : (index + 1) * samples - 1000].astype(np.float64)
        power = np.square(np.abs(np.fft.rfft(part * np.hanning(len(part)))))
        hz = np.fft.rfftfreq(len(part), 1 / RATE)
        harmonic = np.abs(hz / PITCH_HZ - np.round(hz / PITCH_HZ)) * PITCH_HZ < 5
        assert power[harmonic].sum() / power.sum() > 0.999
        # scipy's resonators over the same series of pulses, by their levels at the harmonics.
        numbers = np.arange(1, int(0.45 * RATE / PITCH_HZ) + 1)
        levels = np.array([power[np.abs(hz - number * PITCH_HZ) < 5].sum() for number in numbers])
        poles = np.concatenate(
            [
                [-width / 2 + sign * 1j * formant for sign in (1, -1)]
                for formant, width in zip(formants, sounding.BANDWIDTHS_HZ, strict=True)
            ]
        )
        gain = scipy.signal.freqs_zpk([], poles, abs(np.prod(poles)), worN=numbers * PITCH_HZ)[1] / numbers
        expected = 20 * np.log10(np.abs(gain) / np.abs(gain).max())
        assert 10 * np.log10(levels / levels.max()) == pytest.approx(expected, abs=0.5)


# ---- floors, measures and claims


def test_floors_are_those_of_silence_noise_one_frame_and_shifts():
    recorded = np.concatenate([hat(number, 0.15) for number in range(8)])
    onset_floors = floors(LOOP, [recorded], [recorded], RATE, LENGTH)["onsets"]
    shifted = [onset_measure(recorded, np.roll(recorded, draw * len(recorded) // 20), RATE) for draw in range(1, 20)]
    assert onset_floors["floors"]["shifted"] == pytest.approx(np.mean(shifted))
    assert onset_floors["deviations"]["shifted"] == pytest.approx(np.std(shifted, ddof=1))
    assert onset_floors["floors"]["silence"] == 0
    assert 0 < onset_floors["floors"]["noise"] < 1
    assert onset_floors["deviations"]["noise"] > 0
    repeated = np.tile(recorded[:LENGTH], len(recorded) // LENGTH)
    assert onset_floors["floors"]["repeated"] == onset_measure(recorded, repeated, RATE)


def test_floors_of_several_recordings_are_medians_of_each_draw():
    sounds = [np.pad(tom(number, 0.1 + 0.02 * number), (0, 2400))[:2400] for number in range(40)]
    shown = sounds[3:30:4]
    kick_floors = floors(KICKS, sounds, shown, RATE, LENGTH)
    assert list(kick_floors) == ["envelope", "tail_db", "rise_db"]
    assert list(kick_floors["envelope"]["floors"]) == ["silence", "noise", "repeated", "another"]
    medians = [
        np.median([envelope_correlation(sounds[3 + 4 * n], sounds[(3 + 4 * n + step) % 40], RATE) for n in range(7)])
        for step in range(2, 40, 2)
    ]
    assert kick_floors["envelope"]["floors"]["another"] == pytest.approx(np.mean(medians))
    assert kick_floors["envelope"]["deviations"]["another"] == pytest.approx(np.std(medians, ddof=1))
    pair = floors(KICKS, sounds[:2], sounds[:2], RATE, LENGTH)["envelope"]
    assert pair["floors"]["another"] == pytest.approx(envelope_correlation(sounds[0], sounds[1], RATE))


def test_answers_to_a_tail_are_repeated_after_the_end():
    recorded = np.concatenate([hat(number, 0.15) for number in range(8)])
    recorded = recorded[: len(recorded) // LENGTH * LENGTH]
    tails = floors(LOOP, [recorded], [recorded], RATE, LENGTH)
    level_db = rms_db(recorded)
    assert tails["tail_db"]["floors"]["silence"] == pytest.approx(-120 - level_db)
    assert tails["tail_db"]["floors"]["noise"] == pytest.approx(0, abs=0.5)
    first = np.tile(recorded[:LENGTH], 5)
    assert tails["tail_db"]["floors"]["repeated"] == pytest.approx(rms_db(first) - level_db, abs=1e-3)
    assert tails["rise_db"]["floors"]["silence"] == 0
    assert tails["rise_db"]["floors"]["repeated"] == pytest.approx(0, abs=1e-3)
    looped = np.resize(recorded, 20 * LENGTH)
    rises = []
    for draw in range(1, 20):
        tail = np.resize(np.roll(recorded, draw * len(recorded) // 20), len(looped))
        rises.append(rms_db(tail[-5 * LENGTH :]) - rms_db(tail[: 5 * LENGTH]))
    assert tails["rise_db"]["floors"]["shifted"] == pytest.approx(np.mean(rises), abs=1e-3)
    assert not any(tails[name]["rises"] for name in ("tail_db", "rise_db"))


def test_noise_of_a_floor_is_as_loud_as_the_recording(monkeypatch):
    levels = []
    measure = measuring.SoundMeasure("", "", lambda recorded, sound, *_: levels.append(np.square(sound).mean()) or 0.0)
    monkeypatch.setitem(measuring.MEASURES, LOOP, {"level": measure})
    recorded = tom(1, 0.4)
    floors(LOOP, [recorded], [recorded], RATE, LENGTH)
    assert levels[1:20] == pytest.approx([float(np.square(recorded).mean())] * 19, rel=0.1)


def test_a_row_is_better_than_its_best_floor_by_more_than_a_deviation():
    floored = {"rises": True, "floors": {"silence": 0.0, "noise": 0.65}, "deviations": {"silence": 0.0, "noise": 0.05}}
    assert compare_row(floored, 0.69, 0.01)["not_better_than"] == "noise"
    assert compare_row(floored, 0.71, 0.01) == {**floored, "value": 0.71, "deviation": 0.01, "not_better_than": None}
    assert compare_row(floored, 0.71, 0.07)["not_better_than"] == "noise"
    assert spread([1.0, 3.0]) == pytest.approx((2, 2**0.5))
    assert spread([1.0]) == (1.0, 0.0)


def test_errors_of_the_mean_frame_and_of_the_frame_before_need_no_network(tmp_path):
    rng = np.random.default_rng(0)
    corpus = corpus_of(tmp_path / "noise", [rng.standard_normal(300 * LENGTH).astype(np.float32) * 0.1])
    recipe = load_recipe("sequence-post", [*SMALL, "frames.silence=0"])
    data = FAMILIES["sequence"].data(corpus, recipe, tmp_path)
    network = FAMILIES["sequence"].network(FAMILIES["sequence"].complete(recipe, corpus))
    network.initialise(data)
    errors = frame_floors(network, recipe, corpus)
    assert errors["the mean frame"] == pytest.approx(1, rel=0.02)
    assert errors["the frame before"] == pytest.approx(2, rel=0.03)  # of noise, whose frames do not depend


def test_vowels_are_told_by_their_spectra():
    samples, frame = 16 * 256, 256
    sound = vowels(RATE, samples)
    first, rest = sound[:samples], sound[samples:]
    assert vowel_agreement(sound, sound, RATE, frame) == 1
    assert vowel_count(sound, sound, RATE, frame) == 4
    same = np.tile(first, 4)
    assert vowel_agreement(sound, 0.1 * same, RATE, frame) == pytest.approx(0.25, abs=0.02)
    assert vowel_count(sound, same, RATE, frame) == 1
    assert vowel_agreement(sound, np.concatenate([rest, first]), RATE, frame) < 0.05
    silent = np.pad(sound, (0, frame))  # a frame after the vowels, as of training
    late = np.concatenate([sound[:samples], sound[samples - frame : -frame]])  # each next one is a frame late
    for recorded in (sound, silent):
        assert vowel_agreement(recorded, np.pad(late, (0, len(recorded) - len(sound))), RATE, frame) == 61 / 64
    brief = np.concatenate([first, first[: 14 * frame], rest[: 2 * frame], np.tile(first, 2)])
    assert vowel_count(sound, brief, RATE, frame) == 1  # two frames of another one are none


def test_high_frequencies_are_compared_by_their_share_of_the_energy():
    seconds = np.arange(RATE) / RATE
    low, high = np.sin(2 * np.pi * 100 * seconds), np.sin(2 * np.pi * 3000 * seconds)
    recorded, noisier = low + 0.1 * high, 0.5 * (low + 0.2 * high)
    assert high_db(recorded, recorded, RATE, LENGTH) == 0
    assert high_db(recorded, noisier, RATE, LENGTH) == pytest.approx(
        10 * np.log10(0.04 / 1.04 / (0.01 / 1.01)), abs=1e-3
    )


def network_row(**fields):
    plain = {"memory": GROWN, "restored": True, "tail_db": figure(-40.0), "rise_db": figure(0.0)}
    return plain | fields


def figure(value, floor=None, deviation=0.01):
    floored = {"rises": True, "floors": {"silence": 0.7, "noise": 0.65}, "deviations": {"silence": 0.05, "noise": 0.2}}
    return {**floored, "value": value, "deviation": deviation, "not_better_than": floor}


@pytest.mark.parametrize(
    ("restored", "unrestored", "verdict"),
    [
        (figure(0.6), figure(0.9), "holds"),
        (figure(0.97), figure(0.82), "does not hold"),
        (figure(0.9), figure(0.905), "does not hold"),
        (figure(0.8, deviation=0.0), figure(0.84, deviation=0.0), "does not hold"),
        (figure(0.5), figure(0.66, "noise"), "not better than white noise"),
        (figure(0.8, deviation=0.2), figure(0.9), "does not hold"),
    ],
)
def test_scaling_left_out_makes_the_break_if_it_is_better_than_put_back_and_than_noise(restored, unrestored, verdict):
    assert scaling_verdict(restored, unrestored) == verdict


def test_claims_are_judged_by_the_rows_that_they_are_about():
    error = {"mean_square": [0.1, 0.0], "mean_square_floors": {"the mean frame": 1.0}, "domain": "half_complex"}
    loops = [
        network_row(memory=memory, restored=restored, onsets=figure(value, floor))
        for memory, value, floor in ((GROWN, 0.6, "noise"), (CONSTANT, 0.9, None), (TRIMMED, 0.5, "noise"))
        for restored in (True, False)
    ]
    kicks = [network_row(envelope=figure(0.9), high_db=[3.5, 0.0], rise_db=figure(4.0))]
    heard = [
        network_row(memory=memory, agreement=figure(0.3, floor), vowels=[count, 0.0])
        for memory, count, floor in ((FIRST, 1, "repeated"), (GROWN, 4, None))
    ]
    experiments = {
        role: {"floors": {}, "networks": [error | {"name": role, "rows": rows}]}
        for role, rows in ((LOOP, loops), (KICKS, kicks), (VOWELS, heard))
    }
    verdicts = {(claim["network"], claim["claim"]): claim["verdict"] for claim in claims(experiments)}
    assert verdicts == {
        (LOOP, "It learns to the post’s error"): "does not hold",
        (LOOP, "Leaving mean and variance out makes the break"): "not better than white noise",
        (LOOP, "Fourier frames play no break, with any memory"): "does not hold",
        (KICKS, "It learns to the post’s error"): "holds",
        (KICKS, "Kicks are noisy"): "holds",
        (KICKS, "A tail rises after the end"): "holds",
        (VOWELS, "The vowel never changes, taking first outputs"): "holds",
        (VOWELS, "The vowel never changes, taking last outputs"): "does not hold",
    }
    loops[2]["onsets"] = figure(0.6, "noise")
    kicks[0] |= {"high_db": [2.5, 0.0], "rise_db": figure(2.0)}
    error["mean_square"][0] = 1.01
    changed = {(claim["network"], claim["claim"]): claim["verdict"] for claim in claims(experiments)}
    assert changed[KICKS, "Kicks are noisy"] == changed[KICKS, "A tail rises after the end"] == "does not hold"
    assert changed[LOOP, "Fourier frames play no break, with any memory"] == "holds"
    assert changed[KICKS, "It learns to the post’s error"] == "not better than the mean frame"


# ---- memory


def network_of(*changes):
    recipe = load_recipe("sequence-post", [*SMALL, *changes])
    torch.manual_seed(1)
    return FAMILIES["sequence"].network(
        recipe.model_copy(update={"network": recipe.network.model_copy(update={"clips": 1})})
    )


def test_a_memory_grows_or_stays_or_is_trimmed():
    assert list(read_counts(GROWN, 1, 31)) == list(range(1, 31))
    assert list(read_counts(CONSTANT, 1, 31)) == [*range(1, 17), *[16] * 14]
    assert list(read_counts(TRIMMED, 1, 41)) == [*range(1, 17), *range(4, 17), *range(4, 15)]
    assert list(read_counts(TRIMMED, 20, 23)) == [20, 4, 5]


@pytest.mark.parametrize("memory", [CONSTANT, TRIMMED])
def test_frames_that_a_memory_has_lost_have_no_effect(memory):
    network, seed = network_of(), 3 * torch.randn(1, 20, LENGTH)
    codes = network.codes(torch.tensor([0]))
    expected = continued(network, seed, codes, 60, memory)
    counts = list(read_counts(memory, 20, 60))
    with torch.no_grad():
        for frame in (21, 30, 59):  # each from its own part of the sound, as a sequence of its own
            window = expected[:, frame - counts[frame - 20] : frame]
            assert torch.allclose(network.continued(window, codes, window.shape[1] + 1)[:, -1], expected[:, frame])
    changed = seed.clone()
    changed[:, 0] += 5
    again = continued(network, changed, codes, 60, memory)
    assert not torch.allclose(again[:, 20], expected[:, 20]) or memory == CONSTANT
    whole = [continued(network, given, codes, 60, GROWN) for given in (seed, changed)]
    assert not torch.equal(whole[0][:, 20:], whole[1][:, 20:])


def test_a_grown_memory_is_the_state_that_is_carried():
    network, seed = network_of(), torch.randn(1, 1, LENGTH)
    codes, frames = network.codes(torch.tensor([0])), [seed[:, 0]]
    with torch.no_grad():
        for _ in range(8):  # all frames are read again for each new one, as in the post
            known = torch.nn.functional.pad(torch.stack(frames, 1), (0, 0, 1, 0))
            frames.append(network.predict(known, codes)[0][:, -1])
    assert torch.allclose(continued(network, seed, codes, 9, GROWN), torch.stack(frames, 1), atol=1e-6)


def test_first_outputs_are_one_frame_for_ever():
    network, seed = network_of(), torch.randn(1, 1, LENGTH)
    codes = network.codes(torch.tensor([0]))
    frames = continued(network, seed, codes, 9, FIRST)
    assert torch.equal(frames[:, :1], seed)
    assert torch.allclose(frames[:, 1], continued(network, seed, codes, 9, GROWN)[:, 1], atol=1e-6)
    assert torch.equal(frames[:, 1:], frames[:, 1:2].expand(-1, 8, -1))


def test_pictures_show_the_recording_and_each_row():
    sound = np.random.default_rng(0).standard_normal(3000).astype(np.float32)
    sounds = {"loop-256": {"restored": sound, "unrestored": sound}}
    first, beyond = studying._pictures(LOOP, sound[:2000], sounds, RATE)
    labels = [axes.get_ylabel() for axes in first.draw(picture.DARK).axes]
    assert labels == ["recording", "loop-256\nrestored", "loop-256\nunrestored"]
    assert (first.name, beyond.name) == ("loop-continued", "loop-beyond")
