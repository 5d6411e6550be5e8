"""Hands made of events: time goes on as they say, and the preset's text is compared whole."""

import os
import shutil
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from timbrel.host.errors import UserError
from timbrel.host.events import RESERVED_CC, Clock, ControlChange, NoteOn, PitchBend
from timbrel.host.preset.learn import learn
from timbrel.host.preset.library import open_patch
from timbrel.host.preset.loading import read_preset
from timbrel.host.preset.midi_learn import bound
from timbrel.host.preset.preset import Preset
from timbrel.host.preset.shipped import shipped_presets

PRESET = """\
# my pad
format = 1
model = "tiny.onnx" # beside it
[latent]
values = [
    0.25,
    0.75,
]

# the wheel
[[cc]] # first
number = 1   # modulation
target = "latent.0"
low = 0.01
high = 0.997
curve = 2.0
# as on the XY pad

# the hall
[[effects]]
plugin = "Reverb"
room_size = 0.4

[[cc]]
number = 7
target = "gain"
low = -60.0
high = 0.0

# the end
[play]
voices = 4
"""


@pytest.fixture
def pad(tmp_path, tiny_path, monkeypatch):
    """A preset in a folder of its own, which is the current one."""
    shutil.copy(tiny_path(), tmp_path / "tiny.onnx")
    path = tmp_path / "pad.toml"
    path.write_text(PRESET, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return path


def sweep(number, start, values=range(0, 128, 8), every=0.02):
    """A knob that is turned: moments from ``start`` seconds on."""
    return [(start + every * i, ControlChange(0, 2, number, value)) for i, value in enumerate(values)]


def rest(start, seconds=2.0):
    """Nothing but time, and what keys, wheels and clocks send meanwhile."""
    idle = [None, NoteOn(0, 0, 60, 100), PitchBend(0, 0, 99), Clock(0, "tick")]
    return [(start + 0.1 * i, idle[i % 4]) for i in range(round(seconds * 10))]


def in_time(*parts):
    return sorted((moment for part in parts for moment in part), key=lambda moment: moment[0])


def taught(moments, target="latent.1", preset="pad.toml"):
    """What was learned, and what was said."""
    said = []
    return learn(preset, target, moments, said.append), said


def test_a_new_map_comes_behind_the_last_and_nothing_else_changes(pad):
    learned, said = taught(sweep(74, 0) + rest(1))
    assert learned == ["CC 74 moves latent.1"]
    assert said == ["latent.1: move the knob for it", "CC 74 moves latent.1 (pad.toml)"]
    new = '\n[[cc]]\nnumber = 74\ntarget = "latent.1"\nlow = 0.0\nhigh = 1.0\n'
    behind = 'target = "gain"\nlow = -60.0\nhigh = 0.0\n'
    assert pad.read_text(encoding="utf-8") == PRESET.replace(behind, behind + new)
    assert [path.name for path in sorted(pad.parent.iterdir())] == ["pad.toml", "tiny.onnx"]


def test_a_target_that_has_a_knob_gets_the_new_one_in_the_same_line_with_its_range_and_curve(pad):
    taught(sweep(74, 0) + rest(1), "latent.0")
    assert pad.read_text(encoding="utf-8") == PRESET.replace("number = 1   #", "number = 74   #")


def test_a_latent_that_has_its_knob_in_the_presets_list_gets_the_new_one_there(pad):
    text = PRESET.replace("\n", "\nknobs = [20, 21]  # the left half\n", 1)
    pad.write_text(text, encoding="utf-8")
    learned, _ = taught(sweep(74, 0) + rest(1), "latent.1")
    assert learned == ["CC 74 moves latent.1"]
    assert pad.read_text(encoding="utf-8") == text.replace("[20, 21]", "[20, 74]")


def test_of_two_maps_of_one_target_the_first_gets_the_knob_and_the_other_goes_but_pressure_stays(pad):
    more = (
        '\n[[cc]]\nnrpn = 300\nchannel = 3\ntarget = "latent.1"\nlow = 0.2\nhigh = 0.3\n'
        '\n[[cc]]\npressure = "key"\ntarget = "latent.1"\nlow = 0.0\nhigh = 0.5\n'
        '\n# spare\n[[cc]]\nnumber = 3\ntarget = "latent.1"\nlow = 0.0\nhigh = 1.0\n'
    )
    pad.write_text(PRESET + more, encoding="utf-8")
    taught(sweep(74, 0) + rest(1))
    maps = [entry for entry in read_preset(pad).cc if entry.target == "latent.1"]
    assert [(entry.number, entry.nrpn, entry.pressure, entry.high) for entry in maps] == [
        (74, None, None, 0.3),
        (None, None, "key", 0.5),
    ]
    assert pad.read_text(encoding="utf-8").startswith(PRESET)
    assert "# spare" in pad.read_text(encoding="utf-8")


def test_a_knob_that_moves_another_target_already_moves_both_and_it_is_said(pad):
    learned, said = taught(sweep(7, 0) + rest(1))
    assert learned == ["CC 7 moves latent.1"]
    assert said[-1] == "CC 7 moves latent.1, and gain as before (pad.toml)"
    assert [entry.target for entry in read_preset(pad).cc if entry.number == 7] == ["gain", "latent.1"]


@pytest.mark.parametrize(
    ("target", "low", "high"),
    [("pan", -1.0, 1.0), ("envelope.release_seconds", 0.0, 30.0), ("effects.0.room_size", 0.0, 1.0)],
)
def test_other_targets_span_their_own_ranges(pad, target, low, high):
    taught(sweep(74, 0) + rest(1), target)
    [entry] = [entry for entry in read_preset(pad).cc if entry.target == target]
    assert (entry.number, entry.low, entry.high) == (74, low, high)


def test_a_morph_is_learned_from_end_to_end_where_the_preset_has_one(pad):
    with pytest.raises(UserError, match=r"target 'morph': the preset has no \[morph\]"):
        taught([], "morph")
    pad.write_text(PRESET + "\n[morph]\nvalues = [0.5, 0.5]\n", encoding="utf-8")
    assert taught(sweep(74, 0) + rest(1), "morph")[0] == ["CC 74 moves morph"]
    [entry] = [entry for entry in read_preset(pad).cc if entry.target == "morph"]
    assert (entry.number, entry.low, entry.high) == (74, 0.0, 1.0)


def test_a_macro_is_learned_from_end_to_end_and_called_by_its_name(pad):
    table = '[[macro]]\nname = "wide"\ntargets = [{ target = "latent.0", low = -0.3, high = 0.3 }]\n'
    pad.write_text(PRESET + "\n" + table, encoding="utf-8")
    bound, said = taught(sweep(74, 0) + rest(1), "macro.0")[:2]
    assert bound == ["CC 74 moves macro.0 (wide)"]
    assert said[0] == "macro.0 (wide): move the knob for it"
    [entry] = [entry for entry in read_preset(pad).cc if entry.target == "macro.0"]
    assert (entry.number, entry.low, entry.high) == (74, 0.0, 1.0)


def test_a_target_may_be_called_by_its_name_and_a_map_that_calls_it_so_keeps_the_name(pad):
    table = '[[macro]]\nname = "wide"\ntargets = [{ target = "latent.0", low = -0.3, high = 0.3 }]\n'
    named = '[[cc]]\nnumber = 9\ntarget = "wide"\nhigh = 0.5\n'
    pad.write_text(f"{PRESET}\n{table}{named}", encoding="utf-8")
    [entry] = [entry for entry in open_patch("pad.toml").preset.cc if entry.number == 9]
    assert (entry.target, entry.low, entry.high) == ("macro.0", 0.0, 0.5)
    assert taught(sweep(74, 0) + rest(1), "wide")[0] == ["CC 74 moves macro.0 (wide)"]
    assert pad.read_text(encoding="utf-8") == f"{PRESET}\n{table}{named.replace('9', '74')}"
    with pytest.raises(UserError, match=r"target 'wid' does not exist; did you mean 'wide'"):
        taught([], "wid")


def test_without_a_target_the_latents_are_walked_through_and_no_knob_is_taken_twice(pad):
    moments = in_time(sweep(20, 0), rest(0, 3), sweep(20, 3), rest(3.5, 2), sweep(21, 6), rest(7))
    learned, said = taught(moments, None)
    assert learned == ["CC 20 moves latent.0", "CC 21 moves latent.1"]
    assert "CC 20 moves latent.0 already; move another knob" in said
    numbers = {entry.target: entry.number for entry in read_preset(pad).cc}
    assert numbers == {"latent.0": 20, "latent.1": 21, "gain": 7}


def test_what_was_learned_before_an_interruption_is_written(pad):
    def moments():
        yield from sweep(20, 0) + rest(1)
        raise KeyboardInterrupt

    assert taught(moments(), None)[0] == ["CC 20 moves latent.0"]
    assert {entry.target: entry.number for entry in read_preset(pad).cc}["latent.0"] == 20


def test_an_interruption_before_the_first_move_leaves_the_file(pad):
    def moments():
        raise KeyboardInterrupt
        yield

    assert taught(moments(), None)[0] == []
    assert pad.read_text(encoding="utf-8") == PRESET


def test_moments_that_end_leave_what_was_not_learned(pad):
    assert taught([]) == ([], ["latent.1: move the knob for it"])
    assert pad.read_text(encoding="utf-8") == PRESET
    assert taught(sweep(74, 0))[0] == ["CC 74 moves latent.1"]  # the hand had its knob when they ended


@pytest.mark.parametrize(
    ("what", "moments", "number"),
    [
        ("the last knob wins", sweep(20, 0) + sweep(21, 0.6, range(0, 60, 4)), 21),
        ("the widest of one grip wins", in_time(sweep(20, 0), sweep(21, 0.01, range(40, 80, 4), 0.035)), 20),
        ("of equals in one grip the last wins", in_time(sweep(20, 0.01), sweep(21, 0)), 20),
        ("a brushed knob is no choice", in_time(sweep(20, 0), sweep(21, 0.3, [60, 61, 63, 66])), 20),
        ("a worn knob at rest does not delay", in_time(sweep(20, 0), sweep(33, 0, [5, 6] * 200)), 20),
        ("nor does the chosen one's own flicker", sweep(20, 0) + sweep(20, 0.4, [120, 121] * 90), 20),
        ("a slow hand is waited for", sweep(20, 0, range(0, 16), 0.3) + sweep(21, 4.7), 21),
        ("of a 14-bit knob the coarse half wins", in_time(sweep(16, 0), sweep(48, 0.001, [0, 127] * 8)), 16),
        ("a knob beside a reserved number wins", in_time(sweep(20, 0, range(50, 70)), sweep(6, 0.001)), 20),
    ],
)
def test_of_several_controllers_the_one_that_is_meant_is_taken(pad, what, moments, number):
    learned, _ = taught(in_time(moments, rest(0, 12)))
    assert learned == [f"CC {number} moves latent.1"], what


@pytest.mark.parametrize("number", sorted(RESERVED_CC))
def test_a_reserved_number_is_refused_with_its_meaning_and_the_next_knob_is_taken(pad, number):
    learned, said = taught(in_time(sweep(number, 0), sweep(74, 2), rest(0, 5)))
    assert learned == ["CC 74 moves latent.1"]
    assert said[1].startswith(f"CC {number} is ")
    assert said[1].endswith(" in MIDI, not for maps; move another knob")


def test_what_ships_is_copied_and_the_copy_is_not_overwritten(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shipped = shipped_presets()["gm-pad"]
    before = shipped.read_bytes()
    assert taught([], preset="gm-pad")[0] == []
    assert list(tmp_path.iterdir()) == []  # nothing was learned, nothing is written
    taught(sweep(20, 0) + rest(1), preset="gm-pad")
    assert shipped.read_bytes() == before
    copy = (tmp_path / "gm-pad.toml").read_text(encoding="utf-8")
    assert copy == before.decode().replace("number = 74", "number = 20")
    assert open_patch("gm-pad.toml").model.card.name == "gm-chroma-2"
    for preset in ("gm-pad", str(shipped)):
        with pytest.raises(UserError, match=r"'timbrel learn gm-pad\.toml' goes on with it"):
            taught([], preset=preset)


def test_a_bare_model_gets_a_preset_that_finds_it(pad, tmp_path):
    (tmp_path / "models").mkdir()
    (tmp_path / "tiny.onnx").rename(tmp_path / "models" / "tiny.onnx")
    taught(sweep(20, 0) + rest(1), preset="models/tiny.onnx")
    assert {entry.target: entry.number for entry in open_patch("tiny.toml").preset.cc} == {
        "latent.0": 70,
        "latent.1": 20,
    }
    taught(sweep(20, 0) + rest(1), preset="gm-chroma-2")
    assert read_preset(tmp_path / "gm-chroma-2.toml").model == "gm-chroma-2"


def test_what_cannot_be_learned_is_refused_before_anyone_listens(pad):
    def nobody():
        raise AssertionError("listened")
        yield

    with pytest.raises(UserError, match=r"target 'latent\.2' does not exist; did you mean 'latent\.[01]'\?"):
        taught(nobody(), "latent.2")
    with pytest.raises(UserError, match="does not exist"):
        taught(nobody(), preset="none.toml")
    pad.write_text(PRESET.replace("voices = 4", "voices = 400"), encoding="utf-8")
    with pytest.raises(UserError, match="voices"):
        taught(nobody())
    pad.write_text(PRESET.replace('"gain"', '"gian"'), encoding="utf-8")
    with pytest.raises(UserError, match="gian"):
        taught(nobody())


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="everything may be written here")
def test_a_folder_that_cannot_be_written_is_refused_before_anyone_listens(pad):
    pad.parent.chmod(0o500)
    try:
        with pytest.raises(UserError, match="no right to write"):
            taught([])
    finally:
        pad.parent.chmod(0o700)


def test_edits_made_while_it_listens_are_kept(pad):
    def moments():
        yield from sweep(20, 0)
        pad.write_text(PRESET.replace("voices = 4", "voices = 5"), encoding="utf-8")
        yield from rest(1)

    taught(moments())
    assert read_preset(pad).play.voices == 5


def test_a_symbolic_link_stays_one(pad, tmp_path):
    (tmp_path / "deep").mkdir()
    shutil.move(pad, tmp_path / "deep" / "real.toml")
    shutil.copy(tmp_path / "tiny.onnx", tmp_path / "deep")
    pad.symlink_to(Path("deep") / "real.toml")
    taught(sweep(74, 0) + rest(1))
    assert pad.is_symlink()
    assert 74 in [entry.number for entry in read_preset(tmp_path / "deep" / "real.toml").cc]


@pytest.mark.parametrize(
    ("text", "edited"),
    [
        ("format = 1\n", 'format = 1\n\n[[cc]]\nnumber = 9\ntarget = "pan"\nlow = -1.0\nhigh = 1.0\n'),
        ("format = 1", 'format = 1\n\n[[cc]]\nnumber = 9\ntarget = "pan"\nlow = -1.0\nhigh = 1.0'),
        ("format = 1\r\n", 'format = 1\r\n\r\n[[cc]]\r\nnumber = 9\r\ntarget = "pan"\r\nlow = -1.0\r\nhigh = 1.0\r\n'),
        (
            "[[cc]]\nnumber = 5\n# of the hall\n[[effects]]\nx = 1\n",
            "[[cc]]\nnumber = 5\n\n[[cc]]\nnumber = 9\n"
            'target = "pan"\nlow = -1.0\nhigh = 1.0\n# of the hall\n[[effects]]\nx = 1\n',
        ),
        ('[[ "cc" ]]#\n  target = "pan"\n  number=0x4A#a\n', '[[ "cc" ]]#\n  target = "pan"\n  number=9#a\n'),
        ('cc = [{number = 5, target = "pan"}] # one', 'cc = [{number = 9, target = "pan"}] # one'),
        (
            'cc = [{number = 5, target = "x"}]',
            'cc = [{number = 5, target = "x"}, {number = 9, target = "pan", low = -1.0, high = 1.0}]',
        ),
    ],
)
def test_layouts_of_all_kinds_are_kept(text, edited):
    assert bound(text, {"number": 9}, "pan", (-1.0, 1.0))[0] == edited


MAPS = st.lists(
    st.tuples(st.integers(7, 31), st.sampled_from(["latent.0", "latent.1", "pan", "gain"])), max_size=6, unique=True
)


@given(MAPS, st.data())
def test_after_any_lesson_the_preset_is_the_same_but_for_one_map(maps, data):
    preset = Preset.model_validate(
        {
            "format": 1,
            "model": "m",
            "cc": [{"number": n, "target": t, "low": 0.0, "high": 0.5} for n, t in maps],
            "effects": [{"plugin": "Reverb"}],
        }
    )
    number, target = data.draw(st.integers(7, 31)), data.draw(st.sampled_from(["latent.0", "pan"]))
    edited = Preset.model_validate(tomllib.loads(bound(preset.to_toml(), {"number": number}, target, (-1.0, 1.0))[0]))
    assert edited.model_dump(exclude={"cc"}) == preset.model_dump(exclude={"cc"})
    assert [entry for entry in edited.cc if entry.target != target] == [e for e in preset.cc if e.target != target]
    [entry] = [entry for entry in edited.cc if entry.target == target]
    assert (entry.number, entry.high) == (number, 0.5 if target in [t for _, t in maps] else 1.0)
