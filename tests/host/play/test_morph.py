"""Morphs: both ways in closed form, ends to the bit, what moves them, what stops them, and their sound in blocks."""

import pickle

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from timbrel.host.errors import UserError
from timbrel.host.events import Clock, ControlChange, NoteOff, NoteOn
from timbrel.host.play.motion_sources import great_circle, straight
from timbrel.host.play.motions import Latents
from timbrel.host.preset.library import morph_of, open_patch
from timbrel.host.preset.loading import read_preset
from timbrel.host.preset.motions import MorphTarget
from timbrel.host.ramps import RAMP_SECONDS

RATE = 22050
RAMP = round(RAMP_SECONDS * RATE)
HERE, THERE = [0.2, 0.6], [0.9, 0.3]
SPANS = [(-1.0, 3.0), (0.0, 1.0), (0.5, 0.75), (-8.0, -2.0)]
MIDDLES = np.array([1.0, 0.5, 0.625, -5.0])
HALVES = np.array([2.0, 0.5, 0.125, 3.0])
PART = st.floats(0, 1, allow_subnormal=False)
PLACES = st.lists(st.floats(-1, 1, allow_subnormal=False), min_size=4, max_size=4)
WHEEL = {"number": 1, "target": "morph", "low": 0.0, "high": 1.0}


def code(place):
    """The code at a place that is counted from the middles, in half spans."""
    return (MIDDLES + HALVES * np.array(place)).tolist()


def place_of(found):
    return (np.array(found) - MIDDLES) / HALVES


def angle_between(first, then):
    cosine = np.dot(first, then) / np.linalg.norm(first) / np.linalg.norm(then)
    return np.arccos(np.clip(cosine, -1, 1))


@pytest.mark.parametrize("way", [straight, great_circle])
@given(PLACES, PLACES)
def test_both_ends_are_exact_to_the_bit(way, first, then):
    assert way(code(first), code(then), 0.0, SPANS) == code(first)
    assert way(code(first), code(then), 1.0, SPANS) == code(then)


@given(PLACES, PLACES, PART)
def test_a_straight_way_is_the_weighted_mean(first, then, part):
    expected = (1 - part) * np.array(code(first)) + part * np.array(code(then))
    assert straight(code(first), code(then), part, SPANS) == pytest.approx(expected, abs=1e-12)


@given(PLACES, PLACES, PART)
def test_a_great_circle_turns_and_grows_evenly(first, then, part):
    radii = np.linalg.norm(first), np.linalg.norm(then)
    assume(min(radii) > 0.06)
    angle = angle_between(first, then)
    assume(0.01 < angle < np.radians(160))
    found = place_of(great_circle(code(first), code(then), part, SPANS))
    assert np.linalg.norm(found) == pytest.approx((1 - part) * radii[0] + part * radii[1], abs=1e-9)
    assert angle_between(first, found) == pytest.approx(part * angle, abs=1e-6)
    assert angle_between(found, then) == pytest.approx((1 - part) * angle, abs=1e-6)


@given(PART)
def test_a_quarter_of_a_circle_is_cosine_and_sine(part):
    found = place_of(great_circle(code([0.8, 0, 0, 0]), code([0, 0.8, 0, 0]), part, SPANS))
    angle = part * np.pi / 2
    assert found == pytest.approx([0.8 * np.cos(angle), 0.8 * np.sin(angle), 0, 0], abs=1e-12)


@given(PLACES, PART, PART)
def test_opposite_codes_codes_in_one_direction_and_the_centre_are_joined_straight(place, share, part):
    for other in (-share * np.array(place), share * np.array(place), np.zeros(4)):
        for ends in ((code(place), code(other)), (code(other), code(place))):
            found, line = (way(*ends, part, SPANS) for way in (great_circle, straight))
            assert place_of(found) == pytest.approx(place_of(line), abs=1e-6)


@given(PLACES, PLACES, PLACES, PART)
def test_the_least_move_of_a_knob_moves_a_great_circle_little_wherever_it_is(first, then, toward, part):
    step = 1e-7
    moved = np.array(first) + step * np.array(toward)
    before, after = (place_of(great_circle(code(f), code(then), part, SPANS)) for f in (first, moved))
    assert np.abs(after - before).max() < 1000 * step


