"""A voice of partials as a model gives them: each key and chord in tune, as strong as told, in blocks of any size."""

import os
import subprocess
import sys

import numpy as np
import pytest
import scipy.signal
from timbrel.host.engines.spectrum.engine import SpectrumEngine
from timbrel.host.engines.spectrum.frames import PartialsOfFrames, VoicingSettings
from timbrel.host.kinds.card_fields import PartialsLayout
from timbrel.host.model.model import Model
from timbrel.host.model.partials import hann_lobe, spectra
from timbrel.host.preset.shipped import shipped_models
from timbrel.host.ramps import Ramp
from timbrel.host.signal import window
from timbrel.host.units import midi_to_hz

from ..spectrum.coherent import FRAME, LEVEL, PURE, RATE, STILL, Knobs, amplitudes, one, sound_of
from .voices import BELL, EDGES, HEIGHTS, Filtered, chord_of, tonal, with_bands


@pytest.mark.parametrize("key", [24, 47, 60, 60.37, 69, 71.5, 96, 104])
def test_a_key_sounds_its_partials_on_its_own_frequency(partials_of, key):
    model = partials_of(tonal, low=20, high=110)
    sound = one(model, key, 2 * RATE, **PURE)[RATE // 2 : 3 * RATE // 2]
    hz = midi_to_hz(key) * np.arange(1, 13)
    heard = hz < 0.48 * RATE
    found, rest_db = amplitudes(sound, hz[heard])
    assert rest_db < -60
    assert 20 * np.log10(found / (LEVEL * HEIGHTS[heard])) == pytest.approx(np.zeros(heard.sum()), abs=0.1)


def test_each_key_decodes_its_own_frame(partials_of):
    model = partials_of(lambda latent, key: np.concatenate([[key / 100], np.zeros(16)]))
    for key in (40.4, 61.0, 88.6):
        [found], _ = amplitudes(one(model, key, RATE, **PURE)[RATE // 4 :], [midi_to_hz(key)])
        assert found == pytest.approx(LEVEL * np.floor(key + 0.5) / 100, rel=1e-3)


def test_a_bend_moves_partials_and_decodes_no_other_key(partials_of):
    asked = []

    def frame(latent, key):
        asked.append(key)
        return tonal(latent, key)

    sound = one(partials_of(frame), 60, RATE, Knobs(bend=lambda times: np.full(len(times), 3.0)), **PURE)
    _, rest_db = amplitudes(sound[RATE // 4 :], midi_to_hz(63) * np.arange(1, 13))
    assert rest_db < -60
    assert set(asked) == {60}


@pytest.mark.parametrize("key", [36, 60, 84])
def test_partials_of_stiff_strings_are_stretched_by_the_keys_own_inharmonicity(partials_of, key):
    stretch = (-9.0, 0.02)
    stiff = np.exp(stretch[0] + stretch[1] * key)
    number = np.arange(1, 13)
    hz = midi_to_hz(key) * number * np.sqrt((1 + stiff * number**2) / (1 + stiff))
    sound = one(partials_of(tonal, stretch=stretch), key, 2 * RATE, **PURE)[RATE // 2 : 3 * RATE // 2]
    found, rest_db = amplitudes(sound, hz[hz < 0.48 * RATE])
    assert rest_db < -55
    assert 20 * np.log10(found[:4] / (LEVEL * HEIGHTS[:4])) == pytest.approx(np.zeros(4), abs=0.2)


def test_a_glide_over_the_keys_of_stiff_strings_leaves_no_gap(partials_of):
    """A glide of a single partial, whose order changes at each key."""
    model = partials_of(lambda latent, key: np.concatenate([np.zeros(11), [1.0], np.zeros(5)]), stretch=(-9.0, 0.05))
    engine = SpectrumEngine(model, 4096, character=VoicingSettings(**PURE))
    stream = engine.start_stream(48, 0)
    stream.pitch = Ramp(48.0, RATE)
    stream.pitch.move(2 * RATE, 54.0, RATE)
    sound = np.concatenate([engine.render([stream], STILL, at, 4096)[0][0].copy() for at in range(0, 4 * RATE, 4096)])
    level = np.abs(scipy.signal.hilbert(sound))[RATE : 4 * RATE - 4096]
    assert level == pytest.approx(np.full(len(level), LEVEL), rel=0.1)


def test_a_chord_in_one_voice_has_the_partials_of_each_of_its_keys_above_the_lowest(partials_of):
    asked = set()

    def frame(latent, key):
        asked.add(key)
        return tonal(latent, key)

    sound = chord_of(partials_of(frame), {0: {7, 0, 4}}, 55, RATE)[RATE // 4 :]
    assert asked == {55, 60, 64}
    hz = np.concatenate([midi_to_hz(key) * np.arange(1, 4) for key in (55, 60, 64)])
    keys = np.concatenate([midi_to_hz(key) * np.arange(1, 13) for key in (55, 60, 64)])
    found, rest_db = amplitudes(sound, keys)
    assert rest_db < -50
    at = [int(np.abs(keys - one).argmin()) for one in hz]
    assert found[at] == pytest.approx(LEVEL * np.tile(HEIGHTS[:3], 3) / np.sqrt(3), rel=0.02)


def test_a_chord_that_changes_goes_on_in_phase_and_blocks_change_no_bit(partials_of):
    model = partials_of(tonal)
    chords = {0: {0, 4}, 9000: {0, 4, 7}, 15_000: {0, 7}}
    bent = Knobs(bend=lambda times: 2 * np.sin(times / 4000))
    parted, together = (chord_of(model, chords, 60, 30_000, each, bent) for each in ((64, 63, 777), (30_000,)))
    assert np.array_equal(parted, together)
    whole = chord_of(model, chords, 60, 30_000, (30_000,))
    hz = midi_to_hz(60)
    apart = np.exp(-2j * np.pi * hz * np.arange(len(whole)) / RATE)
    turns = [np.angle((whole * apart)[at : at + 4000].sum()) for at in (3000, 22_000)]
    assert turns[0] == pytest.approx(turns[1], abs=0.2)  # the key that stays was never struck anew


def test_a_chord_without_keys_is_silent_and_one_that_comes_after_sounds(partials_of):
    sound = chord_of(partials_of(tonal), {9000: {0}, 20_000: set()}, 60, 32_000)
    assert not sound[:7000].any()
    assert np.abs(sound[11_000:18_000]).max() > 0
    assert not sound[23_000:].any()


def test_chords_of_two_voices_begin_alike_whatever_blocks_their_keys_join_in(partials_of):
    def both(size):
        engine = SpectrumEngine(partials_of(tonal), 8192, VoicingSettings(**PURE))
        streams = [engine.start_stream(key, 0) for key in (60, 72)]
        for stream, times in zip(streams, ((0, 3000), (0, 1500)), strict=True):
            stream.chord, stream.pitch = Ramp(1, 1), Ramp(float(stream.key), 1)
            stream.chord.jump(times[1], 1 | 1 << 4)
        parts = [[part.copy() for part in engine.render(streams, STILL, at, size)] for at in range(0, 8192, size)]
        return np.concatenate([np.concatenate(part, 0) for part in parts], 1)

    assert np.array_equal(both(128), both(8192))


def test_a_chord_of_one_key_is_that_note(partials_of):
    model = partials_of(tonal)
    one_key = chord_of(model, {0: {2}}, 62, 20_000)
    assert np.abs(one_key).max() == pytest.approx(np.abs(one(model, 62, 20_000, **PURE)).max(), rel=0.2)


def test_a_key_without_notes_is_the_decoded_key_transposed(partials_of):
    asked = []

    def frame(latent, key):
        asked.append(key)
        return tonal(latent, key)

    [[sound]] = sound_of(partials_of(frame), [62], RATE, Filtered(modes=BELL, decoded=60), (64,), **PURE)
    sound = sound[RATE // 4 :]
    assert set(asked) == {60}
    found, _ = amplitudes(sound, midi_to_hz(62) * np.array([1.0, 2.07, 2.93, 4.0]))
    assert found == pytest.approx(LEVEL * HEIGHTS[:4], rel=0.02)


def test_what_is_decoded_ahead_is_the_key_that_sounds(partials_of):
    asked = []

    def frame(latent, key):
        asked.append(key)
        return tonal(latent, key)

    moving = Filtered(decoded=60)
    moving.own_codes, moving.latent = True, lambda times: 0.5 + 1e-5 * times
    moving.beginnings = lambda hop: None
    engine = SpectrumEngine(partials_of(frame), 128, VoicingSettings(**PURE))
    streams = [engine.start_stream(62.0, 0)]
    before = 0
    for start in range(0, 64 * 128, 128):
        engine.render(streams, moving, start, 128)
        rendered = len(asked)
        engine.prepare(streams, moving, start + 128)
        before += len(asked) - rendered
    assert before > 0
    assert set(asked) == {60}


@pytest.mark.parametrize("sizes", [(63, 64, 65), (128,), (5, 5000, 1, 16384)], ids=str)
def test_division_into_blocks_changes_no_bit(partials_of, sizes):
    model = partials_of(lambda latent, key: np.concatenate([HEIGHTS * latent[0], np.full(5, 0.01 * key / 60)]))
    knobs = Knobs(lambda times: 0.5 + 0.5 * np.sin(times / 5000), lambda times: np.sin(times / 3000))
    whole, parted = (sound_of(model, [50, 60, 67.3], 20_000, knobs, each, on=77) for each in ((16384,), sizes))
    assert np.array_equal(parted, whole)
    assert whole.any()
    struck = Filtered(lambda time: np.array([3.0, np.sin(time / 900), 0.0, -2.0]), BELL, decoded=58)
    model = with_bands(model)
    whole, parted = (sound_of(model, [50, 60, 67.3], 20_000, struck, each, on=77) for each in ((16384,), sizes))
    assert np.array_equal(parted, whole)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"edges_hz": [0.0, 500.0, 400.0]}, "edges_hz must rise"),
        ({"low": 90, "high": 30}, "low 90.0 must not exceed high 30.0"),
        ({"stretch": (1000.0, 0.0)}, "keep B at 0.1 or below"),
        ({"stretch": (-9.0, 1.0)}, "keep B at 0.1 or below"),
    ],
)
def test_a_layout_that_no_voice_can_play_is_refused(changes, words):
    with pytest.raises(ValueError, match=words):
        PartialsLayout(**{"harmonics": 12, "edges_hz": EDGES, "low": 30, "high": 90} | changes)


def test_spectra_of_rows_are_those_of_sinusoids_of_that_strength(partials_of):
    card = partials_of(tonal).card
    time = np.arange(FRAME)
    for key in (45, 60.3, 83):
        hz = midi_to_hz(key) * np.arange(1, 13)
        hz, heights = hz[hz < RATE / 2 - 50], HEIGHTS[hz < RATE / 2 - 50]
        turns = np.random.default_rng(1).random(len(hz))
        sound = 4 / FRAME * heights @ np.cos(2 * np.pi * (np.outer(hz, time) / RATE + turns[:, np.newaxis]))
        asked = np.abs(np.fft.rfft(sound * window("hann", FRAME)))
        found = spectra(card, tonal(None, key)[np.newaxis].astype(np.float32), np.array([key]))[0]
        near = asked > 0.02
        assert found[near] == pytest.approx(asked[near], abs=0.03)


def test_a_lobe_is_that_of_a_hann_window():
    away = np.array([-2.5, -1.0, -0.4, 0.0, 0.5, 1.0, 1.7])
    time = np.arange(4096)
    shape = window("hann", 4096)
    asked = [abs(np.sum(shape * np.exp(2j * np.pi * at * time / 4096))) / shape.sum() for at in away]
    assert np.abs(hann_lobe(away)) == pytest.approx(asked, abs=1e-3)


@pytest.mark.parametrize("processor", ["Nehalem", "Haswell"])
def test_rows_do_not_depend_on_a_processors_matrix_products(processor):
    """OpenBLAS rounds by the number of rows, differently for each processor; other libraries ignore the variable."""
    test = f"{__file__}::test_a_row_is_the_same_alone_and_among_others"
    environment = os.environ | {"OPENBLAS_CORETYPE": processor}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", test]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_a_row_is_the_same_alone_and_among_others():
    card = Model(shipped_models()["gm-partials-8"]).card
    assert card.partials is not None
    table = PartialsOfFrames(card, card.partials, 513, 0.25)
    frames = np.exp(np.random.default_rng(0).standard_normal((64, card.frame_width))).astype(np.float32)
    whole = table.rows(frames, np.zeros(64, np.intp))
    for size in (1, 2, 3, 8):
        parts = [table.rows(frames[at : at + size], np.zeros(size, np.intp)) for at in range(0, 64, size)]
        assert np.array_equal(np.concatenate(parts), whole)
