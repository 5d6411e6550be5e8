"""MIDI learn recognises encoders, NRPN knobs and knobs with a touch switch."""

import json
import tomllib
from types import SimpleNamespace

import pytest
from timbrel.host.events import ControlChange, NoteOff, NoteOn
from timbrel.host.midi.controllers import ControllerReader
from timbrel.host.panel.state import MidiLearn
from timbrel.host.preset.midi_learn import LearnedKnob, MovedKnob, bound, encoder_steps, possible_encoders, with_targets

PRESET = 'format = 1\nmodel = "m"\nknobs = [20, 21]\n[[cc]]\nnumber = 7 # volume\nbits = 14\ntarget = "gain"\n'


def sent(number, values, start=0.0, every=0.02):
    return [(start + every * place, ControlChange(0, 3, number, value)) for place, value in enumerate(values)]


def nrpn(parameter, values, start=0.0, select_once=False, entry=6):
    moments = []
    for place, value in enumerate(values):
        seconds = start + 0.02 * place
        if place == 0 or not select_once:
            moments += sent(99, [parameter >> 7], seconds) + sent(98, [parameter & 127], seconds)
        moments += sent(entry, [value], seconds) + ([] if entry != 6 else sent(38, [value * 7 % 128], seconds))
    return moments


def learned(moments, taken=()):
    """The knob that is found while the moments pass and two seconds after, and the lines that are said."""
    said, reader = [], ControllerReader()
    knob = MovedKnob(dict(taken), said.append)
    moments = sorted(moments, key=lambda moment: moment[0])
    end = moments[-1][0]
    for seconds, event in [*moments, *((end + 0.1 * count, None) for count in range(1, 20))]:
        found = knob.add_event(seconds, event and reader.knob(event))
        if found is not None:
            return found, said
    return None, said


UP, DOWN = [65, 65, 65, 66, 65], [63, 63, 62, 63]


@pytest.mark.parametrize(
    ("values", "relative"),
    [
        (UP + DOWN, "65/63"),
        ([63] * 6, "65/63"),  # no other encoder sends it
        ([65, 66, 66, 69, 74, 74, 74, 69, 66, 65, 65, 62, 54, 54, 58, 63], "65/63"),
        ([1, 1, 1, 1, 127, 127, 127, 127], "1/127"),
        ([1, 3, 9, 12, 12, 7, 2, 125, 119, 116, 124, 127], "1/127"),
        ([127] * 5, "1/127"),
        ([1, 1, 1, 2, 65, 65, 66, 65], "1/65"),
        ([1, 4, 11, 11, 3, 67, 75, 70, 65], "1/65"),
        (list(range(128)), None),
        ([*range(65, 80), *range(80, 64, -1)], None),  # a knob that hardly moves
        ([64, 65, 64, 65, 64, 63] * 4 + list(range(64, 100)), None),
        ([5, 6] * 20 + list(range(6, 40)), None),
        ([0, 127] * 8, None),
    ],
)
def test_an_encoder_is_told_from_a_knob_with_a_position(values, relative):
    found, said = learned(sent(20, values))
    assert found == LearnedKnob(number=20, relative=relative)
    assert said == []


@pytest.mark.parametrize(("values", "back", "relative"), [([1] * 6, [127] * 3, "1/127"), ([65] * 6, [1] * 3, "1/65")])
def test_an_encoder_that_is_turned_one_way_is_named_in_one_line_and_known_once_it_turns_back(values, back, relative):
    found, said = learned(sent(20, values))
    assert found is None
    assert len(said) == 1
    assert said[0].startswith("CC 20 sends steps, ")
    assert said[0].endswith("; turn it the other way as well")
    found, said = learned([*sent(20, values), (1.0, None), (1.5, None), *sent(20, back, start=2.0)])
    assert found == LearnedKnob(number=20, relative=relative)
    assert len(said) == 1


@pytest.mark.parametrize(
    ("relative", "values", "steps"),
    [
        ("65/63", (65, 63, 70, 64, 0, 127), (1, -1, 6, 0, -64, 63)),
        ("1/127", (1, 127, 5, 120, 64), (1, -1, 5, -8, -64)),
        ("1/65", (1, 65, 9, 70, 64), (1, -1, 9, -6, 0)),
    ],
)
def test_steps_are_those_of_the_encoders_convention(relative, values, steps):
    assert tuple(encoder_steps(relative, value) for value in values) == steps
    assert possible_encoders([]) == []


@pytest.mark.parametrize("entry", [6, 96, 97])
@pytest.mark.parametrize("select_once", [False, True])
def test_an_nrpn_knob_is_learned_by_its_parameter_not_by_data_entry(entry, select_once):
    found, said = learned(nrpn(300, range(0, 128, 9), select_once=select_once, entry=entry))
    assert (found, said) == (LearnedKnob(nrpn=300), [])
    assert found.keys == {"nrpn": 300}


