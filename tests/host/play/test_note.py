"""Velocity and key move targets for a note alone: as far as the table says, alike in any blocks and processes."""

import contextlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from timbrel.host.errors import UserError
from timbrel.host.events import ControlChange, NoteOff, NoteOn
from timbrel.host.model.model import Model
from timbrel.host.play import events as event_processor
from timbrel.host.play.rack import Rack
from timbrel.host.preset.controls import NoteSettings
from timbrel.host.preset.library import open_patch
from timbrel.host.preset.loading import read_preset

from ..clips import noise, save_clips
from .gestures import gestures, note, with_gestures

RATE = 22050
COUNT = 24_000
BRIGHT = {"source": "velocity", "target": "latent.0", "low": -0.4, "high": 0.4}
PLACED = {"source": "key", "target": "latent.1", "low": 0.3, "high": -0.3, "key_low": 36, "key_high": 96}
SHORT = {"source": "velocity", "target": "envelope.release_seconds", "low": 0.4, "high": 0.0}
CALM = {"source": "velocity", "target": "gesture.amount", "low": -1.0, "high": 0.0}
KNOB = {"number": 20, "target": "latent.0", "low": 0.0, "high": 1.0}
TUNE = [
    NoteOn(100, 0, 60, 127),
    NoteOn(3000, 0, 67, 40),
    ControlChange(5000, 0, 20, 90),
    NoteOff(9000, 0, 60),
    NoteOn(9500, 0, 60, 1),
    NoteOff(14_001, 0, 67),
    NoteOff(16_000, 0, 60),
]
HEAD = 'format = 1\nmodel = "gm-chroma-8"\n'
GIVEN = HEAD + '[[note]]\nsource = "velocity"\ntarget = "latent.0"\nlow = -0.1\nhigh = 0.1\n'


@pytest.fixture(scope="module")
def gestured(tiny_path, tmp_path_factory):
    """The smallest model with gestures."""
    return with_gestures(tiny_path(), tmp_path_factory.mktemp("gestured") / "model.onnx", gestures(note()))


@pytest.fixture
def struck(make_patch):
    """A function that gives the hands of a preset on which notes have been struck: (key, velocity)."""

    def strike(*notes, model=None, **keys):
        _, made = event_processor.engine_and_processor(make_patch(model, **keys))
        for key, velocity in notes:
            made.apply(NoteOn(0, 0, key, velocity))
        return made

    return strike


def codes(made, time=0):
    voices = list(made.voices)
    return made.motion_of(voices).latents(range(len(voices)), np.full(len(voices), time)).tolist()


def test_each_note_has_a_code_by_its_velocity_around_the_knobs(struck):
    made = struck((60, 1), (61, 64), (62, 127), note=[BRIGHT], latent={"values": [0.5, 0.2]})
    assert codes(made) == [pytest.approx(code) for code in ([0.1, 0.2], [0.5, 0.2], [0.9, 0.2])]


def test_a_key_counts_from_its_low_end_to_its_high_end_and_no_further(struck):
    made = struck((20, 1), (36, 127), (66, 1), (96, 1), (127, 64), note=[PLACED], latent={"values": [0.5, 0.5]})
    assert [code[1] for code in codes(made)] == pytest.approx([0.8, 0.8, 0.5, 0.2, 0.2])


def test_tables_of_one_target_add_up_within_its_span(struck):
    both = [BRIGHT, {**BRIGHT, "source": "key", "low": 0.0, "high": 1.27}]
    made = struck((0, 127), (20, 1), (100, 127), note=both, latent={"values": [0.5, 0.2]})
    assert [code[0] for code in codes(made)] == pytest.approx([0.9, 0.3, 1.0])


