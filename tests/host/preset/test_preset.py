"""Presets: every wrong key or value is one line that helps, and what is written is read back."""

import hashlib
import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from timbrel.host.audio.effects import Effect
from timbrel.host.errors import UserError
from timbrel.host.events import RESERVED_CC
from timbrel.host.play.rack import Rack
from timbrel.host.preset.library import find_model, open_patch
from timbrel.host.preset.loading import read_preset
from timbrel.host.preset.preset import PLAY_CONTROLS, CCMap, EnvelopeSettings, LatentSettings, PlaySettings, Preset
from timbrel.host.preset.shipped import shipped_models, shipped_presets

HEAD = 'format = 1\nmodel = "m.onnx"\n'
CC = "[[cc]]\nnumber = 20\ntarget = 'gain'\nlow = -6\nhigh = 0\n"


@pytest.fixture
def write(tmp_path):
    def toml(text, name="made.toml"):
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return toml


def refusal(call, *arguments):
    with pytest.raises(UserError) as caught:
        call(*arguments)
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) - sum(len(str(argument)) for argument in arguments) < 600  # a folder has any length
    return message


def test_whole_numbers_may_be_written_with_and_without_a_point(tmp_path):
    path = tmp_path / "p.toml"
    bands = [[0, 1]] * 32
    path.write_text(
        f"{HEAD}knobs = [20.0]\n[play]\nvoices = 3.0\ngain_db = 6\n"
        f"velocity_levels = [[64.0, -3]]\nimage_bands = {bands}\n"
    )
    preset = read_preset(path)
    assert (preset.knobs, preset.play.voices, preset.play.gain_db) == ([20], 3, 6.0)
    assert (preset.play.velocity_levels, preset.play.image_bands) == ([(64, -3.0)], [(0.0, 1.0)] * 32)


