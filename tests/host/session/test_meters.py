"""A panel is told of the preset that plays, from its first block on."""

import numpy as np
import pytest
from timbrel.host.audio.output import limited
from timbrel.host.events import Clock, ControlChange, NoteOn, ParameterChange
from timbrel.host.play.player import Player
from timbrel.host.plugin.panel_thread import report
from timbrel.host.plugin.patch_loader import CHANNEL, Mode, OpenedPatch, make_loaded_patch, rack_of
from timbrel.host.preset.library import open_patch
from timbrel.host.session.meters import METER_SECONDS, SPECTRUM_BANDS, SPECTRUM_HZ, SPECTRUM_SAMPLES, Meters

RATE, BLOCK = 48000, 64  # a block that is much shorter than the time between two looks
MODE = Mode(RATE, False)


class Playing:
    """A preset that plays."""

    def __init__(self, name):
        patch = open_patch(name)
        rack = rack_of(patch, MODE)
        self.loaded, self.player = make_loaded_patch(OpenedPatch(patch, name, name), rack), Player(rack, RATE)

    def seen_by(self, meters):
        """Make a block that the meters see."""
        sound, _ = self.player.block(BLOCK)
        meters.see(self.player, RATE, sound, 0.25, self.loaded.patch)

    @property
    def code(self):
        return self.player.rack.current_latents(CHANNEL)


@pytest.fixture
def meters():
    return Meters(CHANNEL)


@pytest.fixture(scope="module")
def keys():
    return Playing("gm-keys")


def test_the_code_of_another_preset_is_seen_in_its_first_block(meters, keys):
    walk = Playing("lakeside-walk")
    keys.seen_by(meters)
    assert report(keys.loaded, meters).latents == keys.code
    walk.seen_by(meters)
    assert report(walk.loaded, meters).latents == walk.code
    assert len(walk.code) == 10 != len(keys.code)


def test_the_code_of_one_preset_is_looked_at_now_and_then(meters):
    """Each look takes time from the sound."""
    keys = Playing("gm-keys")
    keys.seen_by(meters)
    before = keys.code
    for event in (NoteOn(0, CHANNEL, 60, 100), ParameterChange(0, CHANNEL, "latent.0", 0.9)):
        keys.player.schedule(event)
    for _ in range(3):
        keys.seen_by(meters)
    assert keys.code != before
    assert report(keys.loaded, meters).latents == before
    for _ in range(RATE // BLOCK):
        keys.seen_by(meters)
    assert report(keys.loaded, meters).latents == pytest.approx(keys.code)
    assert report(keys.loaded, meters).voices == 1


def test_a_patch_that_was_loaded_and_not_heard_yet_is_at_rest(meters, keys):
    pad = Playing("gm-pad")
    keys.seen_by(meters)
    status = report(pad.loaded, meters)
    assert (status.rate, status.block, status.load) == (0, 0, (0.0, 0.0))
    assert status.latents == pad.loaded.patch.preset.latent_values(pad.loaded.patch.model.card)


def test_midi_input_is_heard_once_but_for_the_beat_and_automation_and_of_too_much_the_oldest_is_forgotten(meters):
    knobs = [ControlChange(0, 0, 20, value % 128) for value in range(3000)]
    meters.add_events([Clock(0, "tick"), *knobs, ParameterChange(0, 0, "pan", 0.5), NoteOn(0, 0, 60, 1)])
    heard = meters.take_events()
    assert heard[:-1] == knobs[-len(heard) + 1 :]
    assert len(heard) >= 400
    assert heard[-1] == NoteOn(0, 0, 60, 1)
    assert meters.take_events() == []
    assert meters.last == knobs[-1]


def test_the_limiters_share_is_a_mean(meters, keys):
    quiet, loud = np.full((2, BLOCK), 0.25, np.float32), np.full((2, BLOCK), -0.99, np.float32)
    for sound in (quiet, loud, quiet):
        meters.see(keys.player, RATE, sound, 0.5)
    share = limited(loud) * BLOCK / (METER_SECONDS * RATE)
    assert meters.limited == pytest.approx(share * (1 - BLOCK / (METER_SECONDS * RATE)))
    assert share > 0
    assert meters.load.percentiles(50) == [0.5]


def test_peaks_are_those_of_left_and_right_since_the_last_look(meters, keys):
    for left, right in ((0.5, -0.1), (0.25, 0.05)):
        meters.see(keys.player, RATE, np.array([[left, 0.0], [right, 0.0]], np.float32), 0.5)
    assert meters.peaks_db() == pytest.approx((20 * np.log10(0.5), -20))
    assert meters.peaks_db() == (-np.inf, -np.inf)


@pytest.mark.parametrize("rate", [RATE, 16000])
@pytest.mark.parametrize("hz", [60.0, 1000.0, 7000.0])
def test_a_sine_stands_in_its_band_of_the_spectrum_at_its_level(meters, keys, hz, rate):
    sine = np.sin(2 * np.pi * hz / rate * np.arange(SPECTRUM_SAMPLES + BLOCK)).astype(np.float32) / 2
    blocks = [np.stack([part, part]) for part in np.split(sine, len(sine) // BLOCK)]
    meters.see(keys.player, rate, blocks[0], 0.5)
    assert meters.spectrum_db() == ()  # nothing is kept before the first request
    for block in blocks[1:]:
        meters.see(keys.player, rate, block, 0.5)
    levels = meters.spectrum_db()
    assert len(levels) == SPECTRUM_BANDS
    low, high = SPECTRUM_HZ
    band = SPECTRUM_BANDS * np.log(hz / low) / np.log(high / low)
    assert abs(np.argmax(levels) + 0.5 - band) <= 1.5
    assert max(levels) == pytest.approx(-6, abs=1.5)
    assert levels[round(band) - 10] < -40


def test_the_values_that_sound_are_looked_at_with_the_code(meters):
    keys = Playing("gm-keys")
    keys.seen_by(meters)
    found = report(keys.loaded, meters)
    assert found.moved == {f"latent.{index}": value for index, value in enumerate(found.latents)}