def test_knobs_and_motion_still_move_every_note_and_all_stays_in_the_span(struck):
    lfo = {"target": "latent.0", "shape": "square", "depth": 0.05, "beats": 4.0}
    made = struck((60, 1), (62, 127), note=[BRIGHT], motion=[lfo], cc=[KNOB], latent={"values": [0.5, 0.2]})
    assert [code[0] for code in codes(made, 4000)] == pytest.approx([0.15, 0.95])
    made.apply(ControlChange(5000, 0, 20, 127))
    assert [code[0] for code in codes(made, 6000)] == pytest.approx([0.6, 1.0])


def test_a_finger_moves_its_note_from_where_its_velocity_put_it(struck):
    made = struck(note=[BRIGHT], mpe={"enabled": True, "slide": "latent.0"}, latent={"values": [0.5, 0.2]})
    for event in (ControlChange(0, 1, 74, 127), NoteOn(0, 1, 60, 1), NoteOn(0, 2, 60, 1)):
        made.apply(event)
    assert [code[0] for code in codes(made)] == pytest.approx([1.0, 0.1])


def test_a_gesture_goes_from_where_the_velocity_put_the_note(struck, gestured):
    plain, moved = (
        codes(struck((60, 127), model=gestured, note=table, latent={"values": [0.3, 0.2]}), 30_000)[0][0]
        for table in ([], [BRIGHT])
    )
    assert moved - plain == pytest.approx(0.4)


def test_a_legato_voice_keeps_what_its_first_note_gave_it(struck):
    play = {"mode": "mono", "legato": True}
    made = struck((60, 1), (64, 127), note=[BRIGHT], play=play, latent={"values": [0.5, 0.2]})
    assert [code[0] for code in codes(made)] == pytest.approx([0.1])
    made = struck((60, 1), (64, 127), note=[BRIGHT], play={"mode": "mono"}, latent={"values": [0.5, 0.2]})
    assert codes(made)[-1][0] == pytest.approx(0.9)


def test_an_envelope_is_the_dials_and_the_notes_own_within_its_range(struck):
    tables = [
        SHORT,
        {"source": "velocity", "target": "envelope.attack_seconds", "low": 0.5, "high": -5.0},
        {"source": "velocity", "target": "envelope.sustain", "low": -0.5, "high": 0.5},
        {"source": "key", "target": "envelope.decay_seconds", "low": 0.0, "high": 1.27},
    ]
    envelope = {"attack_seconds": 0.1, "decay_seconds": 0.2, "sustain": 0.7, "release_seconds": 0.1}
    made = struck((0, 1), (100, 127), note=tables, envelope=envelope)
    for key in (0, 100):
        made.apply(NoteOff(30_000, 0, key))
    soft, loud = (voice.envelope for voice in made.voices)
    assert (soft.attack, soft.decay, soft.release) == tuple(round(s * RATE) for s in (0.6, 0.2, 0.5))
    assert (loud.attack, loud.decay, loud.release) == tuple(round(s * RATE) for s in (0.001, 1.2, 0.1))
    assert (soft.sustain, loud.sustain) == pytest.approx((0.2, 1.0))


def test_a_gesture_goes_as_much_of_its_way_as_the_velocity_says(make_instrument, play, gestured):
    events = [NoteOn(10, 0, 60, 1)]
    soft = play(make_instrument(RATE, gestured, note=[CALM]), events, 4000)
    assert np.array_equal(soft, play(make_instrument(RATE, gestured, gesture={"amount": 0.0}), events, 4000))
    events = [NoteOn(10, 0, 60, 127)]
    assert np.array_equal(
        play(make_instrument(RATE, gestured, note=[CALM]), events, 4000),
        play(make_instrument(RATE, gestured), events, 4000),
    )