WRONG = {
    "": "format is missing; add it",
    "format = 1": "model",
    "format = 1\nmodel = 5": "model",
    'format = 2\nmodel = "m"': "update timbrel",
    'format = 0\nmodel = "m"': "format",
    'format = "1"\nmodel = "m"': "format",
    'format = 1\nmodle = "m"': "unknown key 'modle'; did you mean 'model'?",
    HEAD + "colour = 1": "unknown key 'colour'",
    HEAD + "model_sha = 'x'": "did you mean 'model_sha256'?",
    HEAD + "model_sha256 = 'x'": "model_sha256",
    HEAD + "[latents]\nvalues = [1.0]": "unknown key 'latents'; did you mean 'latent'?",
    HEAD + "[latent]\nvalue = [1.0]": "unknown key 'latent.value'; did you mean 'values'?",
    HEAD + "[latent]\nvalues = 1.0": "latent.values",
    HEAD + "[latent]\nvalues = ['a']": "line 4: latent.values, number 1",
    HEAD + "[latent]\nvalues = [nan]": "line 4: latent.values, number 1",
    HEAD + "[latent]\nvalues = [inf]": "line 4: latent.values, number 1",
    HEAD + "[latent]\nvalues = [0, 1e308]": "line 4: latent.values, number 2",
    HEAD + '[[motion]]\ntarget = "latent.1"\ndepth = 1e308': "line 5: [[motion]] 1: depth",
    HEAD + "[morph]\nvalues = [-2e6]": "line 4: morph.values, number 1",
    HEAD + "[process]\nshift = [1e7]": "line 4: process.shift, number 1",
    HEAD + "[play]\nvoice = 3": "unknown key 'play.voice'; did you mean 'voices'?",
    HEAD + "[play]\nvoices = 0": "play.voices",
    HEAD + "[play]\nvoices = 65": "play.voices",
    HEAD + "[play]\nvoices = 2.5": "play.voices",
    HEAD.replace("1", "true"): "line 1: format = True",
    HEAD + "[play]\nvoices = true": "line 4: play.voices = True should be a valid integer",
    HEAD + "[play]\nvoices = '3'": "line 4: play.voices = '3' should be a valid integer",
    HEAD + "[play]\ngain_db = '-12'": "line 4: play.gain_db = '-12' should be a valid number",
    HEAD + "[play]\nlegato = 'yes'": "line 4: play.legato = 'yes' should be a valid boolean",
    HEAD + "[play]\nvelocity_levels = [[1, -3], ['64', 0]]": "velocity_levels, number 2, number 1 = '64' should be",
    HEAD + "[envelope]\nsustain = false": "line 4: envelope.sustain = False should be a valid number",
    HEAD + "[mpe]\nenabled = 1": "line 4: mpe.enabled = 1 should be a valid boolean",
    HEAD + "[latent]\nvalues = [1, true]": "line 4: latent.values, number 2 = True should be a valid number",
    HEAD + CC.replace("20", "'20'"): "[[cc]] 1: number = '20' should be a valid integer",
    HEAD + "knobs = [20, true]": "line 3: knobs, number 2 = True should be a valid integer",
    HEAD + "[[keys]]\nkey = true\nlabel = 'a'": "line 4: [[keys]] 1: key = True should be a valid integer",
    HEAD + "[[effects]]\nplugin = 'Reverb'\non = 1": "line 5: [[effects]] 1: on = 1 should be a valid boolean",
    HEAD + "[play]\nmode = 'duo'": "= 'duo' should be 'poly', 'mono' or 'chord'",
    HEAD + "[play]\nphase = 'stored'": "'noise'",
    HEAD + "[play]\ngain_db = 13": "play.gain_db",
    HEAD + "[play]\ngain_db = nan": "play.gain_db",
    HEAD + "[play]\npan = -1.1": "play.pan",
    HEAD + "[play]\nbend_range_semitones = -1": "play.bend_range_semitones",
    HEAD + "[envelope]\nattack = 1": "unknown key 'envelope.attack'; did you mean 'attack_seconds'?",
    HEAD + "[envelope]\nattack_seconds = -0.1": "envelope.attack_seconds",
    HEAD + "[envelope]\nattack_seconds = 11": "envelope.attack_seconds",
    HEAD + "[envelope]\nsustain = 1.1": "envelope.sustain",
    HEAD + "[envelope]\nrelease_seconds = inf": "envelope.release_seconds",
    HEAD + CC.replace("20", "200"): "line 4: [[cc]] 1: number = 200 should be less than or equal to 127",
    HEAD + CC.replace("20", "-1"): "[[cc]] 1: number",
    HEAD + CC.replace("20", "20.5"): "[[cc]] 1: number",
    HEAD + CC.replace("number", "numbre"): "[[cc]] 1: unknown key 'numbre'; did you mean 'number'?",
    HEAD + CC + "span = 1": "[[cc]] 1: unknown key 'span'",
    HEAD + CC + "curve = 0": "[[cc]] 1: curve",
    HEAD + CC + "curve = -2": "[[cc]] 1: curve",
    HEAD + CC.replace("low = -6", "low = nan"): "[[cc]] 1: low",
    HEAD + CC.replace("high = 0", "high = inf"): "[[cc]] 1: high",
    HEAD + CC + CC: "CC 20 is mapped to 'gain' twice",
    HEAD + "cc = 5": "cc",
    HEAD + "[[effect]]\nplugin = 'Reverb'": "unknown key 'effect'; did you mean 'effects'?",
    HEAD + "[[effects]]\nroom_size = 0.5": "[[effects]] 1: plugin is missing",
    "format = ": "is not TOML",
    "format 1": "is not TOML",
    HEAD + HEAD: "is not TOML",
    "x = " + "[" * 20_000: "is not TOML",
    "format = " + "9" * 5000: "is not TOML",
}


@pytest.mark.parametrize("text", WRONG, ids=range(len(WRONG)))
def test_a_wrong_preset_is_refused_with_the_key_and_what_is_allowed(write, text):
    path = write(text)
    message = refusal(read_preset, path)
    assert str(path) in message
    assert WRONG[text] in message


@pytest.mark.parametrize("number", sorted(RESERVED_CC))
def test_controllers_with_a_fixed_meaning_cannot_be_mapped(write, number):
    message = refusal(read_preset, write(HEAD + CC.replace("20", str(number))))
    assert f"CC {number} has a fixed meaning in MIDI; use another" in message


def test_files_that_are_no_preset_are_refused(tmp_path, write):
    assert "does not exist" in refusal(read_preset, tmp_path / "none.toml")
    assert "is a folder; give the preset file in it" in refusal(read_preset, tmp_path)
    assert "none.toml" in refusal(read_preset, write(HEAD) / "none.toml")  # a file where a folder should be
    (tmp_path / "binary.toml").write_bytes(bytes(range(256)))
    assert "is not UTF-8" in refusal(read_preset, tmp_path / "binary.toml")


