"""Ranges of controllers in a preset's text, and their removal: only what is asked changes."""

import tomllib

import pytest
from timbrel.host.errors import UserError
from timbrel.host.preset.midi_learn import shaped, unbound

TEXT = """\
# mine
format = 1
knobs = [70, 71, 72]  # the upper row

[[cc]]  # the wheel
number = 1
target = "gain"
low = -20.0  # soft
takeover = "pickup"

[[cc]]
number = 1
channel = 2
target = "gain"

[[cc]]
pressure = "channel"
target = "gain"
"""
WHEEL, WHEEL_OF_2 = {"number": 1, "channel": None}, {"number": 1, "channel": 2}
FULL = {"low": -60.0, "high": 12.0, "curve": 1.0}


def test_a_range_is_written_beside_its_comments_and_keys_that_stay_are_not():
    edited = shaped(TEXT, "gain", WHEEL, FULL | {"low": -20.0}, {"low": -30.0, "high": 12.0, "curve": 2.0})
    assert edited == TEXT.replace("-20.0  # soft", "-30.0  # soft").replace(
        'takeover = "pickup"', 'takeover = "pickup"\ncurve = 2.0'
    )


def test_of_two_channels_only_the_one_that_is_meant_changes():
    edited = tomllib.loads(shaped(TEXT, "gain", WHEEL_OF_2, FULL, FULL | {"high": 0.0}))
    before = tomllib.loads(TEXT)
    before["cc"][1]["high"] = 0.0
    assert edited == before


def test_a_knob_of_the_list_becomes_a_table_with_its_range_and_those_after_it_stay_bound():
    edited = shaped(TEXT, "latent.1", {"number": 71, "channel": None}, FULL, FULL | {"low": 0.5})
    fields = tomllib.loads(edited)
    assert fields["knobs"] == [70]
    assert fields["cc"][3:] == [
        {"number": 72, "target": "latent.2"},
        {"number": 71, "target": "latent.1", "low": 0.5},
    ]
    assert "# the upper row" in edited
    assert shaped(TEXT, "latent.1", {"number": 71, "channel": None}, FULL, FULL) == TEXT


@pytest.mark.parametrize(
    ("place", "controller"), [*enumerate([WHEEL, WHEEL_OF_2, {"pressure": "channel", "channel": None}])]
)
def test_one_controller_is_removed_and_the_others_of_its_target_stay(place, controller):
    fields = tomllib.loads(TEXT)
    del fields["cc"][place]
    assert tomllib.loads(unbound(TEXT, "gain", controller)) == fields


def test_a_knob_of_the_list_is_removed_alone():
    fields = tomllib.loads(unbound(TEXT, "latent.0", {"number": 70, "channel": None}))
    assert fields["knobs"] == []
    assert [entry["target"] for entry in fields["cc"][3:]] == ["latent.1", "latent.2"]


def test_a_controller_that_is_gone_is_refused():
    with pytest.raises(UserError, match="no such controller of pan"):
        unbound(TEXT, "pan", WHEEL)
