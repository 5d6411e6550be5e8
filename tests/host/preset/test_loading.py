"""Everything that is wrong with a preset is told at once, in its lines; and what a preset leaves out is filled in."""

import os
import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from timbrel.host.errors import UserError
from timbrel.host.play.rack import ChannelInstrument
from timbrel.host.preset.library import open_patch
from timbrel.host.preset.loading import read_preset
from timbrel.host.preset.shipped import MIDI
from timbrel.host.preset.text import lines_of

HEAD = 'format = 1\nmodel = "m.onnx"\n'


@pytest.fixture
def write(tmp_path, tiny_path):
    """A function that writes a preset beside the smallest model, and gives its path."""
    (tmp_path / "m.onnx").write_bytes(tiny_path().read_bytes())

    def toml(text):
        path = tmp_path / "made.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return toml


def told(path, call=open_patch):
    """What is wrong with a preset, a line each, without its name."""
    with pytest.raises(UserError) as caught:
        call(str(path) if call is open_patch else path)
    assert all(str(path) in line and "\n" not in line for line in caught.value.args)
    return [line.removeprefix(f"preset {path}").removeprefix(", ").strip() for line in caught.value.args]


def test_a_file_that_is_too_large_for_a_preset_is_refused_before_it_is_read(tmp_path):
    path = tmp_path / "large.toml"
    path.write_text(HEAD)
    os.truncate(path, (1 << 20) + 1)
    with pytest.raises(UserError, match=r"large\.toml has 1 MiB, at most 1 are read"):
        open_patch(str(path))


MANY = """# a preset of many mistakes
format = 1
model = "m.onnx"

[play]          # a comment
vioces = 8
mode = "duo"

[envelope]
attack_seconds = 20
release_seconds = 0.5

[[cc]]
number = 74
target = "latent.0"

[[cc]]
target = "latent.1"
number = 200

[[motion]]
target = "latent.1"
depth = 0.2
beats = 4
rate_hz = 3
"""


def test_each_of_several_mistakes_has_its_line_in_the_order_of_the_file(write):
    assert told(write(MANY)) == [
        "line 6: unknown key 'play.vioces'; did you mean 'voices'?",
        "line 7: play.mode = 'duo' should be 'poly', 'mono' or 'chord'",
        "line 10: envelope.attack_seconds = 20 should be less than or equal to 10, in seconds; 20 ms are 0.02",
        "line 19: [[cc]] 2: number = 200 should be less than or equal to 127",
        "line 21: [[motion]] 1: give one of rate_hz (cycles a second) and beats (quarter notes a cycle)",
    ]


UNFIT = """format = 1
model = "m.onnx"
latent.values = [0.5, 0.5, 0.5]
[[cc]]
number = 20
target = "gian"
[[cc]]
number = 21
low = -70
high = 20
target = "gain"
[[cc]]
number = 22
target = "envelope.release_seconds"
low = 50
high = 0
[[motion]]
target = "latent.7"
depth = 1
beats = 1
[[effects]]
plugin = "Reverb"
room = 1
width = 2
"""


def test_each_of_several_that_do_not_fit_the_model_has_its_line(write):
    assert told(write(UNFIT)) == [
        "line 3: latent.values has 3 numbers, model 'analytic' has 2 latents; give 2 or leave values out",
        "line 6: [[cc]] 1, CC 20 to 'gian': target 'gian' does not exist; did you mean 'gain'?",
        "line 9: [[cc]] 2, CC 21 to 'gain': low = -70 is out of range [-60, 12]",
        "line 10: [[cc]] 2, CC 21 to 'gain': high = 20 is out of range [-60, 12]",
        "line 15: [[cc]] 3, CC 22 to 'envelope.release_seconds': low = 50 is out of range [0, 30], in seconds; 50 ms "
        "are 0.05",
        "line 18: [[motion]] 1: target 'latent.7' is no latent of model 'analytic'; did you mean 'latent.1'?",
        "line 23: [[effects]] 1 (Reverb): parameter 'room' does not exist; did you mean 'room_size'?",
        "line 24: [[effects]] 1 (Reverb): width = 2 is out of range [0, 1]",
    ]