def test_a_knob_that_passes_the_centre_or_the_opposite_of_the_other_end_makes_no_step():
    for passing in (
        [[x, 0, 0, 0] for x in np.linspace(-1, 1, 4001)],
        [[-1, y, 0, 0] for y in np.linspace(-1, 1, 4001)],
    ):
        found = np.array([place_of(great_circle(code(p), code([1, 1e-9, 0, 0]), 0.5, SPANS)) for p in passing])
        assert np.abs(np.diff(found, axis=0)).max() < 30 * 2 / 4000


@pytest.fixture(scope="session")
def make_latents(make_preset, tiny):
    """A function that makes the latents of a preset that morphs from HERE to THERE, on a model whose span is 0 to 1."""

    def make(*motions, shape="linear", far=THERE, near=HERE):
        return Latents(near, tiny().card, make_preset(motion=list(motions)).motion, morph=MorphTarget(far, shape))

    return make


@pytest.mark.parametrize("shape", ["linear", "spherical"])
def test_a_morph_begins_at_the_knobs_and_leads_to_the_other_end_in_a_knobs_ramp(make_latents, shape):
    latents = make_latents(shape=shape)
    assert latents.row(0) == tuple(HERE)
    latents.turn(1000, "morph", 1.0)
    assert latents.row(1000) == tuple(HERE)
    assert latents.row(1000 + RAMP) == tuple(THERE)
    way = {"linear": straight, "spherical": great_circle}[shape]
    halfway = way(HERE, THERE, 0.5, [(0.0, 1.0)] * 2)
    assert latents.row(1000 + RAMP // 2) == pytest.approx(halfway, abs=0.01)
    assert np.abs(np.diff([latents.row(time) for time in range(900, 1600)], axis=0)).max() < 2 / RAMP


def test_a_knob_acts_on_its_own_end_of_the_morph(make_latents):
    latents = make_latents()
    latents.turn(0, "morph", 0.25)
    latents.turn(0, "latent.0", 0.8)
    assert latents.row(RAMP) == pytest.approx((0.75 * 0.8 + 0.25 * 0.9, 0.75 * 0.6 + 0.25 * 0.3))


def test_motion_is_added_after_the_morph_and_the_sum_stays_in_the_span(make_latents):
    swing = {"target": "latent.0", "shape": "sine", "depth": 0.3, "rate_hz": 1.0}
    latents = make_latents(swing)
    latents.turn(0, "morph", 1.0)
    assert latents.row(RATE // 4) == (1.0, 0.3)
    assert latents.row(3 * RATE // 4) == pytest.approx((0.6, 0.3))


def test_a_great_circle_that_bulges_stays_in_the_span(make_latents):
    latents = make_latents(shape="spherical", near=[1.0, 1.0], far=[1.0, 0.0])
    latents.turn(0, "morph", 0.5)
    assert latents.row(RAMP) == pytest.approx((1.0, 0.5))


@given(st.integers(0, 10**6))
def test_a_motion_of_the_morph_swings_it_between_its_ends(make_latents, time):
    latents = make_latents({"target": "morph", "low": 0.0, "high": 1.0, "rate_hz": 0.5})
    amount = 0.5 + 0.5 * np.sin(np.pi * time / RATE)
    expected = (1 - amount) * np.array(HERE) + amount * np.array(THERE)
    assert latents.row(time) == pytest.approx(expected, abs=1e-9)


def test_a_motion_of_the_morph_adds_to_its_knob_and_stops_at_its_ends(make_latents):
    latents = make_latents({"target": "morph", "shape": "square", "depth": 0.25, "rate_hz": 1.0})
    latents.turn(0, "morph", 0.9)
    assert latents.row(RATE // 4) == tuple(THERE)
    assert latents.row(3 * RATE // 4) == pytest.approx(straight(HERE, THERE, 0.65, []))
    assert latents.row(RATE + RATE // 4) == tuple(THERE)


def test_a_morph_that_follows_the_beat_glides_when_the_beat_begins_anew(make_latents):
    latents = make_latents({"target": "morph", "shape": "triangle", "low": 0.0, "high": 1.0, "beats": 4.0})
    latents.keep_time(Clock(5000, "start"))
    rows = np.array([latents.row(time) for time in range(4000, 7000)])
    assert np.abs(np.diff(rows, axis=0)).max() < 2 / RAMP
    assert rows[-1] == pytest.approx(straight(HERE, THERE, 0.5, []), abs=0.05)


def test_a_path_takes_the_place_of_a_morph(make_latents):
    latents = make_latents({"path": [[0.4, 0.4]] * 2, "rate_hz": 1.0})
    latents.turn(0, "morph", 1.0)
    assert latents.row(RAMP) == (0.4, 0.4)


@given(st.integers(0, 10**6))
def test_the_legs_of_a_path_may_be_great_circles(make_preset, tiny, time):
    corners = [[0.9, 0.5], [0.5, 0.9], [0.1, 0.5], [0.5, 0.1]]
    round_trip = {"path": corners, "legs": "spherical", "rate_hz": 1.0}
    latents = Latents([0.5, 0.5], tiny().card, make_preset(motion=[round_trip]).motion)
    angle = 2 * np.pi * time / RATE
    assert latents.row(time) == pytest.approx((0.5 + 0.4 * np.cos(angle), 0.5 + 0.4 * np.sin(angle)), abs=1e-9)


def test_what_is_past_of_a_morph_is_forgotten_and_changes_nothing_to_come(make_latents):
    kept, forgetful = make_latents(), make_latents()
    for time in range(0, 40_000, 100):
        for latents in (kept, forgetful):
            latents.turn(time, "morph", time % 700 / 700)
        forgetful.forget(time)
        assert forgetful.row(time + 50) == kept.row(time + 50)
    assert len(pickle.dumps(forgetful)) < len(pickle.dumps(make_latents())) + 300 < len(pickle.dumps(kept))


@pytest.mark.parametrize("shape", ["linear", "spherical"])
def test_the_mod_wheel_at_both_ends_sounds_to_the_bit_as_the_presets_do(make_instrument, play, shape):
    note = NoteOn(2000, 0, 60, 100)
    morph = {"latent": {"values": HERE}, "morph": {"values": THERE, "shape": shape}, "cc": [WHEEL]}
    for value, ends in ((0, HERE), (127, THERE)):
        morphed = play(make_instrument(**morph), [ControlChange(0, 0, 1, value), note], 8000)
        assert np.array_equal(morphed, play(make_instrument(latent={"values": ends}), [note], 8000))
    assert make_instrument(**morph).current_latents() == pytest.approx(HERE)


@pytest.mark.parametrize("seed", range(3))
def test_a_morph_sounds_the_same_in_any_blocks(make_instrument, play, seed):
    rng = np.random.default_rng(seed)
    keys = {
        "latent": {"values": HERE},
        "morph": {"values": THERE, "shape": "spherical"},
        "cc": [WHEEL, {"number": 74, "target": "latent.0", "low": 0.0, "high": 1.0}],
        "motion": [
            {"target": "morph", "shape": "triangle", "depth": 0.3, "beats": 0.25},
            {"target": "latent.1", "shape": "random", "depth": 0.1, "rate_hz": 9.0},
        ],
    }
    events = [NoteOn(5, 0, 60, 100), NoteOn(900, 0, 67, 90), NoteOff(4000, 0, 60), Clock(3001, "start")]
    events += [
        ControlChange(int(time), 0, int(rng.choice([1, 74])), int(rng.integers(128)))
        for time in rng.integers(0, 6000, 30)
    ]
    events.sort(key=lambda event: event.time)
    whole = play(make_instrument(**keys), events, 6000)
    assert np.array_equal(whole, play(make_instrument(**keys), events, 6000, [1, 128, 777, 64]))
    assert whole.any()


def test_a_pickup_of_the_morph_waits_for_its_present_place(make_instrument):
    instrument = make_instrument(latent={"values": HERE}, morph={"values": THERE}, cc=[WHEEL | {"takeover": "pickup"}])
    instrument.process([ControlChange(0, 0, 1, 64), ControlChange(1, 0, 1, 127)], 2000)
    assert instrument.current_latents() == pytest.approx(HERE)
    instrument.process([ControlChange(2000, 0, 1, 0), ControlChange(2001, 0, 1, 127)], 2000)
    assert instrument.current_latents() == pytest.approx(THERE)


HEAD = "format = 1\nmodel = '{}'\n"


def test_a_preset_may_lead_to_another_file_beside_it_or_to_one_that_ships(tmp_path, tiny_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "far.toml").write_text(HEAD.format(tiny_path()) + "latent.values = [0.9, 0.3]\n")
    (tmp_path / "plain.toml").write_text(HEAD.format(tiny_path()))
    for to, expected in (("sub/far.toml", THERE), ("plain.toml", [0.5, 0.5])):
        (tmp_path / "near.toml").write_text(HEAD.format(tiny_path()) + f"morph.to = '{to}'\n")
        patch = open_patch(str(tmp_path / "near.toml"))
        assert patch.morph == MorphTarget(expected, "linear")
    card = open_patch("gm-keys").model.card
    to_strings = patch.preset.morph.model_copy(update={"to": "gm-strings"})
    assert morph_of(to_strings, card, tmp_path).end == open_patch("gm-strings").preset.latent.values


def test_without_a_morph_there_is_no_other_end(tiny, tmp_path):
    assert morph_of(None, tiny().card, tmp_path) is None


def refusal(call, *arguments):
    with pytest.raises(UserError) as caught:
        call(*arguments)
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ("[morph]", "morph: give one of to (a preset's name or path) and values"),
        ("[morph]\nto = 'gm-keys'\nvalues = [0.1]", "give one of to"),
        ("[morph]\nvalues = [0.1]\nshape = 'round'", "= 'round' should be 'linear' or 'spherical'"),
        ("[morph]\nvalues = [nan]", "morph.values, number 1"),
        ("[morph]\nvalue = [0.1]", "unknown key 'morph.value'; did you mean 'values'?"),
        (
            "[[motion]]\ntarget = 'latent.0'\ndepth = 0.1\nrate_hz = 1\nlegs = 'linear'",
            "[[motion]] 1: a target has no legs; leave it out",
        ),
        ("[[motion]]\npath = [[0.1], [0.2]]\nrate_hz = 1\nlegs = 'long'", "[[motion]] 1: legs"),
    ],
)
def test_a_wrong_morph_is_refused_with_what_is_allowed(tmp_path, lines, words):
    path = tmp_path / "made.toml"
    path.write_text(HEAD.format("m") + lines)
    assert words in refusal(read_preset, path)


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        (
            {"morph": {"values": [0.1] * 3}},
            "morph.values has 3 latents, model 'analytic' has 2; lead to a code of as many",
        ),
        ({"morph": {"values": []}}, "morph.values has 0 latents"),
        ({"morph": {"to": "gm-keys"}}, "morph.to 'gm-keys' has 8 latents, model 'analytic' has 2"),
        ({"morph": {"to": "none.toml"}}, "none.toml does not exist; list shipped presets with 'timbrel presets'"),
        ({"morph": {"to": "."}}, "morph.to '.': "),
        ({"cc": [WHEEL]}, "CC 1 to 'morph': the preset has no [morph]; add one whose 'to' or 'values' says where"),
        (
            {"motion": [{"target": "morph", "depth": 0.1, "rate_hz": 1.0}]},
            "[[motion]] 1: target 'morph': the preset has no [morph]; add one",
        ),
        ({"morph": {"values": THERE}, "cc": [WHEEL | {"high": 1.5}]}, "high = 1.5 is out of range [0, 1]"),
        ({"morph": {"values": THERE}, "cc": [WHEEL | {"target": "morf"}]}, "did you mean 'morph'?"),
    ],
)
def test_a_morph_that_does_not_fit_is_refused(make_instrument, keys, words):
    assert words in refusal(lambda: make_instrument(**keys))


def test_a_refused_morph_names_the_preset_that_asks_for_it(tmp_path, tiny_path):
    (tmp_path / "near.toml").write_text(HEAD.format(tiny_path()) + "morph.to = 'far.toml'\n")
    (tmp_path / "far.toml").write_text(HEAD.format(tiny_path()) + "latent.values = [0.1]\n")
    message = refusal(open_patch, str(tmp_path / "near.toml"))
    assert message.startswith("preset 'near', line 3: morph.to 'far.toml': latent.values has 1 numbers")


def test_a_preset_with_a_morph_reads_back_as_it_was_written(make_preset, tmp_path):
    preset = make_preset(morph={"to": "gm-keys", "shape": "spherical"}, tuning={"a4_hz": 442.0}, cc=[WHEEL])
    path = tmp_path / "made.toml"
    path.write_text(preset.to_toml())
    assert read_preset(path) == preset
