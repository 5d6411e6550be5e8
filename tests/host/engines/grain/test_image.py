"""A texture's sides are as loud and as alike as its model's image says, band by band."""

import numpy as np
import pytest
from timbrel.host.engines.grain.engine import GrainEngine
from timbrel.host.engines.grain.sources import Cut, source_of
from timbrel.host.events import NoteOn
from timbrel.host.kinds.grain import GrainSettings
from timbrel.host.spectra import mel_edges_hz

from ...sides import by_band
from .grains import LENGTH, RATE, Still, grain_instrument, level_db, slope

MIDDLES_HZ = mel_edges_hz(RATE, 32)[1:-1]
DENSE = {"density": 300.0, "length": LENGTH / RATE, "shape": 0.5}


def image_of(level, correlation):
    return np.column_stack([np.broadcast_to(level, 32), np.broadcast_to(correlation, 32)]).tolist()


@pytest.fixture
def imaged(grain_model):
    """A model of noise, or of the samples of one, with an image."""

    def make(level, correlation, domain="magnitude"):
        frame = slope() if domain == "magnitude" else np.random.default_rng(3).normal(size=LENGTH)
        if domain == "magnitude_phase":
            spectrum = np.fft.rfft(frame)
            frame = np.r_[np.abs(spectrum), np.angle(spectrum)]
        return grain_model(frame, domain=domain, image=image_of(level, correlation))

    return make