def test_a_command_prints_a_line_for_each_mistake_and_ends_with_status_2(write, timbrel, tmp_path):
    path = write(MANY)
    ended = timbrel("render", path, MIDI / "demo.mid", "-o", tmp_path / "out.wav")
    lines = ended.err.splitlines()
    assert (ended.status, ended.out) == (2, "")
    assert len(lines) == 5
    assert all(line.startswith(f"timbrel: preset {path}, line ") for line in lines)
    assert not (tmp_path / "out.wav").exists()


SLIPS = {
    "[play]\nmode = mono": "is not TOML in line 4: 'mode = mono': text is written in quotes: mode = \"mono\"",
    "description = warm pad": 'text is written in quotes: description = "warm pad"',
    "[play]\nlegato = True": "write legato = true",
    "[play]\nlegato = no": "write legato = false",
    "[play]\ngain_db = -3,5": "is not TOML in line 4: 'gain_db = -3,5': decimals have a point: gain_db = -3.5",
    "[play]\ngain_db = '-3,5'": "line 4: play.gain_db = '-3,5' should be a valid number",
    "[play]\npan = '0,5'": "decimals have a point, and no quotes: 0.5",
    "[latent]\nvalues = [0,5, 0,25]": "give 2 or leave values out; decimals have a point: 0.5",
    "[cc]\nnumber = 20\ntarget = 'gain'": "line 3: [cc] is one of several: write [[cc]], with two brackets",
    "[effects]\nplugin = 'Reverb'": "line 3: [effects] is one of several: write [[effects]]",
    "[[snapshot]]\nslot = 1\nvalues = [0.5]": "line 5: [[snapshot]] 1: values is a list; write a table: { key",
    "envelope = []": "line 3: envelope is a list; write a table",
    "[[play]]\nvoices = 3": "line 3: [[play]] is there once: write [play], with one bracket",
    "[envelope]\nattack_seconds = 250": "line 4: envelope.attack_seconds = 250 should be less than or equal to 10, "
    "in seconds; 250 ms are 0.25",
    "[grain]\nlength = 50": "line 4: grain.length = 50 should be less than or equal to 2, in seconds; 50 ms are 0.05",
    "[play]\nvoices 8": "is not TOML in line 4: 'voices 8': write KEY = VALUE, or [TABLE]",
    "[play]\nvoices =": "'voices =': voices has no value; give one, or remove the line",
    "[play]\nvoices = 8\nvoices = 9": "is not TOML in line 5: 'voices = 9'",
    "knobs = [70, 71, 72]": "line 3: knobs has 3 controllers, model 'analytic' has 2 latents; give 2 or less",
    "knobs = [70, 6]": "line 3: knobs, number 2: CC 6 has a fixed meaning in MIDI; use another",
    "knobs = [70]\n[[cc]]\nnumber = 70\ntarget = 'latent.0'": "line 4: [[cc]] 1: CC 70 moves 'latent.0' twice",
    "[[cc]]\nnumber = 20\ntarget = 'gain'\n[[cc]]\nnumber = 20\ntarget = 'gain'": "line 6: [[cc]] 2: CC 20 is mapped",
}


@pytest.mark.parametrize("text", SLIPS)
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_a_usual_slip_is_met_with_what_was_meant(write, text, newline):
    path = write((HEAD + text + "\n").replace("\n", newline))
    lines = told(path)
    assert len(lines) == 1
    assert SLIPS[text] in lines[0]


def test_lines_that_are_no_toml_and_wrong_values_are_told_together(write):
    text = HEAD + "[play]\nmode = mono\nvoices = 0\n\n[envelope]\nsustain = 0,5\nrelease_seconds = -1\n"
    assert told(write(text)) == [
        "is not TOML in line 4: 'mode = mono': text is written in quotes: mode = \"mono\"",
        "is not TOML in line 8: 'sustain = 0,5': decimals have a point: sustain = 0.5",
        "line 5: play.voices = 0 should be greater than or equal to 1",
        "line 9: envelope.release_seconds = -1 should be greater than or equal to 0",
    ]


