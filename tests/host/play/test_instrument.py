"""The whole machine: the sample on which each event takes effect, what each controller does, and that blocks and the
way events arrive change no bit."""

import numpy as np
import pytest
import scipy.signal
from hypothesis import given, settings
from hypothesis import strategies as st
from timbrel.host.audio.output import QUANTUM
from timbrel.host.errors import UserError
from timbrel.host.events import ControlChange, NoteOff, NoteOn, PitchBend
from timbrel.host.patch.library import open_patch
from timbrel.host.patch.resolve import Patch
from timbrel.host.pitch import sounding_note
from timbrel.host.play.rack import Rack

RATE = 22050
LARGE = {"sample_rate": 44100, "frame_length": 4096, "hop_length": 1024}
SHARP = {"attack_seconds": 0.0, "release_seconds": 0.0}
EFFECTS = [{"plugin": "Chorus"}, {"plugin": "Reverb", "room_size": 0.3}, {"plugin": "LowpassFilter"}]
MAPS = [
    {"number": 16, "target": "latent.0", "low": 0.0, "high": 1.0},
    {"number": 17, "target": "latent.1", "low": 1.0, "high": 0.0, "curve": 2.0},
    {"number": 18, "target": "gain", "low": -60.0, "high": 6.0},
    {"number": 19, "target": "pan", "low": -1.0, "high": 1.0},
    {"number": 70, "target": "envelope.attack_seconds", "low": 0.0, "high": 0.1},
    {"number": 71, "target": "envelope.release_seconds", "low": 0.0, "high": 0.3},
    {"number": 72, "target": "envelope.sustain", "low": 0.0, "high": 1.0},
    {"number": 73, "target": "envelope.decay_seconds", "low": 0.0, "high": 0.2},
]
TURNED = [
    {"number": 74, "target": "effects.1.wet_level", "low": 0.0, "high": 1.0},
    {"number": 75, "target": "effects.2.cutoff_frequency_hz", "low": 200.0, "high": 8000.0, "curve": 2.0},
    {"number": 1, "target": "effects.0.depth", "low": 0.1, "high": 0.7},
]


def level_db(sound):
    return 10 * np.log10(np.mean(np.square(sound)) + 1e-20)


def rpn(time, semitones, cents=None):
    """The messages that set the bend range."""
    numbers = [(101, 0), (100, 0), (6, semitones)] + ([] if cents is None else [(38, cents)])
    return [ControlChange(time, 0, number, value) for number, value in numbers]