def test_an_nrpn_that_moves_another_target_is_passed_over_and_an_rpn_is_refused():
    assert learned(nrpn(300, range(0, 128, 9)), {"NRPN 300": "pan"}) == (
        None,
        ["NRPN 300 moves pan already; move another knob"],
    )
    rpn = sent(101, [0]) + sent(100, [1]) + sent(6, range(0, 128, 9))
    assert learned(rpn) == (None, ["CC 6 is data entry in MIDI, not for maps; move another knob"])


@pytest.mark.parametrize("lifted", [1.0, 2.0])
def test_a_knobs_touch_switch_does_not_win_over_the_knob(lifted):
    touch = [*sent(104, [127]), *sent(104, [0], start=lifted), (0.0, NoteOn(0, 3, 0, 127)), (lifted, NoteOff(0, 3, 0))]
    assert learned(touch + sent(20, range(40, 80, 2), start=0.2)) == (LearnedKnob(number=20), [])
    assert learned(touch + sent(20, UP + DOWN, start=0.2)) == (LearnedKnob(number=20, relative="65/63"), [])
    assert learned(sent(104, [127, 0], every=0.5))[0] == LearnedKnob(number=104)  # a button by itself


def test_the_panel_learns_nrpn_knobs_that_chose_their_parameter_before():
    learning = MidiLearn(SimpleNamespace(send_state=lambda learn: None))
    for seconds, event in nrpn(300, [0], start=-1.0):
        learning.add_event(seconds, event)
    learning.want("pan")
    for seconds, event in sent(6, range(0, 128, 8)):
        learning.add_event(seconds, event)
    assert learning.add_event(5.0, None) == (LearnedKnob(nrpn=300), "pan")


def test_a_binding_has_its_controllers_keys_alone():
    text, _ = bound(PRESET, {"nrpn": 300}, "gain", (-60.0, 12.0))
    assert tomllib.loads(text)["cc"] == [{"nrpn": 300, "target": "gain"}]
    text, _ = bound(text, {"number": 9, "relative": "1/65"}, "gain", (-60.0, 12.0))
    assert tomllib.loads(text)["cc"] == [{"number": 9, "relative": "1/65", "target": "gain"}]
    text, others = bound(PRESET, {"number": 7, "relative": "65/63"}, "latent.0", (-1.0, 1.0))
    fields = tomllib.loads(text)
    assert (fields["knobs"], others) == ([], ["gain"])
    assert {"number": 21, "target": "latent.1"} in fields["cc"]
    assert {"number": 7, "relative": "65/63", "target": "latent.0", "low": -1.0, "high": 1.0} in fields["cc"]


def test_a_knob_of_the_list_that_has_a_table_of_the_same_controller_keeps_the_tables_shape():
    shaped_map = {"number": 74, "target": "latent.0", "low": -1.0, "high": 0.5, "curve": 2.0}
    text = PRESET + "[[cc]]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in shaped_map.items())
    fields = tomllib.loads(bound(text, {"number": 74}, "latent.0", (-1.0, 1.0))[0])
    assert fields["knobs"] == []
    assert fields["cc"][1:] == [shaped_map, {"number": 21, "target": "latent.1"}]
    assert tomllib.loads(bound(text, {"number": 75}, "latent.0", (-1.0, 1.0))[0])["knobs"] == [75, 21]


def test_a_target_may_be_written_by_its_name():
    text = PRESET + '[[cc]]\nnumber = 9\ntarget = "Bright"\ncurve = 2.0\n'
    names = {"Bright": "latent.5"}
    learned_text, others = bound(text, {"number": 30}, "latent.5", (0.0, 1.0), names)
    assert tomllib.loads(learned_text)["cc"][1] == {"number": 30, "target": "Bright", "curve": 2.0}
    assert others == []
    assert tomllib.loads(with_targets(text, names))["cc"][1]["target"] == "latent.5"


def test_a_worn_knob_that_flickers_where_it_was_left_has_come_to_rest():
    worn = sent(20, range(20, 100)) + sent(20, [99, 98] * 100, 1.6)
    assert learned(worn + sent(21, range(128), 3.2)) == (LearnedKnob(number=20), [])


def test_the_fine_half_of_a_knob_of_14_bits_is_not_learned_though_it_moves_more():
    moments = sent(16, range(40, 60)) + sent(48, [value * 37 % 128 for value in range(20)])
    assert learned(moments) == (LearnedKnob(number=16), [])


def test_of_two_knobs_the_one_that_moved_last_is_learned_though_the_other_moved_more():
    assert learned(sent(20, range(128)) + sent(21, range(40, 60), 2.7)) == (LearnedKnob(number=21), [])
