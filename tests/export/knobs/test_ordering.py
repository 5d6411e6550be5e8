"""Knobs in order and by name, of decoders in closed form."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from timbrel.export.knobs.effects import (
    NAMES,
    ChromaGround,
    PitchedGround,
    Timbre,
    as_text,
    measure_knobs,
    of_partials,
    section,
)
from timbrel.export.knobs.naming import SURE_SHARE, names
from timbrel.host.kinds.card_fields import PartialsLayout
from timbrel.host.model.partials import spectra
from timbrel.train.families.partials.network import Bands
from timbrel.train.families.recipes import load_recipe

RATE, LENGTH = 44100, 4096
BRIGHTNESS, NOISE, ODD = (NAMES.index(name) for name in ("brightness", "noise", "odd partials"))


class Tones:
    """A decoder of harmonics: latent 0 darkens them, 1 weakens the noise between them, 2 does nothing, 3 a little."""

    def __init__(self):
        hertz = torch.fft.rfftfreq(LENGTH, 1 / RATE)
        keys = 440 * 2.0 ** ((torch.arange(12) + 60 - 69) / 12)
        place = hertz / keys[:, None]
        self.number = place.round()
        near = (place - self.number).abs() * keys[:, None] <= RATE / LENGTH
        self.partial = (near & (self.number >= 1) & (self.number <= 20)).float()

    def decode(self, codes, chroma):
        slope = 0.5 + 2.0 * codes[:, :1] + 0.1 * codes[:, 3:4]
        number = (chroma @ self.number).clamp_min(1)
        tone = chroma @ self.partial * number**-slope
        noise = (1 - chroma @ self.partial) * 10 ** (-2 - 1.0 * codes[:, 1:2]) / number
        return tone + noise

    def levels(self, frames):
        return 20 * torch.log10(frames.clamp_min(1e-4))[:, ::32]


def ground(count=96, seed=0):
    codes = torch.rand(count, 4, generator=torch.Generator().manual_seed(seed))
    timbre = Timbre(RATE, LENGTH, 4)
    return ChromaGround(codes, torch.zeros(4), torch.ones(4), Tones(), timbre, torch.arange(count) % 12)


@pytest.fixture(scope="module")
def measured():
    return measure_knobs(ground())


def test_the_knob_that_changes_levels_more_comes_first_and_one_that_does_nothing_last(measured):
    assert measured.change_db.argmin() == 2
    assert measured.change_db[2] == 0
    assert measured.change_db[3] < measured.change_db[0]


def test_a_knob_has_the_name_of_what_it_moves_and_one_that_does_nothing_has_none(measured):
    named = names(measured)
    assert named[0] == BRIGHTNESS
    assert named[1] == NOISE
    assert 2 not in named
    assert measured.rise[0, BRIGHTNESS] < 0
    assert measured.share[0, BRIGHTNESS] == 0
    assert measured.correlation[0, BRIGHTNESS] < -0.7


def test_no_two_knobs_have_one_name(measured):
    named = list(names(measured).values())
    assert len(set(named)) == len(named)


def test_a_knob_that_goes_its_way_in_too_few_codes_has_no_name(measured):
    measured.share[0, BRIGHTNESS] = 1 - SURE_SHARE + 0.01
    try:
        assert names(measured).get(0) != BRIGHTNESS
    finally:
        measured.share[0, BRIGHTNESS] = 0


def test_ends_are_those_of_the_closed_form(measured):
    at = ground()
    for end, place in ((0, 0.0), (1, 1.0)):
        codes = at.codes.clone()
        codes[:, 0] = place
        expected = at.timbre(at.network.decode(codes, torch.eye(12)[at.classes]), at.classes).mean(0)
        np.testing.assert_allclose(measured.ends[end, 0], expected.numpy(), rtol=1e-4)


def test_a_report_says_names_and_shares_and_nothing_where_there_are_no_knobs():
    row = {"name": "noise", "moves": "-40.00 to -20.00 dB", "change_db": 2.0, "training": 1.0, "holds": 0.975}
    plain = row | {"name": None, "holds": None}
    found = {"split": "test", "codes": 480, "latents": [row, plain]}
    line = "knobs hold, at codes of the test split: noise 97.5 %"
    assert as_text(found) == line
    assert "0: noise" in section(found)
    assert "1: –" in section(found)
    assert as_text(None) == section(None) == ""


class Rows:
    """A decoder of partials: latent 0 weakens the noise between them, 1 darkens them, 2 does nothing."""

    def __init__(self, frames):
        self.bands = Bands(frames)

    def decode(self, codes, pitches):
        number = self.bands.numbers
        tone = number ** -(0.5 + 2.0 * codes[:, 1:2])
        noise = (10 ** (-5 - codes[:, :1])).expand(-1, self.bands.spread.shape[0])
        return torch.cat([tone, noise], 1)


def test_knobs_of_partials_are_named_by_what_they_move_at_any_pitch():
    recipe = load_recipe("tuned-partials", ["frames.low=40", "frames.high=80"])
    codes = torch.rand(64, 3, generator=torch.Generator().manual_seed(0))
    ends = torch.zeros(3), torch.ones(3)
    measured = measure_knobs(PitchedGround(codes, *ends, Rows(recipe.frames), torch.linspace(40, 80, 64)))
    named = names(measured)
    assert named[0] == NOISE
    assert measured.rise[0, NOISE] < 0
    assert named[1] == BRIGHTNESS
    assert 2 not in named
    assert measured.change_db[2] == 0


@pytest.mark.parametrize("pitch", [48.0, 61.0, 77.0])
def test_descriptors_of_partials_are_those_of_their_spectrum(pitch):
    """As `Timbre` measures the spectrum in which each lobe and the noise lie."""
    recipe = load_recipe("tuned-partials", ["frames.low=40", "frames.high=80"])
    partials = PartialsLayout(harmonics=160, edges_hz=recipe.frames.edges_hz, low=40, high=80)
    card = SimpleNamespace(partials=partials, frame_length=LENGTH, sample_rate=RATE)
    row = np.concatenate([0.9 ** np.arange(160) / 4, np.full(45, 2e-4)]).astype(np.float32)[np.newaxis]
    spectrum = spectra(card, row, np.array([pitch]))
    key = round(pitch)
    asked = Timbre(RATE, LENGTH, key // 12 - 1)(torch.from_numpy(spectrum), torch.tensor([key % 12]))
    found = of_partials(Bands(recipe.frames), torch.from_numpy(row), torch.tensor([pitch]))
    away = (found - asked)[0].numpy()
    assert away[[BRIGHTNESS, *(NAMES.index(name) for name in ("fundamental", "body", "presence", "air"))]] == (
        pytest.approx(0, abs=0.6)
    )