NUMBER = st.floats(-1e6, 1e6, allow_subnormal=False)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
ENTRIES = st.lists(
    st.builds(
        CCMap,
        number=st.integers(0, 127).filter(lambda number: number not in RESERVED_CC),
        target=TEXT,
        low=NUMBER,
        high=NUMBER,
        curve=st.floats(0.01, 16),
    ),
    max_size=4,
    unique_by=lambda entry: (entry.number, entry.target),
)
EFFECTS = st.lists(
    st.builds(
        lambda plugin, room, mode: Effect.model_validate({"plugin": plugin, "room_size": room, "mode": mode}),
        TEXT,
        NUMBER,
        TEXT,
    ),
    max_size=3,
)
PRESETS = st.builds(
    Preset,
    format=st.just(1),
    model=TEXT,
    description=TEXT,
    model_sha256=st.none() | st.from_regex("[0-9a-f]{64}", fullmatch=True),
    latent=st.builds(LatentSettings, values=st.none() | st.lists(NUMBER, max_size=8)),
    play=st.builds(
        PlaySettings,
        mode=st.sampled_from(["poly", "mono"]),
        voices=st.integers(1, 64),
        gain_db=st.floats(-60, 12, allow_subnormal=False),
        pan=st.floats(-1, 1, allow_subnormal=False),
    ),
    envelope=st.builds(EnvelopeSettings, attack_seconds=st.floats(0, 10, allow_subnormal=False)),
    cc=ENTRIES,
    effects=EFFECTS,
)


@given(PRESETS)
def test_a_preset_reads_back_as_it_was_written(tmp_path_factory, preset):
    path = tmp_path_factory.mktemp("round") / "trip.toml"
    path.write_text(preset.to_toml("what it is"), encoding="utf-8")
    assert read_preset(path) == preset


def test_what_is_not_set_is_not_written():
    text = Preset(format=1, model="m").to_toml()
    assert tomllib.loads(text) == {"format": 1, "model": "m"}


def test_the_heading_is_the_first_line_and_a_comment():
    assert Preset(format=1, model="m").to_toml("Plain keys.").splitlines()[0] == "# Plain keys."


@pytest.fixture
def beside(tmp_path, tiny_path):
    """The smallest model, copied into the test's folder as ``m.onnx``."""
    path = tmp_path / "m.onnx"
    path.write_bytes(tiny_path().read_bytes())
    return path


def test_a_preset_opens_the_model_beside_it(write, beside):
    patch = open_patch(str(write(HEAD)))
    assert patch.model.path == beside
    assert patch.name == "made"
    assert patch.warnings == ()


@pytest.mark.parametrize("name", ["../m.onnx", "./m.onnx", "sub/../../m.onnx", "sub/deep/../../../m.onnx"])
def test_a_model_path_may_go_up(tmp_path, beside, name):
    (tmp_path / "presets" / "sub" / "deep").mkdir(parents=True)
    path = tmp_path / "presets" / "up.toml"
    name = name.replace("./m", str(beside.parent / "m")) if name.startswith("./") else name
    path.write_text(f'format = 1\nmodel = "{name}"\n')
    assert open_patch(str(path)).model.path == beside.resolve()


def test_a_missing_model_is_named_with_where_it_was_looked_for(write, tmp_path):
    message = refusal(open_patch, str(write('format = 1\nmodel = "lost.onnx"\n')))
    assert "'lost.onnx'" in message
    assert str(tmp_path / "lost.onnx") in message


def test_a_latent_list_of_the_wrong_length_is_refused_with_both_lengths(write, beside):
    for values in ("[]", "[0.5]", "[0.5, 0.5, 0.5]"):
        path = write(HEAD + f"[latent]\nvalues = {values}\n")
        message = refusal(open_patch, str(path))
        assert str(path) in message
        assert "has 2 latents" in message


def test_another_model_under_the_name_is_warned_of_and_still_plays(write, beside):
    mine = hashlib.sha256(beside.read_bytes()).hexdigest()
    assert open_patch(str(write(HEAD + f'model_sha256 = "{mine}"\n'))).warnings == ()
    patch = open_patch(str(write(HEAD + f'model_sha256 = "{"0" * 64}"\n')))
    assert len(patch.warnings) == 1
    assert "\n" not in patch.warnings[0]
    assert mine in patch.warnings[0]
    assert Rack({0: patch}, 22050).process([], 10)[0].shape == (2, 10)


TARGETS = {
    "latent.2": "CC 20 to 'latent.2': target 'latent.2' does not exist; did you mean 'latent.",
    "latent.-1": "does not exist",
    "latent": "does not exist",
    "gian": "did you mean 'gain'?",
    "envelope.attack": "did you mean 'envelope.attack_seconds'?",
    "effects.0.rom_size": "did you mean 'effects.0.room_size'?",
    "effects.1.room_size": "does not exist",
    "": "does not exist",
}