@pytest.mark.parametrize("kind", ["spectrum", "grain"])
def test_a_velocity_sounds_as_the_knob_that_stands_there(make_instrument, play, tiny, make_allpass, kind):
    model = tiny() if kind == "spectrum" else make_allpass("grain", frame_length=64, hop_length=16)
    latents = len(model.card.latents)
    place, table = latents // 2, BRIGHT | {"target": f"latent.{latents // 2}"}  # a grain's edges are silent
    for velocity, value in ((1, 0.1), (127, 0.9)):
        keys, events = {"play": {"velocity_curve": 0.0}}, [NoteOn(10, 0, 60, velocity)]
        rest = {"values": [0.5] * latents}
        own = play(make_instrument(RATE, model, note=[table], latent=rest, **keys), events, 6000)
        turned = {"values": [value if index == place else 0.5 for index in range(latents)]}
        there = play(make_instrument(RATE, model, latent=turned, **keys), events, 6000)
        between = play(make_instrument(RATE, model, latent=rest, **keys), events, 6000)
        assert own == pytest.approx(there, abs=1e-4)
        assert own != pytest.approx(between, abs=1e-3)


@pytest.mark.parametrize("mode", ["poly", "mono", "chord"])
@pytest.mark.parametrize("sizes", [[1, 7, 64, 128], [4096], [333]])
@pytest.mark.parametrize("tables", [[BRIGHT, PLACED, SHORT], [BRIGHT, CALM]], ids=["plain", "gestured"])
def test_any_division_into_blocks_gives_the_same_bytes(make_instrument, play, gestured, tiny, mode, sizes, tables):
    model = gestured if CALM in tables else tiny()
    keys = {"play": {"mode": mode}, "note": tables, "cc": [KNOB]}
    whole = play(make_instrument(RATE, model, **keys), TUNE, COUNT)
    assert whole.any()
    assert np.array_equal(play(make_instrument(RATE, model, **keys), TUNE, COUNT, sizes), whole)


def test_processes_that_share_the_voices_give_the_same_bytes(make_patch, gestured):
    sounds = []
    for processes in (1, 2):
        patch = make_patch(gestured, note=[BRIGHT, PLACED, CALM, SHORT])
        with contextlib.closing(Rack({0: patch}, RATE, processes)) as rack:
            rack.schedule(TUNE, COUNT)
            sounds.append(np.concatenate([rack.process([], 3000)[0] for _ in range(8)], axis=1))
    assert sounds[0].any()
    assert np.array_equal(*sounds)


def test_a_preset_without_the_table_shares_what_it_decodes_as_before(struck):
    """Only notes that may have codes of their own ask for rows of their own."""
    assert not struck((60, 1), (62, 127)).motion_of([]).own_codes
    assert not struck((60, 1), note=[SHORT]).motion_of([]).own_codes
    assert struck((60, 1), note=[BRIGHT]).motion_of([]).own_codes


@given(
    st.integers(1, 127),
    st.integers(0, 127),
    st.integers(-1_000_000, 1_000_000),
    st.integers(-1_000_000, 1_000_000),
    st.integers(1, 160),
    st.sampled_from(["velocity", "key"]),
)
def test_what_is_added_is_an_end_at_the_ends_and_lies_between_them(velocity, key, low, high, tenths, source):
    curve = tenths / 10
    settings = NoteSettings(source=source, target="latent.0", low=low, high=high, curve=curve)
    added = settings.added(velocity, key)
    assert min(low, high) - 1e-6 <= added <= max(low, high) + 1e-6
    assert settings.added(1, 0) == low
    assert settings.added(127, 127) == high
    middle = (velocity - 1) / 126 if source == "velocity" else key / 127
    assert added == pytest.approx(low + (high - low) * middle**curve, abs=1e-6 * (abs(low) + abs(high) + 1))


