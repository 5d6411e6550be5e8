"""The pitch and the stiffness of strings are found by their partials; what is no string has none."""

import numpy as np
import pytest
from timbrel.host.engines.spectrum.partial_analysis import Layout, split_partials
from timbrel.host.kinds.card_fields import PartialsLayout
from timbrel.host.model.partials import orders, stretched
from timbrel.host.signal import window
from timbrel.host.units import midi_to_hz
from timbrel.train.corpus import inharmonicity as stiffs
from timbrel.train.corpus.inharmonicity import by_partials, raised_cents, stiffness, stretch_of
from timbrel.train.corpus.pitch import pitch_track, single_note
from timbrel.train.corpus.store import Corpus, writing
from timbrel.train.families import FAMILIES
from timbrel.train.families.partials.network import Bands
from timbrel.train.families.recipes import load_recipe

RATE = 44100


def string(note, stiff, seconds=1.2, partials=30, noise=0.0):
    """A plucked string whose first partial has the note's frequency."""
    time, number = np.arange(round(seconds * RATE)) / RATE, np.arange(1, partials + 1)
    hz = midi_to_hz(note) * number * np.sqrt((1 + stiff * number**2) / (1 + stiff))
    kept = hz < 0.45 * RATE
    waves = 0.8 ** number[kept, np.newaxis] * np.sin(2 * np.pi * np.outer(hz[kept], time) + number[kept, np.newaxis])
    sound = (waves * np.exp(-time * (1 + 0.1 * number[kept, np.newaxis]))).sum(0)
    return (0.2 * sound + noise * np.random.default_rng(0).standard_normal(len(time))).astype(np.float32)


@pytest.mark.parametrize("stiff", [0.0, 1e-4, 4e-4, 1e-3])
@pytest.mark.parametrize("note", [40.0, 52.3, 60.0, 71.8])
def test_the_pitch_and_the_stiffness_of_a_string_are_found(note, stiff):
    found = stiffness(string(note, stiff, noise=1e-4), RATE, note + 0.3)
    assert found.pitch == pytest.approx(note, abs=0.005)
    assert found.inharmonicity == pytest.approx(stiff, rel=0.03, abs=3e-6)
    assert found.partials >= 12


def test_noise_and_what_is_too_short_have_neither():
    noise = 0.1 * np.random.default_rng(0).standard_normal(RATE).astype(np.float32)
    assert stiffness(noise, RATE, 60.0) is None
    assert stiffness(string(60.0, 0.0)[:3000], RATE, 60.0) is None


def test_partials_of_strings_are_raised_by_the_law():
    assert raised_cents(0.0) == 0
    asked = 1200 * np.log2(float(stretched(np.array(10), 3e-4)) / 10)
    assert raised_cents(3e-4) == pytest.approx(asked)
    layout = PartialsLayout(harmonics=10, edges_hz=[0, 100, 200], low=40, high=80, stretch=(float(np.log(3e-4)), 0.0))
    assert orders(layout, np.array([60]))[0] == pytest.approx(stretched(np.arange(1, 11), 3e-4))


def test_a_stiff_strings_track_is_that_of_its_first_partial_and_others_stay():
    sound = string(60.0, 8e-4)
    track = pitch_track(sound, RATE)
    assert abs(single_note(track) - 60.0) > 0.03  # all partials but the first are sharp
    assert single_note(by_partials(sound, RATE, track)) == pytest.approx(60.0, abs=0.005)
    plain = string(60.0, 0.0)
    track = pitch_track(plain, RATE)
    assert by_partials(plain, RATE, track) is track