@pytest.mark.parametrize("target", TARGETS)
def test_a_target_that_does_not_exist_is_refused_with_the_nearest(write, beside, target):
    entry = CC.replace("'gain'", f"'{target}'").replace("low = -6", "low = 0")
    path = write(HEAD + entry + "[[effects]]\nplugin = 'Reverb'\n")
    message = refusal(open_patch, str(path))
    assert TARGETS[target] in message
    assert f"{path}, line 5: [[cc]] 1" in message


def test_every_target_of_play_and_envelope_rests_where_its_own_key_says():
    keys = {"gain": "gain_db"}
    play = PlaySettings(image=1.5, gain_db=-3.0, pan=0.25)
    envelope = EnvelopeSettings(attack_seconds=1.0, decay_seconds=2.0, sustain=0.5, release_seconds=3.0)
    rests = play.values() | envelope.values()
    assert rests.keys() == PLAY_CONTROLS.keys()
    for target, value in rests.items():
        table, key = (envelope, target.partition(".")[2]) if "." in target else (play, keys.get(target, target))
        assert value == getattr(table, key)
    assert len(set(rests.values())) == len(rests)


@pytest.mark.parametrize(
    "control", [each for each in PLAY_CONTROLS.values() if each.name != "image"], ids=lambda c: c.name
)
@pytest.mark.parametrize("end", ["low", "high"])
def test_a_knob_beyond_what_its_control_allows_is_refused_with_the_range(write, beside, control, end):
    low, high = (control.low - 1, control.high) if end == "low" else (control.low, control.high + 1)
    fields = f"[[cc]]\nnumber = 20\ntarget = '{control.name}'\nlow = {low}\nhigh = {high}\n"
    message = refusal(open_patch, str(write(HEAD + fields)))
    assert f"line {6 if end == 'low' else 7}: [[cc]] 1, CC 20" in message
    assert f"[{control.low:g}, {control.high:g}]" in message


def test_a_latent_may_be_turned_beyond_what_training_filled(write, beside):
    fields = "[[cc]]\nnumber = 20\ntarget = 'latent.0'\nlow = -3\nhigh = 4\n"
    Rack({0: open_patch(str(write(HEAD + fields)))}, 22050)


@pytest.mark.parametrize(
    ("effect", "words"),
    [
        ("plugin = 'Reverbe'", "did you mean 'Reverb'?"),
        ("plugin = 'Reverb'\nroom = 1", "did you mean 'room_size'?"),
        ("plugin = 'Reverb'\nroom_size = 2", "out of range [0, 1]"),
        ("plugin = 'nothing.vst3'", "there is no plugin at"),
    ],
)
def test_a_wrong_effect_is_refused_with_its_preset(write, beside, effect, words):
    path = write(HEAD + f"[[effects]]\n{effect}\n")
    message = refusal(lambda: Rack({0: open_patch(str(path))}, 22050))
    assert words in message
    assert "made" in message


def test_a_name_that_is_nothing_is_refused(tmp_path):
    assert "no preset, model or file is named" in refusal(open_patch, "no-such-thing")
    assert "does not exist" in refusal(open_patch, str(tmp_path / "no.toml"))
    assert "does not exist" in refusal(open_patch, str(tmp_path / "no.onnx"))
    assert "is a folder without preset.toml" in refusal(open_patch, str(tmp_path))


def test_a_bare_model_plays_its_default_code_with_knobs_over_its_spans(tiny_path):
    patch = open_patch(str(tiny_path(latents=8)))
    assert patch.preset.latent_values(patch.model.card) == [0.5] * 8
    assert [(k.number, k.target, k.low, k.high) for k in patch.preset.cc] == [
        (70 + i, f"latent.{i}", 0.0, 1.0) for i in range(8)
    ]


def test_every_shipped_preset_opens_without_warning_and_is_playable():
    for name in shipped_presets():
        patch = open_patch(name)
        assert patch.warnings == ()
        assert patch.preset.description
        assert patch.preset.model_sha256 == patch.model.sha256
        Rack({0: patch}, 48000)


def test_every_shipped_model_opens_by_its_name_and_proves_itself():
    for name, path in shipped_models().items():
        patch = open_patch(name)
        assert find_model(name) == path == patch.model.path
        assert patch.model.verify().passed
        assert not name.endswith(".encoder")
