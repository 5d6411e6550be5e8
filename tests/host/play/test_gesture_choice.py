"""A note plays the gestures nearest in key, velocity and instrument."""

import numpy as np
import pytest
from timbrel.host.events import NoteOn
from timbrel.host.play import events

from .gestures import RATE, gestures, note


def test_a_key_is_played_no_softer_and_no_louder_than_those_around_it_were(make_patch, gestured):
    low = [note(60.0 + i % 2, 40 + 20 * (i % 2), code=[0.1 * i, 0.5]) for i in range(8)]
    high = [note(70.0 + i, 127, code=[0.5, 0.9]) for i in range(8)]
    _, made = events.engine_and_processor(make_patch(gestured(gestures(*low, *high))))
    ways = made._gesturing._blender
    assert ways.mix(61, 127).offset[1] == pytest.approx(0.0, abs=1e-3)  # no high note's
    assert ways.mix(75, 127).offset[1] == pytest.approx(0.4, abs=1e-3)


PLACES = [(60, 110), (60, 30), (90, 110)]


def test_the_nearest_notes_in_key_and_velocity_are_blended(make_patch, gestured):
    loud, soft = note(velocity=110, code=[0.9, 0.5]), note(velocity=30, code=[0.1, 0.5])
    high = note(90.0, 110, code=[0.5, 0.9])
    _, made = events.engine_and_processor(make_patch(gestured(gestures(loud, soft, high))))
    for key, velocity in ((60, 110), (60, 30), (60, 70), (90, 110), (75, 110), (61, 104)):
        apart = [((place - key) / 1.5) ** 2 + ((speed - velocity) / 6) ** 2 for place, speed in PLACES]
        weights = 1 / (np.array(apart) + 1e-3)  # as of Shepard's inverse squares
        offset = weights @ np.array([[0.4, 0.0], [-0.4, 0.0], [0.0, 0.4]]) / weights.sum()
        assert made._gesturing._blender.mix(key, velocity).offset == pytest.approx(offset, abs=1e-9)


@pytest.mark.parametrize("cents", [39, 50, -60])
@pytest.mark.parametrize("stated", [True, False])
def test_a_key_of_an_instrument_off_its_keys_plays_its_own_note_alone(make_patch, gestured, cents, stated):
    """Older files do not state the tuning: then an instrument below half a semitone is that of the next keys."""
    tuning = {"tuning": cents / 100} if stated else {}
    notes = [note(60.0 + i + cents / 100, code=[0.1 * i, 0.5], **tuning) for i in range(9)]
    _, made = events.engine_and_processor(make_patch(gestured(gestures(*notes))))
    lower = 1 if cents < -50 and not stated else 0
    for i in range(1, 8):
        mix = made._gesturing._blender.mix(60 + i - lower, 100)
        assert mix.offset[0] == pytest.approx(0.1 * i - 0.5, abs=2e-3)
        assert mix.off == pytest.approx(cents / 100 + lower, abs=0.01)


def test_a_release_is_blended_of_notes_that_were_not_cut_off(make_patch, gestured):
    whole = note(64.0, release_levels=[0.0, -30.0, -90.0], release_codes=[[0.3, 0.0], [0.1, 0.2]])
    _, made = events.engine_and_processor(
        make_patch(gestured(gestures(note(release_levels=[], release_codes=[]), whole)))
    )
    mix = made._gesturing._blender.mix(60, 100)
    assert mix.release_levels == pytest.approx([0.0, -30.0, -90.0])
    assert mix.release_codes == pytest.approx(np.array([[0.3, 0.0], [0.1, 0.2]]))


def test_a_key_plays_the_note_of_its_velocity(make_patch, gestured):
    loud, soft = note(velocity=110, code=[0.9, 0.5]), note(velocity=30, code=[0.1, 0.5])
    for velocity, asked in ((110, 0.4), (30, -0.4)):
        _, made = events.engine_and_processor(make_patch(gestured(gestures(loud, soft))))
        made.apply(NoteOn(0, 0, 60, velocity))
        [voice] = made.voices
        assert voice.gesture.code(RATE)[0] == pytest.approx(asked - 0.1, abs=0.01)  # at its way's end, 0.1 lower


def test_the_instrument_is_that_whose_home_is_nearest_to_the_preset(make_patch, gestured):
    homes = {"dark": [0.2, 0.5], "bright": [0.8, 0.5]}
    fields = gestures(instruments=[{"label": name, "home": at, "notes": [note(code=at)]} for name, at in homes.items()])
    for values in ([0.25, 0.4], [0.7, 0.6]):
        _, made = events.engine_and_processor(make_patch(gestured(fields), latent={"values": values}))
        assert made._gesturing._blender.mix(60, 100).offset == pytest.approx([0.0, 0.0])


def test_a_preset_names_the_instrument_whose_ways_its_notes_go(tmp_path, gestured):
    from timbrel.host.errors import UserError
    from timbrel.host.preset.library import open_patch

    rises = {"Oboe": [-40.0, 0.0, 0.0, 0.0], "Banjo": [0.0, -20.0, -30.0, -40.0]}
    model = gestured(
        gestures(instruments=[{"label": one, "home": [0.5, 0.5], "notes": [note(levels=rises[one])]} for one in rises])
    )
    preset = tmp_path / "a.toml"

    def levels(name):
        preset.write_text(f'format = 1\nmodel = "{model.path}"\n[gesture]\ninstrument = "{name}"\n', encoding="utf-8")
        _, made = events.engine_and_processor(open_patch(str(preset)))
        return made._gesturing._blender.mix(60, 100).levels.tolist()

    assert {name: levels(name) for name in rises} == rises
    with pytest.raises(UserError, match=r"line 4: gesture.instrument 'Obo' is none of those .* did you mean 'Oboe'"):
        levels("Obo")
