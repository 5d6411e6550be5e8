"""The sounds of clips given as magnitudes, with slopes, are those that a host makes of them."""

import numpy as np
import pytest
import torch
from timbrel.export.recovery.sounding import Sounding
from timbrel.host.contract.model import Model
from timbrel.host.dsp import window
from timbrel.host.shelf import shipped_models

NAMES = ("digits-spoken", "gm-drums")


@pytest.fixture(params=NAMES)
def clips(request):
    """A model's card, what it decodes of three landmarks, and its sounding."""
    model = Model(shipped_models()[request.param])
    marks = model.card.landmarks[::90][:3]
    labels = np.array([model.card.labels.index(mark.label) for mark in marks])
    frames = model.decode(np.array([mark.latent for mark in marks], np.float32), labels)
    return model.card, torch.from_numpy(frames), Sounding(model.card)


def test_with_the_phases_that_a_host_finds_the_sound_is_the_hosts(clips):
    _, frames, sounding = clips
    for frame, played in zip(frames, sounding.played(frames), strict=True):
        made = sounding.made(frame[None], sounding.phasors(frame))[0]
        assert made.shape == played.shape
        assert float((made - played).abs().max()) < 0.01 * float(played.abs().max())


def test_with_its_own_phases_and_magnitudes_a_sound_is_itself(clips):
    card, frames, sounding = clips
    sound = sounding.played(frames[:1])
    spectra = np.abs(transformed(sound[0].numpy(), card))
    parts = sound.view(card.envelope_points, -1).square().mean(1).sqrt()
    frame = torch.cat([torch.from_numpy(spectra.astype(np.float32)).flatten(), parts])
    made = sounding.made(frame[None], sounding.own_phasors(sound[0]))[0]
    assert float((made - sound[0]).abs().max()) < 0.01 * float(sound.abs().max())


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
