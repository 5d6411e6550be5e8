"""Clips given as magnitudes are compared by the spectra of the sounds that a host makes of them."""

import numpy as np
import pytest
import torch
from timbrel.export.recovery.search import ClipSoundView
from timbrel.host.model.model import Model
from timbrel.host.preset.shipped import shipped_models
from timbrel.host.signal import window

NAMES = ("digits-spoken", "gm-drums")


@pytest.fixture(params=NAMES)
def clips(request):
    """A model's card, what it decodes of three landmarks, and its sounding."""
    model = Model(shipped_models()[request.param])
    marks = model.card.landmarks[::90][:3]
    labels = np.array([model.card.labels.index(mark.label) for mark in marks])
    frames = model.decode(np.array([mark.latent for mark in marks], np.float32), labels)
    return model.card, torch.from_numpy(frames), ClipSoundView(model.card)


def test_its_spectra_are_those_of_numpy(clips):
    card, frames, sounding = clips
    sound = sounding.played(frames[:1])
    theirs = np.abs(transformed(sound[0].numpy(), card))
    assert sounding.decoded(sound)[0].numpy() == pytest.approx(theirs, abs=1e-4 * theirs.max())


def transformed(sound, card):
    """Return spectra whose middles lie a hop apart from the first sample on, [spectra, bins]."""
    padded = np.pad(sound.astype(np.float64), card.transform_length // 2)
    pieces = np.lib.stride_tricks.sliding_window_view(padded, card.transform_length)[:: card.hop_length]
    return np.fft.rfft(pieces * window("hann", card.transform_length))
