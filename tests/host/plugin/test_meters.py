"""A panel is told of the preset that plays, from its first block on."""

import pytest
from timbrel.host.events import NoteOn, ParameterChange
from timbrel.host.patch.library import open_patch
from timbrel.host.play.player import Player
from timbrel.host.plugin.loaded_patch import CHANNEL, Mode, loaded, rack_of
from timbrel.host.plugin.meters import Meters

RATE, BLOCK = 48000, 64  # a block that is much shorter than the time between two looks
MODE = Mode(RATE, False)


class Playing:
    """A preset that plays."""

    def __init__(self, name):
        patch = open_patch(name)
        rack = rack_of(patch, MODE)
        self.loaded, self.player = loaded(patch, rack, name, name, {}), Player(rack, RATE)

    def seen_by(self, meters):
        """Make a block that the meters see."""
        sound, events = self.player.block(BLOCK)
        meters.see(self.loaded, MODE, self.player, sound, events, 0.25)

    @property
    def code(self):
        return self.player.rack.current_latents(CHANNEL)


@pytest.fixture
def meters():
    return Meters()


def test_the_code_of_another_preset_is_seen_in_its_first_block(meters):
    keys, walk = Playing("gm-keys"), Playing("lakeside-walk")
    keys.seen_by(meters)
    assert meters.report(keys.loaded).latents == keys.code
    walk.seen_by(meters)
    assert meters.report(walk.loaded).latents == walk.code
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
    assert meters.report(keys.loaded).latents == before
    for _ in range(RATE // BLOCK):
        keys.seen_by(meters)
    assert meters.report(keys.loaded).latents == pytest.approx(keys.code)
    assert meters.report(keys.loaded).voices == 1


def test_what_is_loaded_and_not_heard_yet_is_at_rest(meters):
    keys, pad = Playing("gm-keys"), Playing("gm-pad")
    keys.seen_by(meters)
    status = meters.report(pad.loaded)
    assert (status.rate, status.block, status.load) == (0, 0, (0.0, 0.0))
    assert status.latents == pad.loaded.patch.preset.latent_values(pad.loaded.patch.model.card)