WRONG = {
    GIVEN + "curve = 0": "[[note]] 1: curve",
    GIVEN + "curve = 17": "[[note]] 1: curve",
    GIVEN + "curv = 1": "[[note]] 1: unknown key 'curv'; did you mean 'curve'",
    GIVEN.replace("velocity", "wheel"): "[[note]] 1: source",
    GIVEN.replace("low = -0.1\n", ""): "[[note]] 1: low is missing",
    GIVEN.replace("high = 0.1\n", ""): "[[note]] 1: high is missing",
    GIVEN.replace("high = 0.1", "high = nan"): "[[note]] 1: high",
    GIVEN.replace("high = 0.1", "high = 1e9"): "[[note]] 1: high",
    GIVEN.replace('target = "latent.0"\n', ""): "[[note]] 1: target is missing",
    GIVEN + "key_low = 3": "[[note]] 1: key_low of a source of velocity; give source = 'key', or leave it out",
    GIVEN.replace("velocity", "key") + "key_low = 128": "[[note]] 1: key_low",
    GIVEN.replace("velocity", "key") + "key_low = 60\nkey_high = 60": "key_low 60 must be below key_high 60",
    GIVEN + GIVEN.removeprefix(HEAD): "[[note]] 2: velocity moves 'latent.0' twice; remove one [[note]]",
    GIVEN.replace("[[note]]", "[note]"): "[note] is one of several: write [[note]], with two brackets",
}


@pytest.mark.parametrize("text", WRONG, ids=range(len(WRONG)))
def test_a_wrong_table_is_refused_with_what_is_allowed(tmp_path, text):
    path = tmp_path / "made.toml"
    path.write_text(text)
    with pytest.raises(UserError) as caught:
        read_preset(path)
    assert WRONG[text] in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("latent.9", "[[note]] 1: target 'latent.9' is none that a note has for itself; did you mean 'latent."),
        ("gain", "[[note]] 1: target 'gain' is none that a note has for itself"),
        ("envelope.attack", "did you mean 'envelope.attack_seconds'"),
        ("grain.pitch", "target 'grain.pitch' is none that a note has for itself"),
    ],
)
def test_a_target_that_no_note_has_is_refused(make_instrument, target, words):
    with pytest.raises(UserError) as caught:
        make_instrument(note=[{**BRIGHT, "target": target}])
    assert words in str(caught.value)


def test_latents_of_sounds_that_are_made_before_their_keys_are_refused(make_instrument, tmp_path):
    clips = Model(save_clips(tmp_path / "clips.onnx", noise(1), [noise(2), noise(3)]))
    with pytest.raises(UserError) as caught:
        make_instrument(model=clips, note=[BRIGHT])
    assert "is of kind 'clip', whose sounds are made before their keys go down" in str(caught.value)
    make_instrument(model=clips, note=[SHORT])


def test_a_table_for_gestures_that_there_are_none_of_says_so(tiny_path, tmp_path):
    preset = tmp_path / "a.toml"
    table = '[[note]]\nsource = "velocity"\ntarget = "gesture.amount"\nlow = 0\nhigh = 1\n'
    preset.write_text(f'format = 1\nmodel = "{tiny_path()}"\n{table}', encoding="utf-8")
    assert any(
        "[[note]] of gesture.amount, and model" in line and "has no gestures: it does nothing" in line
        for line in open_patch(str(preset)).warnings
    )


def test_info_tells_what_notes_of_a_preset_have_of_their_own(timbrel, tiny_path, tmp_path):
    preset = tmp_path / "a.toml"
    tables = '[[note]]\nsource = "velocity"\ntarget = "latent.0"\nlow = -0.25\nhigh = 0.5\n'
    tables += (
        '[[note]]\nsource = "key"\ntarget = "envelope.sustain"\nlow = 0\nhigh = -0.5\nkey_low = 60\nkey_high = 72\n'
    )
    preset.write_text(f'format = 1\nmodel = "{tiny_path()}"\n{tables}', encoding="utf-8")
    told = timbrel("info", str(preset)).out
    assert told.endswith(
        "notes of the preset\n"
        "  velocity adds -0.25 to 0.5 to latent.0\n"
        "  key 60 to 72 adds 0 to -0.5 to envelope.sustain\n"
    )
    assert told.startswith(timbrel("info", str(tiny_path())).out)
