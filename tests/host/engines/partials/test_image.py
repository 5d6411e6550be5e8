"""A model's stereo image is that of its voices: levels and angles of partials, correlations of noise, by bands."""

import numpy as np
import pytest
from timbrel.host.engines.engine import Residual
from timbrel.host.engines.spectrum.engine import SpectrumEngine
from timbrel.host.engines.spectrum.frames import VoicingSettings
from timbrel.host.model.image import image_curves
from timbrel.host.ramps import Ramp
from timbrel.host.spectra import mel_edges_hz
from timbrel.host.units import midi_to_hz

from ..spectrum.coherent import LEVEL, PURE, RATE, STILL, level_db, sound_of
from .voices import HEIGHTS, Filtered, tonal, with_bands

MIDDLES_HZ = mel_edges_hz(RATE, 32)[1:-1]


def image_of(level, correlation):
    return np.column_stack([np.broadcast_to(level, 32), np.broadcast_to(correlation, 32)]).astype(float)


def noisy(latent, key):
    return np.concatenate([HEIGHTS, np.full(5, 0.1)])


def moved(model, moves, count=16_000, sizes=(512,), on=0, **character):
    """Both sides of two keys, [2, 2, count]; ``moves`` has amounts of the image by the sample of the move."""
    engine = SpectrumEngine(model, 8192, VoicingSettings(**character))
    streams, parts, at, turn = [engine.start_stream(key, on) for key in (60, 67)], [], 0, 0
    while at < count:
        size = min(sizes[turn % len(sizes)], count - at)
        for time in (time for time in moves if at <= time < at + size):
            engine.targets["image"].move(time, moves[time])
        parts.append(np.array([row.copy() for row in engine.render(streams, STILL, at, size)]))
        at, turn = at + size, turn + 1
    return np.concatenate(parts, axis=2)


@pytest.fixture
def imaged(partials_of):
    def make(frame, image, **layout):
        model = partials_of(frame, **layout)
        model.card = model.card.model_copy(update={"image": image.tolist()})
        return model

    return make


def partials(sound, hz):
    """Complex amplitudes of sinusoids of known frequencies."""
    turn = 2j * np.pi * np.outer(np.arange(len(sound)), hz) / RATE
    basis = np.concatenate([np.exp(turn).real, np.exp(turn).imag], axis=1)
    real, imaginary = np.linalg.lstsq(basis, sound.astype(np.float64), rcond=None)[0].reshape(2, -1)
    return real - 1j * imaginary


