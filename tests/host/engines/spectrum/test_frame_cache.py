"""Decoded frames: which are computed, that none is computed twice, and where they lie after a move."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from timbrel.host.engines.spectrum.frames import AHEAD, BATCH, FrameDecoder, MovedSpectra, RowCache


def rows_of(keys):
    """What a row is for each key, in closed form."""
    return np.array([[key, key**2, -key] for key in keys], np.float32)


BATCHES = st.lists(st.lists(st.integers(0, 400), min_size=1, max_size=BATCH), min_size=1, max_size=12)


@given(BATCHES)
def test_a_cache_gives_the_row_of_every_key_and_computes_each_new_one_once(batches):
    cache = RowCache()
    for keys in batches:
        asked = []

        def compute(positions, keys=keys, asked=asked):
            asked.extend(keys[position] for position in positions)
            return rows_of(asked)

        assert np.array_equal(cache.rows(keys, compute), rows_of(keys))
        assert len(asked) == len(set(asked))


def test_a_cache_remembers_what_64_voices_use_and_forgets_what_is_long_past():
    cache = RowCache()
    kept = list(range(64))
    cache.rows(kept, lambda positions: rows_of([kept[i] for i in positions]))
    assert np.array_equal(cache.rows(kept[::-1], pytest.fail), rows_of(kept[::-1]))
    for first in range(100, 10_000, BATCH):
        keys = list(range(first, first + BATCH))
        cache.rows(keys, lambda positions, keys=keys: rows_of([keys[i] for i in positions]))
    asked = []
    cache.rows([3], lambda positions: asked.append(positions) or rows_of([3]))
    assert asked


def test_a_cache_keeps_rows_until_it_is_to_let_them_go():
    cache, asked = RowCache(), []
    cache.rows([1, 2, 3], lambda positions: rows_of([1, 2, 3]))
    cache.keep([1, 3, 4])
    for first in range(100, 10_000, BATCH):
        keys = list(range(first, first + BATCH))
        cache.rows(keys, lambda positions, keys=keys: rows_of([keys[i] for i in positions]))
    assert cache.missing([1, 2, 3, 4]) == [1, 3]
    assert np.array_equal(cache.rows([3, 1], pytest.fail), rows_of([3, 1]))
    fresh = cache.rows([3, 2, 1], lambda positions: asked.extend(positions) or rows_of([2]))
    assert np.array_equal(fresh, rows_of([3, 2, 1]))
    assert asked == [1]
    cache.let_go()
    assert cache.missing([1, 2, 3]) == [0, 2]


class Counting:
    """A model that counts the rows it decodes."""

    def __init__(self, model):
        self.card, self.model, self.rows = model.card, model, 0

    def decode(self, latent, chroma):
        self.rows += len(latent)
        return self.model.decode(latent, chroma)


@pytest.fixture
def counting(tiny):
    return Counting(tiny())


def centroid(spectra):
    return spectra @ np.arange(spectra.shape[-1]) / spectra.sum(-1)


def test_frames_of_the_models_octave_are_the_models(tiny, counting):
    codes = np.random.default_rng(1).uniform(0, 1, (24, 2)).astype(np.float32)
    pitch = np.arange(24) % 12
    spectra = MovedSpectra(counting).spectra(codes, pitch, np.ones(24))
    assert np.array_equal(spectra, tiny().decode(codes, pitch))


def test_equal_codes_and_pitch_classes_are_decoded_once_whatever_their_octaves(counting):
    source = MovedSpectra(counting)
    codes = np.full((60, 2), 0.5, np.float32)
    pitch, ratios = np.arange(60) % 12, 2.0 ** (np.arange(60) // 12 - 2)
    source.spectra(codes, pitch, ratios)
    assert counting.rows == 12
    source.spectra(codes, pitch, ratios)
    assert counting.rows == 12


def test_a_caller_cannot_write_into_frames_that_others_get(counting):
    source = MovedSpectra(counting)
    codes, pitch = np.full((6, 2), 0.5, np.float32), np.array([0, 0, 1, 1, 2, 2])
    for _ in range(3):
        with pytest.raises(ValueError, match="read-only"):
            source.spectra(codes, pitch, np.ones(6))[:] = 0


def test_a_batch_that_stands_still_is_found_as_a_whole_and_one_that_moves_is_not_kept(counting):
    source = MovedSpectra(counting)
    codes, pitch, ratios = np.full((6, 2), 0.5, np.float32), np.array([0, 0, 1, 1, 2, 2]), np.full(6, 2.0)
    first, second, third = (source.spectra(codes, pitch, ratios) for _ in range(3))
    assert second is third
    assert first is not second  # its rows were new: knobs that turn would leave a copy at each step
    other = source.spectra(codes, pitch, np.full(6, 0.5))
    assert not np.array_equal(other, third)
    assert np.array_equal(source.spectra(codes, pitch[::-1].copy(), ratios), third[::-1])
    assert np.array_equal(first, third)


def test_batches_that_stand_still_are_forgotten_when_there_are_many(counting):
    source = MovedSpectra(counting)
    codes, pitch = np.full((BATCH, 2), 0.5, np.float32), np.arange(BATCH) % 12
    kept = [source.spectra(codes, np.roll(pitch, shift), np.ones(BATCH)) for shift in (0, 0, 1, 2, 3)]
    assert source.spectra(codes, np.roll(pitch, 3), np.ones(BATCH)) is kept[-1]
    assert source.spectra(codes, pitch, np.ones(BATCH)) is not kept[1]


@pytest.mark.parametrize("settings", [{}, {"sample_rate": 44100, "frame_length": 4096, "hop_length": 1024}])
@pytest.mark.parametrize("semitones", [-36, -24, -12, -7, -1, -0.1, 0.1, 1, 7, 12, 24])
def test_a_moved_spectrum_lies_where_it_was_moved_to_with_the_energy_it_had(tiny, settings, semitones):
    model = tiny(brightest_hz=2500.0, **settings)
    ratio = 2 ** (semitones / 12)
    codes, pitch = np.full((12, 2), 0.5, np.float32), np.arange(12)
    plain = model.decode(codes, pitch)
    moved = MovedSpectra(model).spectra(codes, pitch, np.full(12, ratio))
    assert moved.min() >= 0
    assert moved.shape == plain.shape
    assert centroid(moved) == pytest.approx(ratio * centroid(plain), rel=0.01, abs=0.5)
    decibels = 10 * np.log10(np.square(moved).sum(1) / np.square(plain).sum(1))
    assert np.abs(decibels).max() < 0.5


@pytest.mark.parametrize("ratio", [0.25, 0.5, 2.0, 4.0])
def test_a_peak_goes_to_the_bin_of_its_new_frequency(tiny, ratio):
    model = tiny(sample_rate=44100, frame_length=4096, hop_length=1024)
    codes, pitch = np.full((12, 2), 0.5, np.float32), np.arange(12)
    moved = MovedSpectra(model).spectra(codes, pitch, np.full(12, ratio))
    fundamental = 440 * 2 ** ((60 + pitch - 69) / 12) * ratio * 4096 / 44100
    for row, expected in zip(moved, fundamental, strict=True):
        lowest = row[: round(1.5 * expected)]  # what lies below the second harmonic
        assert abs(lowest.argmax() - expected) <= max(1.0, ratio)  # lobes get wider as they go up


def test_what_is_moved_out_of_range_is_gone(tiny):
    model = tiny()
    moved = MovedSpectra(model).spectra(np.full((1, 2), 0.5, np.float32), np.zeros(1, int), np.array([1000.0]))
    assert np.all(moved == 0)


@pytest.mark.parametrize("ratio", [1 / 40, 1 / 300, 1 / 512, 1 / 513, 1 / 2000, 1e-6])
def test_what_is_moved_below_everything_is_squeezed_into_the_lowest_bins(tiny, ratio):
    codes, pitch = np.full((3, 2), 0.5, np.float32), np.arange(3)
    plain = tiny().decode(codes, pitch)
    moved = MovedSpectra(tiny()).spectra(codes, pitch, np.array([ratio, 0.5, ratio]))
    squeezed = moved[[0, 2]]
    assert np.square(squeezed).sum(1) == pytest.approx(np.square(plain[[0, 2]]).sum(1), rel=0.01)
    assert np.all(squeezed[:, int(513 * ratio) + 2 :] == 0)


@pytest.mark.parametrize("ratio", [1.0, 0.5, 2.0, 1.01])
def test_silent_frames_stay_silent(tiny, ratio):
    model = tiny()
    dark = np.full((2, 2), -10.0, np.float32)  # every bin below 0, so cut off
    moved = MovedSpectra(model).spectra(dark, np.zeros(2, int), np.full(2, ratio))
    assert np.all(np.isfinite(moved))
    assert moved.max() < 1e-3


def test_rows_are_the_same_to_the_bit_alone_and_in_batches(tiny):
    rng = np.random.default_rng(6)
    codes = rng.uniform(0, 1, (100, 2)).astype(np.float32)
    pitch, ratios = rng.integers(0, 12, 100), 2.0 ** rng.choice([-1, 0, 0.5, 1, 1 / 12], 100)
    together = MovedSpectra(tiny()).spectra(codes, pitch, ratios)
    one = MovedSpectra(tiny())
    alone = [one.spectra(codes[i : i + 1], pitch[i : i + 1], ratios[i : i + 1])[0] for i in range(100)]
    assert np.array_equal(np.array(alone), together)


def test_thousands_of_ratios_as_a_bend_gives_them_are_moved_right(tiny):
    source = MovedSpectra(tiny())
    codes, pitch = np.full((8, 2), 0.5, np.float32), np.arange(8)
    for ratio in np.exp2(np.linspace(-1, 1, 600)):
        moved = source.spectra(codes, pitch, np.full(8, ratio))
    again = MovedSpectra(tiny()).spectra(codes, pitch, np.full(8, 2.0))
    assert np.array_equal(moved, again)


def test_what_is_prepared_is_decoded_a_few_new_rows_at_a_time(counting):
    def ready(frames, chroma):
        made.append(len(frames))
        return frames

    made = []
    decoder, moved = FrameDecoder(counting), MovedSpectra(counting)
    prepares = (lambda *rows: decoder.prepare(*rows, ready), moved.prepare)
    asks = (lambda *rows: decoder.rows(*rows, ready), lambda *rows: moved.spectra(*rows, np.ones(len(rows[0]))))
    latents, chroma = np.random.default_rng(0).random((21, 2), dtype=np.float32), np.arange(21) % 12
    for prepare, ask in zip(prepares, asks, strict=True):
        ask(latents[:10:2], chroma[:10:2])  # half of the first are known
        made.clear()
        steps = []
        left = True
        while left:
            before = counting.rows
            left = prepare(latents, chroma)
            steps.append(counting.rows - before)
        assert sum(steps) == 16
        assert max(steps) == AHEAD
        assert all(rows <= AHEAD for rows in made)
        before, made[:] = counting.rows, []
        ask(latents, chroma)
        assert counting.rows == before
        assert not made