def busy(seed, count, controllers=(16, 17, 18, 19, 70, 71, 72, 73), notes=60):
    """A dense performance of everything that can be played: repeated keys, pedals, bends, runs of controllers."""
    rng = np.random.default_rng(seed)
    events = []
    for _ in range(notes):
        on, key = int(rng.integers(count)), int(rng.integers(36, 96))
        events.append(NoteOn(on, 0, key, int(rng.integers(1, 128))))
        events.append(NoteOff(min(count - 1, on + int(rng.integers(0, count // 4))), 0, key))
    for _ in range(notes):
        events.append(PitchBend(int(rng.integers(count)), 0, int(rng.integers(-8192, 8192))))
        events.append(ControlChange(int(rng.integers(count)), 0, 64, int(rng.integers(128))))
        events.append(
            ControlChange(int(rng.integers(count)), 0, int(rng.choice([5, 7, 10, 11, 65, 66])), int(rng.integers(128)))
        )
    for number in controllers:
        start = int(rng.integers(count // 2))
        events += [ControlChange(start + 7 * i, 0, number, int(rng.integers(128))) for i in range(40)]
    for number in (120, 121, 123):
        events.append(ControlChange(int(rng.integers(count)), 0, number, 0))
    events += rpn(count // 3, 12)
    return sorted((event for event in events if event.time < count), key=lambda event: event.time)


SIZES = [[1], [16], [63], [64], [65], [128], [480], [512], [2048], [8193], [1, 7, 500, 64, 3000, 128]]
SETTINGS = {
    "plain": {"cc": MAPS},
    "stealing": {"cc": MAPS, "play": {"voices": 2}},
    "mono": {"cc": MAPS, "play": {"mode": "mono"}},
    "legato": {"cc": MAPS, "play": {"mode": "mono", "legato": True, "glide_seconds": 0.05}},
    "portamento": {"cc": MAPS, "play": {"mode": "mono", "glide_seconds": 0.05}},
    "chord": {"cc": MAPS, "play": {"mode": "chord"}},
    "dying notes": {"cc": MAPS, "play": {"voices": 3}, "envelope": {"sustain": 0.0, "decay_seconds": 0.05}},
    "effects": {"cc": MAPS + TURNED, "effects": EFFECTS, "play": {"voices": 4}},
}


@pytest.fixture(scope="module")
def whole(make_instrument, play):
    """A function that gives (events, the sound of them in one block), made once."""
    made = {}

    def sound(name, rate):
        if (name, rate) not in made:
            count = 12_000
            events = busy(len(name), count, [entry["number"] for entry in SETTINGS[name]["cc"]])
            instrument = make_instrument(rate, **SETTINGS[name])
            made[name, rate] = events, play(instrument, events, count)
        return made[name, rate]

    return sound


@pytest.mark.parametrize("rate", [RATE, 48000])
@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_live_in_blocks_of_any_size_is_the_whole_to_the_bit(make_instrument, play, whole, name, rate, sizes):
    events, expected = whole(name, rate)
    count = 1500 if sizes == [1] else expected.shape[1]
    live = play(make_instrument(rate, **SETTINGS[name]), events, count, sizes)
    assert np.abs(expected[:, 1000:]).max() > 0.01
    assert np.array_equal(live, expected[:, :count])


def test_the_published_frame_is_the_same_in_blocks_too(make_instrument, play, tiny):
    model = tiny(latents=8, **LARGE)
    settings = {"cc": MAPS + TURNED, "effects": EFFECTS}
    events = busy(9, 40_000, [entry["number"] for entry in settings["cc"]])
    expected = play(make_instrument(44100, model, **settings), events, 40_000)
    assert np.array_equal(play(make_instrument(44100, model, **settings), events, 40_000, [128, 1000]), expected)


def test_the_same_performance_twice_gives_the_same_bits(make_instrument, play, whole):
    events, expected = whole("effects", 48000)
    assert np.array_equal(play(make_instrument(48000, **SETTINGS["effects"]), events, 12_000), expected)


CHANNEL = st.just(0)
BYTE = st.integers(0, 127)
TIME = st.integers(0, 3000)
EVENTS = st.lists(
    st.one_of(
        st.builds(NoteOn, TIME, CHANNEL, BYTE, st.integers(1, 127)),
        st.builds(NoteOff, TIME, CHANNEL, BYTE),
        st.builds(ControlChange, TIME, CHANNEL, BYTE, BYTE),
        st.builds(ControlChange, TIME, CHANNEL, st.sampled_from([6, 38, 64, 98, 99, 100, 101, 120, 121, 123]), BYTE),
        st.builds(PitchBend, TIME, CHANNEL, st.integers(-8192, 8191)),
    ),
    max_size=40,
).map(lambda events: sorted(events, key=lambda event: event.time))


@given(
    EVENTS,
    st.sampled_from([RATE, 44100, 48000]),
    st.sampled_from(["poly", "mono", "chord"]),
    st.booleans(),
    st.lists(st.integers(1, 1500), min_size=1, max_size=4),
)
@settings(max_examples=50)
def test_whatever_is_played_is_finite_inside_full_scale_and_the_same_in_blocks(
    make_patch, events, rate, mode, effects, sizes
):
    keys = {"cc": MAPS, "play": {"mode": mode, "voices": 3, "gain_db": 12.0, "legato": True, "glide_seconds": 0.01}}
    if effects:
        keys |= {"effects": EFFECTS, "cc": MAPS + TURNED}

    def mix(sizes):
        rack = Rack({0: make_patch(**keys)}, rate)
        blocks, at, turn = [], 0, 0
        while at < 4000:
            size = min(sizes[turn % len(sizes)], 4000 - at)
            blocks.append(rack.process([e for e in events if at <= e.time < at + size], size)[0])
            at, turn = at + size, turn + 1
        return np.concatenate(blocks, axis=1)

    sound = mix(sizes)
    assert np.all(np.isfinite(sound))
    assert np.abs(sound).max() <= 1
    assert np.array_equal(sound, mix([4000]))


@pytest.mark.parametrize("on", [0, 1, 63, 64, 127, 1000, 4095, 4096, 4999])
@pytest.mark.parametrize("sizes", [[5001 + 600], [64], [1000]], ids=str)
def test_a_note_begins_on_its_very_sample(make_instrument, play, on, sizes):
    sound = play(make_instrument(envelope=SHARP), [NoteOn(on, 0, 60, 127)], 5600, sizes)
    assert np.all(sound[:, : on + 1] == 0)  # an attack begins at 0
    assert np.all(sound[:, on + 1] != 0)


@pytest.mark.parametrize("off", [1001, 1100, 2048])
def test_a_note_ends_on_its_very_sample(make_instrument, play, off):
    events = [NoteOn(1000, 0, 60, 127), NoteOff(off, 0, 60)]
    held = play(make_instrument(envelope=SHARP), events[:1], 4000)
    sound = play(make_instrument(envelope=SHARP), events, 4000)
    assert np.array_equal(sound[:, : off + 1], held[:, : off + 1])
    assert np.all(sound[:, off + 1] != held[:, off + 1])
    assert np.any(sound[:, off + 15] != 0)
    assert np.all(sound[:, off + 23 :] == 0)  # the shortest release: 1 ms


def test_a_note_on_and_off_inside_one_block_sounds(make_instrument, play):
    events = [NoteOn(100, 0, 60, 127), NoteOff(400, 0, 60)]
    sound = play(make_instrument(envelope=SHARP), events, 8192)
    assert level_db(sound[:, 130:400]) > -40
    assert np.all(sound[:, 430:] == 0)


@pytest.mark.parametrize(
    ("rate", "settings", "tolerance"),
    [
        (44100, {}, 1),
        (48000, {}, 2),
        (96000, {}, 2),
        (44100, {"effects": [{"plugin": "Gain"}]}, 1),
        (48000, {"effects": [{"plugin": "Gain"}]}, 2),
        (44100, {"effects": [{"plugin": "BrickwallLimiter", "lookahead_ms": 2.0}]}, 1),
    ],
)
@pytest.mark.parametrize("on", [0, 1, 1001, 4100])
def test_a_note_is_as_late_as_the_instrument_says(make_instrument, play, tiny, rate, settings, tolerance, on):
    model = tiny(**LARGE)
    instrument = make_instrument(rate, model, envelope=SHARP, **settings)
    late = instrument.latency_samples
    sound = play(instrument, [NoteOn(on, 0, 84, 127)], on + late + 2000, [333])[0]
    assert instrument.latency_samples == late
    delay = QUANTUM if rate == 44100 and settings else 0 if rate == 44100 else late
    start = round((on + delay) * 44100 / rate)  # the sample of the model that the note is moved to
    reference = play(make_instrument(44100, model, envelope=SHARP), [NoteOn(start, 0, 84, 127)], start + 1500)[0]
    fine = scipy.signal.resample_poly(reference[start:], 16, 1)
    expected = np.interp(np.arange(1000) * 44100 / rate, np.arange(len(fine)) / 16, fine)
    shifts = range(max(-20, -on - late), 21)
    likeness = [np.sum(expected * sound[on + late + k : on + late + k + 1000]) for k in shifts]
    assert abs(shifts[int(np.argmax(likeness))]) <= tolerance
    assert max(likeness) > 0.99 * np.sqrt(np.sum(expected**2) * np.sum(sound[on + late : on + late + 1000] ** 2))


@pytest.mark.parametrize("key", [36, 43, 57, 60, 61, 66, 71, 72, 85, 96])
def test_a_key_sounds_its_note(make_instrument, play, tiny, key):
    sound = play(make_instrument(44100, tiny(**LARGE)), [NoteOn(0, 0, key, 100)], 40_000)
    assert sounding_note(sound.sum(0), 44100) == pytest.approx(key, abs=0.25)


def test_a_note_at_rest_is_its_engines_sound_at_the_gain_that_its_card_asks_for(make_instrument, play, tiny):
    from timbrel.host.engines.spectrum import SpectrumEngine
    from timbrel.host.engines.table import VOICE_LUFS

    class Still:
        def latents(self, voices, times):
            return np.full((len(times), 2), 0.5, np.float32)

        def bend_semitones(self, voices, times):
            return np.zeros(len(times))

    engine = SpectrumEngine(tiny(), 4000)
    bare = engine.render([engine.begin(60, 0)], Still(), 0, 4000)[0][0]
    gain = 10 ** ((VOICE_LUFS - tiny().card.loudness_lufs) / 20)
    sound = play(make_instrument(envelope=SHARP), [NoteOn(0, 0, 60, 127)], 4000)
    assert sound[:, 100:] == pytest.approx(np.stack([bare, bare])[:, 100:] * gain * 0.5**0.5, rel=1e-5, abs=1e-7)


@pytest.mark.parametrize("velocity", [1, 32, 64, 100, 127])
def test_velocity_is_heard_by_its_square(make_instrument, play, velocity):
    loud = play(make_instrument(), [NoteOn(0, 0, 60, 127)], 6000)
    sound = play(make_instrument(), [NoteOn(0, 0, 60, velocity)], 6000)
    assert level_db(sound) - level_db(loud) == pytest.approx(40 * np.log10(velocity / 127), abs=0.01)


def test_a_voice_is_levelled_by_the_loudness_of_its_card(analytic, make_instrument, play, tmp_path):
    from timbrel.host.contract.model import Model

    made = analytic()
    plain = made.card()
    levels = []
    for away in (0.0, 7.0):
        card = plain | {"loudness_lufs": plain["loudness_lufs"] + away}
        model = Model(made.save(tmp_path / f"{away}.onnx", card=card))
        levels.append(level_db(play(make_instrument(model=model), [NoteOn(0, 0, 60, 127)], 20_000)))
    assert levels[0] - levels[1] == pytest.approx(7.0, abs=0.01)
    assert levels[0] == pytest.approx(-20, abs=5)  # LUFS are not RMS, but near


@pytest.mark.parametrize(("pan", "left", "right"), [(-1.0, 1.0, 0.0), (0.0, 0.5**0.5, 0.5**0.5), (1.0, 0.0, 1.0)])
def test_the_presets_pan_holds_from_the_first_sample_by_equal_power(make_instrument, play, pan, left, right):
    middle = play(make_instrument(envelope=SHARP), [NoteOn(0, 0, 60, 127)], 4000)[0] / np.float32(0.5**0.5)
    sound = play(make_instrument(envelope=SHARP, play={"pan": pan}), [NoteOn(0, 0, 60, 127)], 4000)
    assert sound[0] == pytest.approx(left * middle, abs=1e-6)
    assert sound[1] == pytest.approx(right * middle, abs=1e-6)


@pytest.mark.parametrize(("gain_db", "change"), [(-60.0, -200.0), (-12.0, -12.0), (12.0, 12.0)])
def test_the_presets_gain_holds_from_the_first_sample(make_instrument, play, gain_db, change):
    plain = play(make_instrument(envelope=SHARP), [NoteOn(0, 0, 60, 127)], 200)
    sound = play(make_instrument(envelope=SHARP, play={"gain_db": gain_db}), [NoteOn(0, 0, 60, 127)], 200)
    if change == -200.0:
        assert np.all(sound == 0)  # the lowest gain is none
    else:
        assert level_db(sound) - level_db(plain) == pytest.approx(change, abs=0.01)


def settled(make_instrument, play, events, keys=None):
    """Left and right levels of a held note, once every ramp has ended; relative to the note alone, in dB."""
    note = [NoteOn(0, 0, 60, 100)]
    alone = play(make_instrument(**(keys or {})), note, 8000)[:, 4000:]
    sound = play(make_instrument(**(keys or {})), note + events, 8000)[:, 4000:]
    return [level_db(a) - level_db(b) for a, b in zip(sound, alone, strict=True)]


@pytest.mark.parametrize("value", [0, 64, 100, 127])
def test_volume_follows_the_square_of_its_value_and_rests_at_100(make_instrument, play, value):
    found = settled(make_instrument, play, [ControlChange(10, 0, 7, value)])
    if value == 0:
        assert max(found) < -100
    else:
        assert found == pytest.approx([40 * np.log10(value / 100)] * 2, abs=0.01)


def test_expression_multiplies_volume_and_rests_at_127(make_instrument, play):
    events = [ControlChange(10, 0, 11, 64), ControlChange(11, 0, 7, 50)]
    expected = 40 * np.log10(64 / 127) + 40 * np.log10(50 / 100)
    assert settled(make_instrument, play, events) == pytest.approx([expected] * 2, abs=0.01)
    assert settled(make_instrument, play, [ControlChange(10, 0, 11, 127)]) == pytest.approx([0, 0], abs=1e-6)


@pytest.mark.parametrize(("value", "left", "right"), [(0, 3.01, -200), (1, 3.01, -200), (64, 0, 0), (127, -200, 3.01)])
def test_pan_goes_from_left_to_right(make_instrument, play, value, left, right):
    found = settled(make_instrument, play, [ControlChange(10, 0, 10, value)])
    for level, expected in zip(found, (left, right), strict=True):
        assert level < -100 if expected == -200 else level == pytest.approx(expected, abs=0.02)


@pytest.mark.parametrize(("pan", "value", "heard", "silent"), [(1.0, 127, 1, 0), (0.6, 127, 1, 0), (-1.0, 0, 0, 1)])
def test_a_presets_pan_and_a_controllers_end_at_the_side_together(make_instrument, play, pan, value, heard, silent):
    keys = {"play": {"pan": pan}, "envelope": SHARP}
    note = [ControlChange(0, 0, 10, value), NoteOn(4000, 0, 60, 127)]
    sound = play(make_instrument(**keys), note, 8000)[:, 4000:]
    side = play(make_instrument(play={"pan": float(np.sign(pan))}, envelope=SHARP), [NoteOn(4000, 0, 60, 127)], 8000)
    assert sound[heard] == pytest.approx(side[heard, 4000:], abs=1e-6)
    assert np.abs(sound[silent]).max() < 1e-6


def test_0_and_1_of_a_controllers_pan_are_the_same_place_wherever_the_preset_stands(make_instrument, play):
    keys = {"play": {"pan": 0.5}, "envelope": SHARP}
    sounds = [
        play(make_instrument(**keys), [ControlChange(0, 0, 10, value), NoteOn(4000, 0, 60, 127)], 8000)
        for value in (0, 1)
    ]
    assert np.array_equal(*sounds)


def test_a_controller_that_the_preset_maps_loses_its_usual_meaning(make_instrument, play):
    keys = {"cc": [{"number": 7, "target": "pan", "low": 0.0, "high": 1.0}]}
    found = settled(make_instrument, play, [ControlChange(10, 0, 7, 127)], keys)
    assert found[1] == pytest.approx(3.01, abs=0.02)
    assert found[0] < -100


def test_one_controller_may_turn_several_things(make_instrument, play):
    keys = {
        "cc": [
            {"number": 20, "target": "pan", "low": 0.0, "high": 1.0},
            {"number": 20, "target": "gain", "low": 0.0, "high": -6.0},
        ]
    }
    found = settled(make_instrument, play, [ControlChange(10, 0, 20, 127)], keys)
    assert found[1] == pytest.approx(3.01 - 6, abs=0.02)


def test_a_knob_turns_its_latent_and_glides_there(make_instrument):
    instrument = make_instrument(cc=MAPS)
    instrument.process([ControlChange(5, 0, 16, 127), ControlChange(5, 0, 17, 64)], 100)
    assert instrument.latent_values() == pytest.approx([1.0, 1 - (64 / 127) ** 2])


@pytest.mark.parametrize("value", [0, 32, 127])
def test_a_turned_latent_sounds_as_a_preset_that_rests_there(make_instrument, play, analytic, value):
    keys = {"cc": MAPS}
    rest = make_instrument(latent={"values": [value / 127, 0.5]})
    note = [NoteOn(3000, 0, 60, 100)]
    turned = play(make_instrument(**keys), [ControlChange(0, 0, 16, value), *note], 9000)
    assert np.array_equal(turned, play(rest, note, 9000))


@pytest.mark.parametrize(
    ("controls", "semitones"),
    [
        ([], 2),
        (rpn(0, 12), 12),
        (rpn(0, 24), 24),
        (rpn(0, 6, 50), 6.5),
        (rpn(0, 12) + rpn(1, 3), 3),
        ([*rpn(0, 5), ControlChange(1, 0, 101, 127), ControlChange(1, 0, 100, 127), ControlChange(2, 0, 6, 24)], 5),
        ([*rpn(0, 5), ControlChange(1, 0, 99, 1), ControlChange(1, 0, 98, 8), ControlChange(2, 0, 6, 24)], 5),
        ([*rpn(0, 5), ControlChange(1, 0, 99, 1), ControlChange(2, 0, 6, 24)], 5),
        ([*rpn(0, 5), ControlChange(1, 0, 98, 8), ControlChange(2, 0, 6, 24)], 5),
        ([*rpn(0, 5), ControlChange(1, 0, 101, 0), ControlChange(1, 0, 100, 1), ControlChange(2, 0, 6, 24)], 5),
        ([*rpn(0, 5), ControlChange(1, 0, 121, 0), ControlChange(2, 0, 6, 24)], 5),
        ([ControlChange(0, 0, 6, 24), ControlChange(0, 0, 38, 50)], 2),
        ([ControlChange(0, 0, 100, 0), ControlChange(0, 0, 6, 24)], 2),
        ([ControlChange(0, 0, 101, 0), ControlChange(0, 0, 6, 24)], 2),
    ],
    ids=[
        "default",
        "12",
        "24",
        "cents",
        "twice",
        "null",
        "nrpn",
        "nrpn 99",
        "nrpn 98",
        "another rpn",
        "reset",
        "no rpn",
        "half an rpn",
        "the other half",
    ],
)
def test_the_bend_range_is_set_by_its_registered_parameter_alone(make_instrument, play, tiny, controls, semitones):
    events = [*controls, PitchBend(3, 0, 4096), NoteOn(3000, 0, 60, 100)]
    sound = play(make_instrument(44100, tiny(**LARGE)), events, 40_000)
    assert sounding_note(sound[0, 4000:], 44100) == pytest.approx(60 + semitones / 2, abs=0.25)


@pytest.mark.parametrize(("cents", "semitones"), [(0, 1.0), (99, 1.99), (127, 1.99)])
def test_the_fine_part_of_the_bend_range_is_in_cents(make_instrument, play, tiny, cents, semitones):
    events = [*rpn(0, 1, cents), PitchBend(3, 0, 8191), NoteOn(3000, 0, 72, 100)]
    sound = play(make_instrument(44100, tiny(**LARGE)), events, 90_000)
    assert sounding_note(sound[0, 4000:], 44100) == pytest.approx(72 + semitones, abs=0.12)


def test_a_preset_sets_the_bend_range_and_a_controller_replaces_it_whole(make_instrument, play, tiny):
    instrument = make_instrument(44100, tiny(**LARGE), play={"bend_range_semitones": 3.5})
    sound = play(instrument, [PitchBend(0, 0, -8192), NoteOn(3000, 0, 60, 100)], 40_000)
    assert sounding_note(sound[0, 4000:], 44100) == pytest.approx(56.5, abs=0.25)
    instrument = make_instrument(44100, tiny(**LARGE), play={"bend_range_semitones": 3.5})
    sound = play(instrument, [*rpn(0, 7), PitchBend(1, 0, -8192), NoteOn(3000, 0, 60, 100)], 40_000)
    assert sounding_note(sound[0, 4000:], 44100) == pytest.approx(53, abs=0.25)


@pytest.mark.parametrize("key", [0, 60, 127])
@pytest.mark.parametrize("bend", [-8192, 8191])
def test_the_widest_bend_of_the_lowest_and_highest_keys_is_played(make_instrument, play, key, bend):
    events = [*rpn(0, 127, 99), NoteOn(0, 0, key, 100), PitchBend(500, 0, bend)]
    sound = play(make_instrument(), events, 9000)
    assert np.all(np.isfinite(sound))
    assert np.array_equal(play(make_instrument(), events, 9000, [100]), sound)


def test_a_bend_range_that_is_set_while_bent_moves_the_note(make_instrument, play, tiny):
    events = [PitchBend(0, 0, 8191), NoteOn(0, 0, 60, 100), *rpn(1000, 12)]
    sound = play(make_instrument(44100, tiny(**LARGE)), events, 60_000)
    assert sounding_note(sound[0, 10_000:], 44100) == pytest.approx(72, abs=0.25)


def test_reset_all_controllers_leaves_volume_and_pan_and_resets_the_rest(make_instrument, play, tiny):
    moved = [ControlChange(0, 0, 7, 50), ControlChange(0, 0, 10, 127)]
    reset = [PitchBend(0, 0, 8191), ControlChange(0, 0, 11, 10), ControlChange(0, 0, 64, 127)]
    note = [NoteOn(9000, 0, 60, 100), NoteOff(12_000, 0, 60)]
    model = tiny(**LARGE)
    expected = play(make_instrument(44100, model), [*moved, *note], 40_000)
    sound = play(make_instrument(44100, model), [*moved, *reset, ControlChange(2000, 0, 121, 0), *note], 40_000)
    assert np.array_equal(sound, expected)
    assert np.all(sound[:, 30_000:] == 0)


def test_the_pedal_holds_a_note_until_it_comes_up(make_instrument, play):
    keys = {"envelope": {"release_seconds": 0.01}}
    pedal = [ControlChange(50, 0, 64, 64), NoteOn(100, 0, 60, 100), NoteOff(500, 0, 60), ControlChange(6000, 0, 64, 63)]
    sound = play(make_instrument(**keys), pedal, 9000)
    assert level_db(sound[:, 4000:6000]) > -40
    assert np.all(sound[:, 6000 + 222 :] == 0)


def test_all_sound_off_is_quick_and_all_notes_off_is_a_release(make_instrument, play):
    keys = {"envelope": {"release_seconds": 0.1}}
    note = [NoteOn(0, 0, 60, 100)]
    cut = play(make_instrument(**keys), [*note, ControlChange(3000, 0, 120, 0)], 6000)
    released = play(make_instrument(**keys), [*note, ControlChange(3000, 0, 123, 0)], 6000)
    by_key = play(make_instrument(**keys), [*note, NoteOff(3000, 0, 60)], 6000)
    assert np.all(cut[:, 3000 + 111 :] == 0)
    assert np.array_equal(released, by_key)
    assert level_db(by_key[:, 3000:3500]) > -50


def test_no_more_than_the_limit_of_voices_sound_once_stolen_ones_have_faded(make_instrument):
    instrument = make_instrument(play={"voices": 3})
    for index in range(20):
        instrument.process([NoteOn(500 * index, 0, 40 + index, 100)], 500)
        assert instrument.sounding <= 4
    instrument.process([], 500)
    assert instrument.sounding == 3


def test_a_stolen_voice_is_the_one_that_was_released_longest_ago(make_instrument, play, tiny):
    events = [NoteOn(0, 0, 60, 100), NoteOn(1, 0, 67, 100), NoteOff(2, 0, 60), NoteOn(20_000, 0, 64, 100)]
    keys = {"play": {"voices": 2}, "envelope": {"release_seconds": 30.0}}
    sound = play(make_instrument(44100, tiny(**LARGE), **keys), events, 80_000)[0, 24_000:]
    hz, power = scipy.signal.welch(sound, 44100, nperseg=16384)
    power_at = [power[np.abs(hz - 440 * 2 ** ((key - 69) / 12)).argmin()] for key in (60, 64, 67)]
    assert power_at[0] < 1e-3 * min(power_at[1:])


def test_mono_returns_to_the_held_note(make_instrument, play, tiny):
    events = [NoteOn(0, 0, 60, 100), NoteOn(20_000, 0, 67, 100), NoteOff(40_000, 0, 67)]
    sound = play(make_instrument(44100, tiny(**LARGE), play={"mode": "mono"}), events, 60_000)[0]
    notes = [sounding_note(sound[start + 2000 : start + 19_000], 44100) for start in (0, 20_000, 40_000)]
    assert notes == pytest.approx([60, 67, 60], abs=0.25)


def click_db(make_instrument, play, model, keys, before, events, at):
    """Energy above 10 kHz around a sample, relative to the energy of 0.1 s around it."""
    sound = play(make_instrument(44100, model, **keys), [*before, *events], at + 20_000)[0].astype(np.float64)
    high = scipy.signal.sosfiltfilt(scipy.signal.butter(12, 10_000, "high", fs=44100, output="sos"), sound)
    around = slice(at - 2205, at + 2205)
    return 10 * np.log10(np.sum(high[around] ** 2) / np.sum(sound[around] ** 2))


NOTES = [NoteOn(0, 0, 60, 127), NoteOn(0, 0, 64, 127)]
CLICKS = {
    "note-off": ({}, NOTES, [NoteOff(20_011, 0, 60), NoteOff(20_011, 0, 64)]),
    "stealing": ({"play": {"voices": 2}}, NOTES, [NoteOn(20_011, 0, 67, 127)]),
    "stealing many": (
        {"play": {"voices": 2}},
        NOTES,
        [NoteOn(20_011 + 50 * i, 0, 55 + i, 127) for i in range(8)],
    ),
    "mono": ({"play": {"mode": "mono"}}, NOTES, [NoteOn(20_011, 0, 67, 127), NoteOff(20_500, 0, 67)]),
    "legato": ({"play": {"mode": "mono", "legato": True}}, NOTES, [NoteOn(20_011, 0, 67, 20)]),
    "glide": ({"play": {"mode": "mono", "glide_seconds": 0.01}}, NOTES, [NoteOn(20_011, 0, 72, 127)]),
    "chord": ({"play": {"mode": "chord"}}, NOTES, [NoteOn(20_011, 0, 67, 20), NoteOff(20_011, 0, 60)]),
    "the same key": ({}, NOTES, [NoteOn(20_011, 0, 60, 127)]),
    "all sound off": ({}, NOTES, [ControlChange(20_011, 0, 120, 0)]),
    "volume": ({}, NOTES, [ControlChange(20_011, 0, 7, 0)]),
    "pan": ({}, NOTES, [ControlChange(20_011, 0, 10, 127)]),
    "latent": ({"cc": MAPS}, NOTES, [ControlChange(20_011, 0, 16, 127)]),
    "bend": ({}, NOTES, [PitchBend(20_011, 0, 8191)]),
    "pedal": (
        {},
        [*NOTES, ControlChange(1, 0, 64, 127), NoteOff(2000, 0, 60), NoteOff(2000, 0, 64)],
        [ControlChange(20_011, 0, 64, 0)],
    ),
}


@pytest.mark.parametrize("what", CLICKS)
def test_nothing_that_is_played_clicks(make_instrument, play, tiny, what):
    keys, before, events = CLICKS[what]
    keys = {"envelope": {"attack_seconds": 0.005, "release_seconds": 0.01}} | keys
    model = tiny(brightest_hz=4000.0, **LARGE)
    assert click_db(make_instrument, play, model, keys, before, events, 20_011) < -60


def test_the_measure_of_clicks_hears_a_click(make_instrument, play, tiny, monkeypatch):
    from timbrel.host.play import voices

    monkeypatch.setattr(voices, "STEAL_SECONDS", 0.0)  # one sample
    keys, before, events = CLICKS["stealing"]
    model = tiny(brightest_hz=4000.0, **LARGE)
    assert click_db(make_instrument, play, model, keys, before, events, 20_011) > -60


def test_still_silence_is_exactly_nothing(make_instrument, play):
    events = [NoteOn(10, 0, 60, 100), NoteOff(1000, 0, 60), ControlChange(6000, 0, 7, 20)]
    sound = play(make_instrument(envelope=SHARP), events, 20_000)
    assert np.all(sound[:, 2000:] == 0)


@pytest.mark.parametrize("kind", ["clip", "stream"])
def test_a_kind_without_an_engine_is_refused(analytic, make_preset, tmp_path, kind):
    from timbrel.host.contract.model import Model
    from timbrel.host.play.instrument import Instrument

    model = Model(analytic().save(tmp_path / "other.onnx", card=analytic().card(kind=kind)))
    with pytest.raises(UserError, match=rf"{kind}.*cannot be played yet; known: spectrum, grain"):
        Instrument(Patch("any", make_preset(), model, tmp_path), 44100)


@pytest.mark.parametrize(
    "changed",
    [
        {"phase": "noise"},
        {"noise": 0.0},
        {"keep_formants": True},
        {"unison": 3},
        {"unison": 3, "detune_cents": 30.0},
        {"unison": 3, "width": 1.0},
    ],
    ids=str,
)
def test_what_a_preset_says_of_its_voice_reaches_it(make_instrument, play, changed):
    model = open_patch("gm-chroma-2").model  # one whose frames have noise
    plain = {"unison": 3} if len(changed) > 1 else {}
    heard = [
        play(make_instrument(44100, model, play=keys, envelope=SHARP), [NoteOn(0, 0, 72, 127)], 6000)
        for keys in (plain, changed)
    ]
    assert not np.allclose(heard[0], heard[1], atol=1e-6)


def test_left_and_right_are_equal_unless_width_parts_them(make_instrument, play):
    for width in (0.0, 1.0):
        sound = play(make_instrument(play={"unison": 2, "width": width}), [NoteOn(0, 0, 60, 127)], 6000)
        assert np.array_equal(sound[0], sound[1]) is (width == 0.0)