def texture(model, seconds=20.0, image=1.0, block=16384, to=None, image_bands=None, **grain):
    """Both sides of a held note, [2, samples]; ``to``: amount of the image from a quarter of a second on."""
    engine = GrainEngine(model, GrainSettings(**DENSE | grain), image=image, image_bands=image_bands)
    if to is not None:
        engine.targets["image"].move(RATE // 4, to)
    stream, count = engine.start_stream(60, 0), round(seconds * RATE)
    blocks = [
        engine.render([stream], Still(), start, min(block, count - start))[0].copy() for start in range(0, count, block)
    ]
    return np.concatenate(blocks, axis=1)


@pytest.mark.parametrize("domain", ["magnitude", "samples", "magnitude_phase"])
@pytest.mark.parametrize("amount", [0.5, 1.0, 2.0])
@pytest.mark.parametrize(("level", "correlation"), [(0.0, 0.3), (6.0, 1.0), (-9.0, -0.4), (3.0, 0.0)])
def test_sides_have_the_level_and_the_correlation_of_the_image_and_together_the_power_of_mono(
    imaged, domain, amount, level, correlation
):
    model = imaged(level, correlation, domain)
    sides, mono = texture(model, image=amount), texture(model, image=0.0)
    side_level, side_correlation = by_band(sides, 300, 10_000, RATE, 1024)
    assert side_level == pytest.approx(amount * level, abs=0.3)
    assert side_correlation == pytest.approx(np.cos(min(amount * np.arccos(correlation), np.pi)), abs=0.06)
    assert level_db(sides) == pytest.approx(level_db(mono), abs=0.3)


@pytest.mark.parametrize("domain", ["magnitude", "samples"])
@pytest.mark.parametrize("pitch", [0.0, 7.0, -12.0])
def test_bands_stay_in_place_while_the_pitch_moves(imaged, domain, pitch):
    model = imaged(np.where(MIDDLES_HZ < 2000, -12.0, 12.0), np.where(MIDDLES_HZ < 2000, 1.0, 0.0), domain)
    sides = texture(model, pitch=pitch)
    low_level, low_correlation = by_band(sides, 300, 1500, RATE, 1024)
    high_level, high_correlation = by_band(sides, 2700, 5000, RATE, 1024)
    assert (low_level, high_level) == pytest.approx((-12, 12), abs=0.8)
    assert (low_correlation, high_correlation) == pytest.approx((1.0, 0.0), abs=0.1)


@pytest.mark.parametrize("domain", ["magnitude", "samples"])
def test_without_an_image_or_an_amount_both_sides_are_the_same_bytes(imaged, grain_model, domain):
    mono = texture(imaged(6.0, 0.2, domain), 1.0, image=0.0)
    frame = slope() if domain == "magnitude" else np.random.default_rng(3).normal(size=LENGTH)
    assert np.array_equal(mono, texture(grain_model(frame, domain=domain), 1.0))
    assert np.allclose(*mono, rtol=1e-6)


def test_spread_moves_grains_of_an_image_from_side_to_side(imaged):
    model = imaged(0.0, 0.9)
    narrow, wide = (by_band(texture(model, spread=spread), 300, 10_000, RATE, 1024)[1] for spread in (0.0, 1.0))
    assert narrow == pytest.approx(0.9, abs=0.05)
    assert wide < 0.7


@pytest.mark.parametrize("domain", ["magnitude", "samples"])
def test_any_blocks_give_the_same_bytes(imaged, domain):
    model = imaged(3.0, 0.2, domain)
    assert np.array_equal(texture(model, 1.0, block=100), texture(model, 1.0))


@pytest.mark.parametrize("domain", ["magnitude", "samples", "magnitude_phase"])
@pytest.mark.parametrize(("image", "to"), [(1.0, 0.0), (0.0, 1.0), (0.37, 1.83), (1.83, 0.37)])
def test_grains_have_the_image_of_their_first_sample(imaged, domain, image, to):
    """Before the move all are of one amount to the byte, after it of the other, in steps that nobody hears."""
    model, longest = imaged(5.0, 0.4, domain), LENGTH
    moved, before, after = (
        texture(model, 1.0, **keys) for keys in ({"image": image, "to": to}, {"image": image}, {"image": to})
    )
    assert np.array_equal(moved[:, : RATE // 4], before[:, : RATE // 4])
    rest = slice(RATE // 4 + RATE // 50 + longest, None)
    loudest = np.abs(after).max()
    assert np.abs(moved[:, rest] - after[:, rest]).max() < 0.02 * loudest
    assert to in (0.37, 1.83) or np.array_equal(moved[:, rest], after[:, rest])
    assert np.abs(moved[:, rest] - before[:, rest]).max() > 0.1 * loudest
    assert np.array_equal(texture(model, 1.0, image=image, to=to, block=100), moved)


def test_a_click_stays_within_10_ms_on_both_sides(imaged):
    model = imaged(0.0, 0.0, "samples")
    click = np.zeros((1, LENGTH), np.float32)
    click[0, LENGTH // 2] = 1.0
    [sides] = source_of(model.card, LENGTH).grains(click, [Cut(LENGTH, 1.0, 0.5)], [[0.0, 0.0]], [1.0])
    near = slice(LENGTH // 2 - RATE // 100, LENGTH // 2 + RATE // 100)
    assert np.square(sides[:, near]).sum() > 0.9 * np.square(sides).sum()


def test_a_presets_image_takes_the_place_of_the_models(imaged, tmp_path):
    expected = texture(imaged(4.0, 0.2), 1.0)
    for image in (image_of(-9.0, 1.0), None):
        model = imaged(0.0, 0.0)
        model.card = model.card.model_copy(update={"image": image})
        assert np.array_equal(texture(model, 1.0, image_bands=image_of(4.0, 0.2)), expected)
        instrument = grain_instrument(model, tmp_path, {"density": 200.0}, play={"image_bands": image_of(4.0, 1.0)})
        instrument.process([NoteOn(0, 0, 60, 100)], 8192)
        left, right = instrument.process([], 16384)
        assert level_db(left) - level_db(right) == pytest.approx(4, abs=0.3)


def test_the_preset_says_how_far_the_sides_differ(imaged, tmp_path):
    sounds = []
    for play in ({}, {"image": 0.0}, {"image": 2.0}):
        instrument = grain_instrument(imaged(4.0, 1.0), tmp_path, {"density": 200.0}, play=play)
        instrument.process([NoteOn(0, 0, 60, 100)], 8192)
        sounds.append(instrument.process([], 16384))
    assert [level_db(left) - level_db(right) for left, right in sounds] == pytest.approx([4, 0, 8], abs=0.3)
