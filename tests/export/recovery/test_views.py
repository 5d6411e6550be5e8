"""Views of frames for searches of codes, by definition."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from timbrel.export.kinds.grain import GrainView

LENGTH = 256


@pytest.mark.parametrize("domain", ["samples", "magnitude"])
def test_grains_are_compared_by_their_spectra(domain):
    """Samples under a Hann window, as they sound; magnitudes of whole windows as they are."""
    view = GrainView(SimpleNamespace(frame_length=LENGTH, domain=domain, envelope_points=0))
    heard = np.random.default_rng(0).standard_normal((1, LENGTH)).astype(np.float32)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(LENGTH) / LENGTH) if domain == "samples" else 1.0
    expected = np.abs(np.fft.rfft(heard * window))
    assert view.target_sound(heard).amplitudes.numpy() == pytest.approx(expected, rel=1e-4, abs=1e-4)
    decoded = heard if domain == "samples" else expected.astype(np.float32)
    assert view.decoded(torch.from_numpy(decoded))[0].numpy() == pytest.approx(expected, rel=1e-4, abs=1e-4)
