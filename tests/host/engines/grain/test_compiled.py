"""Grains that the core filters and adds are those of numpy."""

import numpy as np
import pytest
from timbrel.host.engines.grain import sources
from timbrel.host.engines.grain.sources import PACKED_GRAIN, Cut, PlacedGrain, source_of
from timbrel.host.voice_library import CoreGrain, load_library

from .grains import RATE, sound

pytestmark = pytest.mark.skipif(load_library() is None, reason="the core is not compiled")
POINTS = 16
IMAGE = np.column_stack([np.linspace(-9, 9, 32), np.linspace(1, -0.5, 32)]).tolist()
images = pytest.mark.parametrize("image", [None, IMAGE], ids=["mono", "stereo"])


def test_a_packed_grain_has_the_fields_of_the_core():
    numbers = range(1, len(CoreGrain._fields_) + 1)
    grain = CoreGrain.from_buffer_copy(PACKED_GRAIN.pack(*numbers))
    assert [getattr(grain, name) for name, _ in CoreGrain._fields_] == list(numbers)


@pytest.fixture
def card_of(grain_model):
    """The card of a model of magnitudes and an envelope, by its image."""
    frame = np.ones(1024 // 2 + 1 + POINTS)
    return lambda image: grain_model(frame, domain="magnitude", envelope_points=POINTS, image=image).card


def added(card, library, highest_power, monkeypatch):
    """Sums of four grains: an octave down, as it is, low-passed, above half the rate; one begins before its note.

    Of a stereo model each has its own amount of the image, and one is mono beside a stereo one of its length.
    """
    monkeypatch.setattr(sources, "voice_library", lambda: library)
    rng = np.random.default_rng(7)
    source = source_of(card, 22050)
    frames = rng.uniform(0.1, 2.0, (4, card.frame_width)).astype(np.float32)
    cuts = [Cut(900, 0.5, 0.5), Cut(900, 1.0, 0.5), Cut(900, 1.3, 0.1), Cut(600, 4.0, 0.5)]
    sums = rng.normal(0, 0.01, (2, 3000)).astype(np.float32)
    placed_grains = [
        PlacedGrain(
            cut,
            image,
            rng.random(2).tolist(),
            np.hanning(cut.length + 2)[1:-1].astype(np.float32),
            (0.5 + 0.1 * number, 0.8 - 0.1 * number),
            sums[:, 300 * number : 300 * number + cut.length - skipped],
            skipped,
        )
        for number, (cut, image, skipped) in enumerate(zip(cuts, (1.0, 0.3, 0.0, 2.0), (0, 250, 0, 0), strict=True))
    ]
    source.add(frames, placed_grains, highest_power)
    return sums


@images
@pytest.mark.parametrize("highest_power", [1e9, 1e-4], ids=["free", "limited"])
def test_sums_are_those_of_numpy(card_of, image, highest_power, monkeypatch):
    card = card_of(image)
    compiled, numpys = (added(card, library, highest_power, monkeypatch) for library in (load_library(), None))
    untouched = added(card, load_library(), 0.0, monkeypatch)
    assert np.abs(compiled - untouched).max() > 0.01
    assert np.allclose(compiled, numpys, rtol=0, atol=2e-6 * np.abs(numpys).max())


@images
def test_a_texture_is_that_of_numpy_whatever_moves(grain_model, image, monkeypatch):
    """More pitches in a block than tables are kept."""
    rng = np.random.default_rng(8)
    frame = rng.uniform(0.1, 1.0, 1024 // 2 + 1 + POINTS)
    model = grain_model(frame, domain="magnitude", envelope_points=POINTS, image=image)

    class Bent:
        def latents(self, voices, times, own_times=None):
            return np.zeros((len(voices), 3), np.float32)

        def bend_semitones(self, voices, times):
            return np.asarray(times) / RATE * 24

    sounds = []
    for library in (load_library(), None):
        monkeypatch.setattr(sources, "voice_library", lambda library=library: library)
        sounds.append(
            sound(model, 0.5, block=16384, motion=Bent(), notes=2, density=150.0, spread=0.5, lowpass_hz=5000.0)
        )
    assert np.abs(sounds[1]).max() > 0.01
    assert np.allclose(*sounds, rtol=0, atol=2e-6 * np.abs(sounds[1]).max())