@pytest.mark.parametrize("amount", [0.5, 1.0, 2.0])
@pytest.mark.parametrize(("level", "correlation"), [(0.0, 0.3), (6.0, 1.0), (-9.0, -0.4), (3.0, 0.0)])
def test_partials_have_the_level_and_the_angle_of_their_bands(imaged, amount, level, correlation):
    [sides] = sound_of(imaged(tonal, image_of(level, correlation)), [60], RATE, image=amount, **PURE)
    left, right = (partials(side[RATE // 4 :], midi_to_hz(60) * np.arange(1, 7)) for side in sides)
    assert np.sqrt((abs(left) ** 2 + abs(right) ** 2) / 2) == pytest.approx(LEVEL * HEIGHTS[:6], rel=0.02)
    assert 20 * np.log10(abs(left / right)) == pytest.approx(np.full(6, amount * level), abs=0.1)
    angles = np.abs(np.angle(left / right))
    expected = min(amount * np.arccos(correlation), np.pi)
    assert angles == pytest.approx(np.full(6, expected), abs=0.03)
    signs = np.sign(np.angle(left / right))
    assert expected in (0.0, np.pi) or set(signs) == {-1.0, 1.0}  # else all partials would lie on one side


def test_bands_differ(imaged):
    image = image_of(np.where(MIDDLES_HZ < 1000, -12.0, 12.0), 1.0)
    [sides] = sound_of(imaged(tonal, image), [60], RATE, image=1.0, **PURE)
    left, right = (partials(side[RATE // 4 :], midi_to_hz(60) * np.array([1, 2, 7, 8])) for side in sides)
    assert 20 * np.log10(abs(left / right)) == pytest.approx([-12, -12, 12, 12], abs=0.1)


@pytest.mark.parametrize("correlation", [1.0, 0.6, 0.0, -0.7])
@pytest.mark.parametrize("level", [0.0, 8.0])
def test_noise_has_the_level_and_the_correlation_of_its_bands(imaged, correlation, level):
    hissing = imaged(lambda latent, key: np.concatenate([np.zeros(12), np.full(5, 0.1)]), image_of(level, correlation))
    [sides] = sound_of(hissing, [60], 4 * RATE, image=1.0)
    left, right = sides[:, RATE // 4 :].astype(np.float64)
    assert np.corrcoef(left, right)[0, 1] == pytest.approx(correlation, abs=0.04)
    assert level_db(left) - level_db(right) == pytest.approx(level, abs=0.2)
    [[mono, _]] = sound_of(hissing, [60], 4 * RATE, image=0.0)
    power = np.square(mono[RATE // 4 :]).mean()
    assert 10 * np.log10((np.square(left).mean() + np.square(right).mean()) / 2 / power) == pytest.approx(0, abs=0.2)


def test_width_takes_more_correlation_from_noise(imaged):
    hissing = imaged(lambda latent, key: np.concatenate([np.zeros(12), np.full(5, 0.1)]), image_of(0.0, 0.6))
    [sides] = sound_of(hissing, [60], 4 * RATE, image=1.0, width=0.5)
    found = np.corrcoef(sides[:, RATE // 4 :])[0, 1]
    assert found == pytest.approx(np.cos(np.arccos(0.6) + np.arccos(0.5)), abs=0.04)


@pytest.mark.parametrize("width", [0.0, 0.5])
def test_without_an_amount_a_model_sounds_as_without_an_image_to_the_byte(imaged, partials_of, width):
    plain = sound_of(partials_of(noisy), [60, 64], 20_000, image=1.0, width=width)
    assert plain.shape[1] == (2 if width else 1)
    flat = sound_of(imaged(noisy, image_of(6.0, 0.2)), [60, 64], 20_000, image=0.0, width=width)
    assert np.array_equal(flat, np.broadcast_to(plain, flat.shape))
    assert flat.shape[1] == 2


def test_a_recorded_note_has_its_own_image(imaged):
    class Recorded(Filtered):
        def residual(self, voices, times, ahead):
            own = [None if voice else image_of(-10.0, 1.0) for voice in voices]
            return Residual(*super().residual(voices, times, ahead)[:3], own)

    model = with_bands(imaged(tonal, image_of(10.0, 1.0)))
    own, others = sound_of(model, [60, 67], RATE, Recorded(), image=1.0, **PURE)
    assert level_db(own[0]) - level_db(own[1]) == pytest.approx(-10, abs=0.1)
    assert level_db(others[0]) - level_db(others[1]) == pytest.approx(10, abs=0.1)


def test_a_presets_image_takes_the_place_of_those_of_model_and_notes(imaged, partials_of):
    class Recorded(Filtered):
        def residual(self, voices, times, ahead):
            return Residual(*super().residual(voices, times, ahead)[:3], [image_of(-10.0, 1.0) for _ in voices])

    bands = image_of(10.0, 0.4)
    expected = sound_of(with_bands(imaged(tonal, bands)), [60, 67], 9000, image=1.0, **PURE)
    for model in (imaged(tonal, image_of(-3.0, 0.0)), partials_of(tonal)):
        found = sound_of(with_bands(model), [60, 67], 9000, image=1.0, image_bands=bands.tolist(), **PURE)
        assert np.array_equal(found, expected)
    recorded = sound_of(with_bands(imaged(tonal, bands)), [60], 9000, Recorded(), image=1.0, image_bands=bands.tolist())
    assert level_db(recorded[0, 0]) - level_db(recorded[0, 1]) == pytest.approx(10, abs=0.5)


@pytest.mark.parametrize("sizes", [(1, 64, 100), (512,)])
def test_any_blocks_give_the_same_bytes(imaged, sizes):
    model = imaged(noisy, image_of(3.0, 0.2))
    whole = sound_of(model, [60, 64], 12_000, image=1.0)
    assert np.array_equal(sound_of(model, [60, 64], 12_000, sizes=sizes, image=1.0), whole)


@pytest.mark.parametrize("character", [{}, {"width": 0.6, "unison": 2}], ids=str)
@pytest.mark.parametrize("amount", [0.0, 0.4, 1.0, 2.0])
def test_an_amount_that_was_moved_sounds_as_one_that_the_preset_has(imaged, amount, character):
    model = imaged(noisy, image_of(MIDDLES_HZ / 2000 - 3, np.linspace(1, -1, 32)))
    known = moved(model, {}, on=4000, image=amount, **character)
    found = moved(model, {100: amount}, on=4000, image=0.7, **character)
    assert np.abs(found - known).max() < 1e-6 * np.abs(known).max()
    back = moved(model, {100: 1.3, 1500: amount}, on=4000, image=amount, **character)
    assert np.array_equal(back, known)


@pytest.mark.parametrize("sizes", [(1, 64, 100), (8192,)])
@pytest.mark.parametrize("character", [{"image": 1.0}, {"image": 0.0, "width": 0.5}], ids=str)
def test_any_blocks_give_the_same_bytes_while_the_amount_moves_through_0(imaged, sizes, character):
    model, moves = imaged(noisy, image_of(4.0, 0.2)), {3000: 2.0, 5000: 0.0, 9001: 0.0, 9100: 1.5}
    whole = moved(model, moves, **character)
    assert np.array_equal(moved(model, moves, sizes=sizes, **character), whole)
    still = moved(model, {}, **character)
    assert np.array_equal(whole[:, :, :3000], still[:, :, :3000])  # no frame hears a later amount
    assert np.abs(whole - still).max() > 0.01 * np.abs(still).max()


def test_a_chord_in_one_voice_has_the_moved_image(imaged):
    model = imaged(tonal, image_of(5.0, 1.0))
    engine = SpectrumEngine(model, 8192, VoicingSettings(**PURE, image=1.0))
    engine.targets["image"].move(0, 2.0)
    stream = engine.start_stream(60, 4000)
    stream.chord, stream.pitch = Ramp(0b10010001, 1), Ramp(60.0, 1)
    left, right = np.concatenate([engine.render([stream], STILL, at, 8192)[0] for at in (0, 8192, 16384)], axis=1)
    assert level_db(left[8192:]) - level_db(right[8192:]) == pytest.approx(10, abs=0.1)


def test_an_angle_is_at_most_a_quarter_turn_a_side():
    curves = image_curves(image_of(0.0, -1.0), 2.0, 1.0, RATE, 513)
    assert curves[2] == pytest.approx(np.zeros(513), abs=1e-6)
    assert curves[3] == pytest.approx(np.ones(513))
