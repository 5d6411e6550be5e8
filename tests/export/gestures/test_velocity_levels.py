"""Levels of recordings by velocity: one rising curve, whatever the keys' own levels, where it spans 6 dB."""

import numpy as np
import pytest
from timbrel.export.fidelity.notes import RecordedNote, SingleNote
from timbrel.export.first_preset import first_preset, model_loudness_lufs
from timbrel.export.gestures.velocity_levels import velocity_levels
from timbrel.host.model.model import Model
from timbrel.host.preset.shipped import MODELS
from timbrel.train.corpus.clip_table import Clip


def recorded(key, velocity, level_db):
    clip = Clip(name=f"{key}-{velocity}", start=0, length=1, group="a", velocity=velocity)
    return RecordedNote(SingleNote(clip, float(key)), np.zeros(1, np.float32), 1.0, level_db)


def grid(levels, keys=range(48, 72, 3), spread=0.0):
    rng = np.random.default_rng(0)
    own = {key: 6 * rng.standard_normal() for key in keys}
    return [
        recorded(key, velocity, -20 + own[key] + level + spread * rng.standard_normal())
        for key in keys
        for velocity, level in levels.items()
    ]


@pytest.mark.parametrize("spread", [0.0, 1.0])
def test_levels_are_those_of_the_recordings_up_to_the_square_at_the_top(spread):
    found = dict(velocity_levels(grid({48: -10.2, 80: -6.0, 112: 0.0}, spread=spread)))
    top = 40 * np.log10(112 / 127)
    assert [*found] == [48, 80, 112, 127]
    assert [*found.values()] == pytest.approx([top - 10.2, top - 6.0, top, 0.0], abs=0.1 + spread)


def test_keys_may_lack_velocities():
    notes = grid({48: -12.0, 112: 0.0})
    assert dict(velocity_levels(notes[::3] + notes[1::3] + notes[2:6]))[48] == pytest.approx(-14.2, abs=0.1)


def test_a_velocity_of_few_notes_is_left_out():
    """It would hide the others, and its level tells nothing: the loudest velocity of enough notes is the top."""
    notes = grid({48: -12.0, 96: 0.0})
    without, top = velocity_levels(notes), 40 * np.log10(96 / 127)
    assert dict(without) == pytest.approx({48: top - 12.0, 96: top, 127: 0.0}, abs=0.1)
    assert velocity_levels([*notes, *[recorded(60, 112, 0.0)] * 2]) == without
    assert [*dict(velocity_levels([*notes, *[recorded(60, 112, 0.0)] * 3]))] == [48, 96, 112, 127]


@pytest.mark.parametrize("unlabelled", [1, 5])
def test_up_to_a_quarter_of_the_notes_may_lack_a_velocity(unlabelled):
    notes = grid({48: -12.0, 112: 0.0})
    assert len(notes) == 16
    assert velocity_levels([*notes, *[recorded(60, None, -3.0)] * unlabelled]) == velocity_levels(notes) != []


def test_a_level_that_falls_is_evened_out():
    levels = [level for _, level in velocity_levels(grid({32: -12.0, 64: -3.0, 96: -4.0, 127: 0.0}))]
    assert levels == pytest.approx([-12.0, -3.5, -3.5, 0.0], abs=0.1)


@pytest.mark.parametrize(
    "notes",
    [
        grid({48: -5.0, 112: 0.0}),  # levelled
        grid({100: 0.0}),
        grid({48: -12.0, 112: 0.0}, keys=(60, 62)),  # too few
        [*grid({48: -12.0, 112: 0.0})[:4], recorded(60, 48, -20.0)],  # the softer alone has enough
        [*grid({48: -12.0, 112: 0.0}), *[recorded(60, None, -20.0)] * 6],  # of 22
        [],
    ],
)
def test_without_a_range_or_labels_there_are_none(notes):
    assert velocity_levels(notes) == []


def test_a_first_preset_takes_them_and_the_model_is_as_loud_as_before():
    """At full velocity; a demo is at 100."""
    model = Model(MODELS / "gm-partials-8.onnx")
    assert "velocity_levels" not in first_preset(model).to_toml()
    instrument = model.gestures.instruments[0]
    instrument.velocity_levels = [(48, -30.0), (112, -8.0), (127, 0.0)]
    for other in model.gestures.instruments[1:]:
        other.velocity_levels = instrument.velocity_levels
    assert first_preset(model).play.velocity_levels == instrument.velocity_levels
    levelled = model_loudness_lufs(model)
    for each in model.gestures.instruments:
        each.velocity_levels = []
    assert levelled == pytest.approx(model_loudness_lufs(model), abs=0.3)