def test_what_a_broken_line_would_have_said_is_not_missed_besides(write):
    assert told(write('format = 1\nmodel = m.onnx\n[[cc]]\nnumber = 20\ntarget = "gain"\n')) == [
        "is not TOML in line 2: 'model = m.onnx': text is written in quotes: model = \"m.onnx\""
    ]


def test_tables_of_which_there_are_several_want_two_brackets_each(write):
    text = HEAD + "[cc]\nnumber = 20\ntarget = 'gain'\n[ cc ] # two\nnumber = 200\ntarget = 'pan'\n"
    assert told(write(text)) == [
        "is not TOML in line 3: '[cc]': several of these are written [[cc]], with two brackets",
        "is not TOML in line 6: '[cc]': several of these are written [[cc]], with two brackets",
        "line 7: [[cc]] 2: number = 200 should be less than or equal to 127",
    ]


def test_a_misspelt_key_is_told_and_not_that_the_right_one_is_missing(write):
    assert told(write('format = 1\nmodle = "m.onnx"\n')) == ["line 2: unknown key 'modle'; did you mean 'model'?"]


PLACES = {
    "x = 1\n[a]\ny = 2\n": {("x",): 1, ("a",): 2, ("a", "y"): 3},
    '# c\n\n[[b]]\nk = 1 # z\n[[b]]\n\n"k" = 2\n': {("b", 0, "k"): 4, ("b", 1): 5, ("b", 1, "k"): 7},
    "a.b.c = 1\n[d.e]\nf.g = 2": {("a", "b", "c"): 1, ("d", "e", "f", "g"): 3},
    "b = [\n  { k = 1 },  # one\n  { k = 2 },\n]\nz = 1": {("b", 1, "k"): 1, ("z",): 5},
    'b = { k = 1, l = { m = 2 } }\ns = """\n[not]\na = 1\n"""\nz = 1': {("b", "l", "m"): 1, ("s",): 2, ("z",): 6},
    "[[b]]\n[b.c]\nk = 1\n[[b.d]]\nk = 2\n[[b.d]]\nk = 3\n[[b]]\n[b.c]\nk = 4": {
        ("b", 0, "c", "k"): 3,
        ("b", 0, "d", 1, "k"): 7,
        ("b", 1, "c", "k"): 10,
    },
}


@pytest.mark.parametrize("text", PLACES)
def test_every_key_has_its_line_however_it_is_written(text):
    lines = lines_of(text)
    for where, line in PLACES[text].items():
        assert lines[where] == line


KEYS = st.sampled_from(["a", "b", "c", "d"])
VALUES = st.one_of(
    st.integers(0, 9).map(str),
    st.just('"x # y"'),
    st.just("[1, 2]"),
    st.just("[\n 1,\n # two\n 2,\n]"),
    st.just("{ k = 1 }"),
)
FILLS = st.sampled_from(["", "\n", "# note = 1\n", "\n\n# [[a]]\n"])


@given(st.lists(st.tuples(FILLS, KEYS, VALUES), max_size=6, unique_by=lambda entry: entry[1]), st.integers(0, 3))
def test_lines_are_those_in_which_keys_stand_and_all_keys_have_one(entries, tables):
    text, places = "", {}
    for number in range(tables + 1):
        table = ("t", number - 1) if number else ()
        if number:
            text += "[[t]]  # another\n"
        for fill, key, value in entries:
            text += fill
            places[*table, key] = text.count("\n") + 1
            text += f"{key} = {value}\n"
    tomllib.loads(text)
    lines = lines_of(text)
    assert {where: line for where, line in lines.items() if where in places} == places


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=200))
def test_any_text_is_a_preset_or_is_refused_in_lines(tmp_path_factory, text):
    path = tmp_path_factory.mktemp("any") / "any.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UserError) as caught:
        read_preset(path)
    assert all("\n" not in line for line in caught.value.args)


def test_a_file_that_holds_nothing_but_a_sentence_is_refused_for_that_alone(write):
    assert told(write("this is no preset\n")) == [
        "is not TOML in line 1: 'this is no preset': write KEY = VALUE, or [TABLE]"
    ]