@pytest.fixture
def corpus_of(tmp_path):
    """A function that makes a corpus of strings, whose stiffness is a function of the key."""

    def make(stiff, keys=range(40, 76, 3)):
        with writing(tmp_path / "corpus", RATE) as writer:
            for key in keys:
                sound = string(key, stiff(key))
                track = np.full(-(-len(sound) // 1024), key, np.float32)
                writer.append(sound, track, name=f"{key}", group=f"{key}")
            writer.finish({clip.name: "train" for clip in writer.clips}, name="strings")
        return Corpus.open(tmp_path / "corpus")

    return make


def test_the_stiffness_of_a_corpus_is_a_line_in_key(corpus_of):
    corpus = corpus_of(lambda key: np.exp(-11 + 0.06 * key))
    assert stretch_of(corpus) == pytest.approx((-11, 0.06), rel=0.02)
    recipe = FAMILIES["partials"].complete(load_recipe("tuned-partials"), corpus)
    assert recipe.frames.layout.stretch == stretch_of(corpus)
    assert (
        FAMILIES["partials"]
        .complete(load_recipe("tuned-partials", ["frames.stretch=false"]), corpus)
        .frames.layout.stretch
        is None
    )


@pytest.mark.parametrize(("first", "slope"), [(-13.53, 0.0911), (-1.6, -0.1)])
def test_a_steep_line_is_flattened_until_every_key_has_a_possible_stiffness(corpus_of, first, slope):
    """A piano's low keys alone draw such a line."""
    corpus = corpus_of(lambda key: np.exp(first + slope * key), range(48, 66, 2))
    found = stretch_of(corpus)
    assert found != pytest.approx((first, slope), rel=0.01)
    assert found[0] + found[1] * 57 == pytest.approx(first + slope * 57, abs=0.05)
    assert max(found[0], found[0] + 127 * found[1]) == pytest.approx(np.log(0.1), abs=2e-3)
    assert FAMILIES["partials"].complete(load_recipe("tuned-partials"), corpus).frames.layout.stretch == found


def test_a_corpus_without_stiff_strings_has_none(corpus_of):
    corpus = corpus_of(lambda key: 0.0)
    assert stretch_of(corpus) is None
    assert FAMILIES["partials"].complete(load_recipe("tuned-partials"), corpus).frames.layout.stretch is None


def test_of_few_notes_no_line_is_drawn(corpus_of):
    assert stretch_of(corpus_of(lambda key: 5e-4, [50, 55, 60])) is None


@pytest.mark.parametrize(("note", "stiff"), [(45.0, 3e-4), (60.0, 8e-4), (64.5, 1e-3)])
def test_a_stiff_strings_partials_are_taken_apart_where_they_lie(note, stiff):
    length, number = 4096, np.arange(1, 25)
    places = midi_to_hz(note) * length / RATE * stretched(number, stiff)
    number, places = number[places < 1800], places[places < 1800]
    time, heights = np.arange(length) - length / 2, 0.9**number
    sound = heights @ np.cos(2 * np.pi * np.outer(places, time) / length + np.outer(number**2, np.ones(length)))
    frame = np.abs(np.fft.rfft(sound * window("hann", length)))[np.newaxis].astype(np.float32)
    layout = Layout(len(number), length // 2 + 1, 1.0)
    first = np.array([places[0]])
    found = layout.harmonic(split_partials(frame, first, layout, np.array([stiff])))[0] / (length / 4)
    assert 20 * np.log10(found / heights) == pytest.approx(np.zeros(len(number)), abs=0.5)
    plain = layout.harmonic(split_partials(frame, first, layout))[0] / (length / 4)
    assert (20 * np.log10(np.maximum(plain[-4:], 1e-6) / heights[-4:]) < -3).any()  # they lie elsewhere


def test_bands_of_stiff_strings_lie_where_their_partials_do(corpus_of):
    import torch

    changes = ["frames.low=36", "frames.high=96", "frames.stretch=[-7.0, 0.0]"]
    recipe = load_recipe("tuned-partials", changes)
    bands = Bands(recipe.frames)
    found = bands.places(torch.tensor([60.0]))[0].numpy()
    asked = midi_to_hz(60) * 4096 / RATE * stretched(np.arange(1, 161), np.exp(-7.0))
    assert found == pytest.approx(asked, rel=1e-5)


def test_peaks_that_are_off_by_as_many_hertz_count_by_their_numbers():
    """Least squares with equal weights on (f_n / n)^2 would be led by the lowest partials."""
    rng, number = np.random.default_rng(0), np.arange(1, 25)
    places = 200 * stretched(number, 3e-4)
    ours, plain = [], []
    for _ in range(200):
        off = places + rng.normal(0, 0.3, len(places))
        ours.append(stiffs._fit_string(number, off)[1])
        slope, base = np.polyfit(number.astype(float) ** 2, np.square(off / number), 1)
        plain.append(slope / base)
    assert np.mean(ours) == pytest.approx(3e-4, rel=0.01)
    assert np.std(ours) < 0.7 * np.std(plain)


def test_noise_between_stiff_partials_keeps_its_power():
    rng, length = np.random.default_rng(0), 4096
    frames = np.abs(np.fft.rfft(rng.standard_normal((20, length)) * window("hann", length))).astype(np.float32)
    layout, first = Layout(60, length // 2 + 1, 1.0), np.full(20, 20.0)
    power = {}
    for stiff in (0.0, 1e-3):
        residue = layout.residue(split_partials(frames, first, layout, np.full(20, stiff)))
        power[stiff] = np.square(residue[:, 200:1500]).mean()
    assert 10 * np.log10(power[1e-3] / power[0.0]) == pytest.approx(0, abs=0.3)


def test_what_of_a_stiff_partial_is_noise_stays_where_it_lies():
    """Partials that stand 15 dB out of noise are noise in part: their power is kept, at their own places."""
    number, stiff, first, bins = np.arange(1, 41), 2e-3, 30.0, 2049
    places = first * stretched(number, stiff)
    places = places[places < 1900]
    frame = np.full(bins, 0.25)
    frame[np.abs(np.arange(bins)[:, np.newaxis] - places).min(1) < 1.5] = 1.0
    layout = Layout(len(places), bins, 1.0)
    apart = split_partials(frame[np.newaxis].astype(np.float32), np.array([first]), layout, np.array([stiff]))
    middles = np.rint(places[5:-1]).astype(int)
    noise = layout.residue(apart)[0]
    assert (noise[middles] > 1.15 * np.median(noise)).all()
