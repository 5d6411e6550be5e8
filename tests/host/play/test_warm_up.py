"""Machines that play unheard."""

import numpy as np
import pytest
from timbrel.host.engines.spectrum import coherent_voicing, partial_analysis
from timbrel.host.events import NoteOn
from timbrel.host.play.blended_trajectory import Movement, TrajectoryBlender
from timbrel.host.play.player import prime, warm_up
from timbrel.host.play.rack import Rack
from timbrel.host.preset.library import open_patch

from ..voice.rigs import needs_core

BLOCK = 128


class Machine:
    """Notes what it is asked for."""

    def __init__(self):
        self.asked = []

    def process(self, events, count):
        self.asked.append((list(events), count))

    def prepare(self):
        self.asked.append("prepare")


def test_a_machine_is_primed_by_silence_and_has_time_to_prepare_after_each_block():
    machine = Machine()
    prime(machine, BLOCK)
    assert machine.asked == [([], BLOCK), "prepare"] * (len(machine.asked) // 2)
    assert len(machine.asked) >= 6


def test_a_machine_warms_up_with_soft_notes_of_all_pitch_classes_on_all_of_its_channels():
    machine = Machine()
    warm_up(machine, BLOCK, [0, 9])
    blocks = machine.asked[::2]
    assert machine.asked[1::2] == ["prepare"] * len(blocks)
    notes = [event for events, _ in blocks for event in events]
    assert {(note.channel, note.key % 12) for note in notes} == {(place, key) for place in (0, 9) for key in range(12)}
    assert {note.velocity for note in notes} == {1}
    assert all(at * BLOCK == note.time for at, (events, _) in enumerate(blocks) for note in events)


def test_after_another_has_warmed_up_a_rack_makes_no_tables_when_keys_go_down():
    patches = {0: open_patch("gm-chroma-8")}  # spectra, which are taken apart by tables
    partial_analysis._comb.cache_clear()
    warm_up(Rack(patches, 48000, live=True), BLOCK, [0])
    made = partial_analysis._comb.cache_info().misses
    rack = Rack(patches, 48000, live=True)
    rack.process([NoteOn(0, 0, key, 90) for key in range(60, 72)], BLOCK)
    assert partial_analysis._comb.cache_info().misses == made == 12


@needs_core
@pytest.mark.parametrize("name", ["electric-piano", "gm-keys"])  # a stereo model, and one without bands or images
def test_keys_go_down_in_a_live_rack_without_new_blends_curves_or_movements(name, monkeypatch):
    made = []

    def counted(owner, attribute):
        original = getattr(owner, attribute)

        def function(*arguments):
            made.append(attribute)
            return original(*arguments)

        monkeypatch.setattr(owner, attribute, function)

    counted(TrajectoryBlender, "_mix")
    counted(coherent_voicing, "image_curves")
    counted(Movement.fast, "func")
    notes = [NoteOn(0, 0, key, 100) for key in (40, 52, 60, 64, 67, 71, 80)]
    sounds = []
    for live in (False, True):
        rack = Rack({0: open_patch(name)}, 48000, live=live)
        made.clear()
        sounds.append(rack.process(notes, BLOCK)[0])
        assert bool(made) == (not live), made
    assert np.array_equal(*sounds)