def test_a_file_of_another_kind_is_refused_in_few_lines(write):
    assert 1 <= len(told(write("this is no preset\n" * 5000), read_preset)) <= 20
    assert 1 <= len(told(write("".join(f"k{number} = 1\n" for number in range(5000))), read_preset)) <= 20


def ends(patch):
    return [(entry.number, entry.target, entry.low, entry.high) for entry in patch.preset.cc]


def test_a_map_without_ends_spans_its_targets_own_range(write):
    text = HEAD + "[morph]\nvalues = [0.1, 0.2]\n[[effects]]\nplugin = 'Reverb'\n"
    targets = {"latent.1": (0.0, 1.0), "gain": (-60.0, 12.0), "morph": (0.0, 1.0), "effects.0.width": (0.0, 1.0)}
    targets |= {"pan": (-1.0, 1.0), "process.scale": (-4.0, 4.0), "envelope.release_seconds": (0.0, 30.0)}
    for number, target in enumerate(targets, 20):
        text += f"[[cc]]\nnumber = {number}\ntarget = '{target}'\n"
    patch = open_patch(str(write(text)))
    assert ends(patch) == [(number, target, *span) for number, (target, span) in enumerate(targets.items(), 20)]
    ChannelInstrument(patch, 22_050)


def test_an_end_that_is_given_stays_and_the_other_is_the_targets(write):
    text = HEAD + "[[cc]]\nnumber = 20\ntarget = 'gain'\nlow = -20\n[[cc]]\nnumber = 21\ntarget = 'gain'\nhigh = -20\n"
    assert ends(open_patch(str(write(text)))) == [(20, "gain", -20.0, 12.0), (21, "gain", -60.0, -20.0)]


def test_knobs_are_the_controllers_of_the_latents_in_order(write):
    text = HEAD.replace("\n", "\nknobs = [72, 70]\n", 1) + "[[cc]]\nnumber = 1\ntarget = 'pan'\n"
    patch = open_patch(str(write(text)))
    assert ends(patch) == [(72, "latent.0", 0.0, 1.0), (70, "latent.1", 0.0, 1.0), (1, "pan", -1.0, 1.0)]


def test_values_and_ends_outside_the_spans_are_warned_of_with_their_lines(write):
    text = HEAD + "[latent]\nvalues = [0.5, 1.5]\n[[cc]]\nnumber = 20\ntarget = 'latent.1'\nlow = -1\nhigh = 1\n"
    path = write(text)
    assert open_patch(str(path)).warnings == (
        f"preset {path}, line 4: latent.values: its number 2, 1.5, is outside [0, 1], what the training sounds fill of "
        "latent.1; it may not be heard as it stands",
        f"preset {path}, line 8: [[cc]] 1, CC 20 to 'latent.1': low = -1 is outside [0, 1], what the training sounds "
        "fill of latent.1; it may not be heard as it stands",
    )


def test_unknown_keys_hide_neither_wrong_tables_nor_faults_of_the_model(write):
    text = HEAD + "colour = 1\n[latent]\nvalues = [0.5]\nvalue = 2\n[[cc]]\nnumber = 20\ntarget = 'latent.7'\n"
    lines = told(write(text))
    assert [line.partition(":")[0] for line in lines] == ["line 3", "line 5", "line 6", "line 9"]
    assert "unknown key 'colour'" in lines[0]
    assert "latent.values" in lines[1]
    assert "unknown key 'latent.value'" in lines[2]
    assert "target 'latent.7' does not exist" in lines[3]


def test_unknown_keys_do_not_hide_tables_that_contradict_each_other(write):
    twice = "[[cc]]\nnumber = 20\ntarget = 'latent.0'\n" * 2
    alone = told(write(HEAD + twice))
    assert alone
    assert len(told(write(HEAD + "colour = 1\n" + twice))) == 1 + len(alone)


def test_unknown_keys_do_not_hide_that_the_model_is_missing(write):
    with pytest.raises(UserError) as caught:
        open_patch(str(write('format = 1\nmodel = "none.onnx"\ncolour = 1\n')))
    key, model = caught.value.args
    assert "unknown key 'colour'" in key
    assert "model 'none.onnx' does not exist" in model
