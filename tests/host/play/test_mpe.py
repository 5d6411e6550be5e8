"""MPE: who hears a channel, what a finger does to its own note and to no other, and that blocks change no bit of it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from timbrel.host.errors import UserError
from timbrel.host.events import (
    AllOff,
    ChannelPressure,
    Clock,
    ControlChange,
    ControllersReset,
    DataEntry,
    NoteOff,
    NoteOn,
    PitchBend,
    ZoneSize,
)
from timbrel.host.midi.controllers import Zones
from timbrel.host.model.model import Model
from timbrel.host.play.rack import Rack
from timbrel.host.signal import sounding_note

RATE = 22050
LARGE = {"sample_rate": 44100, "frame_length": 4096, "hop_length": 1024}
SHARP = {"attack_seconds": 0.0, "release_seconds": 0.0}


def zone(time, master, members):
    """The messages that begin or end a zone."""
    return [ControlChange(time, master, number, value) for number, value in ((101, 0), (100, 6), (6, members))]


def bend_range(time, channel, semitones):
    return [ControlChange(time, channel, number, value) for number, value in ((101, 0), (100, 0), (6, semitones))]


def run(rack, events, count, sizes=(1000,)):
    mixes, at, turn = [], 0, 0
    while at < count:
        size = min(sizes[turn % len(sizes)], count - at)
        mixes.append(rack.process([e for e in events if at <= e.time < at + size], size)[0])
        at, turn = at + size, turn + 1
    return np.concatenate(mixes, axis=1)


@pytest.fixture
def sound_of(make_patch, tiny):
    """A function that gives what a patch on channel 1 sounds like, in a lower zone of all channels."""

    def sound(events, count=9000, model=None, members=15, **keys):
        rack = Rack({0: make_patch(model, **keys)}, (model or tiny()).card.sample_rate)
        return run(rack, [*zone(0, 0, members), *events], count)

    return sound


@pytest.fixture
def two_zones(make_patch, tiny):
    """A function that gives what one patch sounds like that plays a lower and an upper zone of five members each."""

    def sound(events, count=9000, model=None, **keys):
        model = model or tiny()
        rack = Rack({0: make_patch(model, **keys)}, model.card.sample_rate, omni=True)
        return run(rack, [*zone(0, 0, 5), *zone(0, 15, 5), *events], count)

    return sound


def note_at(sound, start, count=14_000):
    return sounding_note(sound[0, start : start + count], 44100)


def owners(zones):
    """Which instrument hears each channel."""
    return [zones.route(NoteOn(0, channel, 60, 1))[0][0] for channel in range(16)]


@pytest.mark.parametrize("members", range(1, 16))
def test_a_lower_zone_is_channel_1_and_its_members_and_an_upper_one_is_its_mirror(members):
    lower, upper = (Zones(dict.fromkeys(range(16), False)) for _ in range(2))
    for zones, master in ((lower, 0), (upper, 15)):
        for event in zone(0, master, members):
            zones.route(event)
    assert owners(lower) == [0] * (members + 1) + list(range(members + 1, 16))
    assert owners(upper) == [15 - channel for channel in reversed(owners(lower))]


def test_without_a_zone_every_channel_is_its_own():
    zones = Zones({0: False})
    assert owners(zones) == list(range(16))
    for event in [*zone(0, 3, 5), ControlChange(0, 0, 100, 6), ControlChange(0, 0, 6, 5), *bend_range(0, 0, 12)]:
        zones.route(event)
    assert owners(zones) == list(range(16))
    for event in zone(0, 0, 5) + zone(1, 0, 0):
        zones.route(event)
    assert owners(zones) == list(range(16))


@given(st.lists(st.tuples(st.sampled_from([0, 15]), st.integers(0, 127)), max_size=8))
def test_two_zones_never_share_a_channel_and_the_last_one_is_as_large_as_it_asked(asked):
    zones = Zones(dict.fromkeys(range(16), False))
    for master, members in asked:
        for event in zone(0, master, members):
            zones.route(event)
        found = owners(zones)
        size = min(members, 15)
        inside = range(size + 1) if master == 0 else range(15 - size, 16)
        if members:
            assert [found[channel] for channel in inside] == [master] * (size + 1)
        assert found == sorted(found)
        assert all(owner in (0, 15, channel) for channel, owner in enumerate(found))


def test_a_zone_whose_master_has_no_instrument_is_played_by_the_nearest_member():
    for master, expected in ((0, 3), (15, 7)):
        zones = Zones({3: False, 7: False})
        for event in zone(0, master, 10):
            zones.route(event)
        assert zones.route(PitchBend(0, master, 5)) == [(expected, PitchBend(0, master, 5))]
        assert owners(zones)[5] == expected


def test_a_zone_without_any_instrument_is_played_by_the_one_that_hears_all_channels_if_there_is_one():
    for others in (None, 2):
        zones = Zones({2: False}, others)
        heard = [listener for event in zone(0, 15, 4) for listener, _ in zones.route(event)]
        assert heard == ([] if others is None else [2])
        assert owners(zones)[11:] == ([11, 12, 13, 14, 15] if others is None else [2] * 5)


def test_a_parameter_stays_selected_where_a_zone_gives_its_channel_to_another_instrument():
    zones = Zones({0: False, 3: False})
    selection = [ControlChange(0, 3, 99, 2), ControlChange(0, 3, 98, 44)]
    assert [told for event in selection for told in zones.route(event)] == []
    begun = [told for event in zone(1, 0, 5) for told in zones.route(event)]
    assert begun == [(0, ZoneSize(1, 0, 5)), (3, ControllersReset(1, 3)), (3, AllOff(1, 3, cut=False))]
    assert zones.route(ControlChange(2, 3, 6, 7)) == [(0, DataEntry(2, 3, False, 300, "coarse", 7))]


def test_the_clock_is_for_everybody():
    assert Zones({}).route(Clock(0, "tick")) == [(None, Clock(0, "tick"))]


def test_members_are_heard_in_a_zone_and_not_outside(make_patch):
    rack = Rack({0: make_patch(envelope=SHARP)}, RATE)
    note = [NoteOn(100, 1, 60, 100)]
    assert np.all(run(rack, note, 2000) == 0)
    assert np.abs(run(Rack({0: make_patch()}, RATE), [*zone(0, 0, 1), *note], 2000)).max() > 0.01
    assert np.all(run(Rack({0: make_patch()}, RATE), [*zone(0, 0, 0), *note], 2000) == 0)
    assert np.all(run(Rack({0: make_patch()}, RATE), [*zone(0, 0, 3), NoteOn(100, 4, 60, 100)], 2000) == 0)


def test_a_member_bends_its_own_note_by_48_semitones_and_the_master_bends_all_by_2(sound_of, tiny):
    model = tiny(**LARGE)
    bends = [PitchBend(20_000, 1, 2048), PitchBend(50_000, 0, -4096)]
    for channel, expected in ((1, [48, 60, 59]), (2, [48, 48, 47])):
        sound = sound_of([NoteOn(10, channel, 48, 100), *bends], 80_000, model)
        assert [note_at(sound, at) for at in (4000, 30_000, 60_000)] == pytest.approx(expected, abs=0.25)


def test_the_range_of_one_member_is_that_of_all_and_a_new_zone_makes_it_48_again(sound_of, tiny):
    events = [*bend_range(1, 3, 12), PitchBend(5, 2, 4096), NoteOn(10, 2, 60, 100)]
    again = [*zone(30_000, 0, 15), PitchBend(30_001, 2, 1024), NoteOn(30_010, 2, 60, 100)]
    sound = sound_of([*events, *again], 60_000, tiny(**LARGE), envelope=SHARP)
    assert [note_at(sound, at) for at in (5000, 40_000)] == pytest.approx([66, 66], abs=0.25)


def test_a_new_range_leaves_a_held_bend_where_it_is_whatever_else_its_finger_does(sound_of, tiny):
    events = [PitchBend(5, 2, 1024), NoteOn(10, 2, 60, 100), *bend_range(15_000, 2, 12), ChannelPressure(15_001, 2, 90)]
    sound = sound_of([*events, PitchBend(40_000, 2, 4096)], 60_000, tiny(**LARGE), envelope=SHARP)
    assert [note_at(sound, at) for at in (1000, 20_000, 42_000)] == pytest.approx([66, 66, 66], abs=0.25)


def test_fine_bend_range_is_in_cents(sound_of, tiny):
    events = [*bend_range(1, 1, 1), ControlChange(2, 1, 38, 50), PitchBend(5, 1, 8191), NoteOn(10, 1, 72, 100)]
    assert note_at(sound_of(events, 60_000, tiny(**LARGE)), 5000, 50_000) == pytest.approx(73.5, abs=0.15)


@pytest.mark.parametrize(("channel", "master", "other"), [(2, 0, 15), (13, 15, 0)], ids=["lower", "upper"])
def test_of_two_zones_in_one_preset_each_masters_bend_moves_its_own_notes(two_zones, tiny, channel, master, other):
    bends = [PitchBend(20_000, other, 8191), PitchBend(40_000, master, 4096), PitchBend(60_000, channel, 512)]
    sound = two_zones([NoteOn(10, channel, 60, 100), *bends], 80_000, tiny(**LARGE))
    assert [note_at(sound, at) for at in (4000, 24_000, 44_000, 64_000)] == pytest.approx([60, 60, 61, 64], abs=0.25)


def test_each_of_two_zones_has_its_own_ranges(two_zones, tiny):
    ranges = [*bend_range(1, 0, 12), *bend_range(1, 1, 24), *bend_range(1, 15, 4), *bend_range(1, 14, 6)]
    bends = [PitchBend(5, channel, 4096) for channel in (0, 1, 14, 15)]
    for channel, expected in ((1, 48 + 6 + 12), (14, 48 + 2 + 3)):
        sound = two_zones([*ranges, *bends, NoteOn(10, channel, 48, 100)], 30_000, tiny(**LARGE))
        assert note_at(sound, 5000) == pytest.approx(expected, abs=0.25)


@pytest.mark.parametrize("mode", ["poly", "mono"])
@pytest.mark.parametrize("pedal", [64, 66])
@pytest.mark.parametrize(("channel", "master", "other"), [(2, 0, 15), (13, 15, 0)], ids=["lower", "upper"])
def test_of_two_zones_in_one_preset_each_has_its_own_pedals(two_zones, mode, pedal, channel, master, other):
    keys = {"envelope": SHARP, "play": {"mode": mode}}
    note = [NoteOn(10, channel, 60, 100), NoteOff(3000, channel, 60)]
    held = two_zones([*note, ControlChange(20, master, pedal, 127), ControlChange(6000, other, pedal, 0)], **keys)
    free = two_zones([*note, ControlChange(20, other, pedal, 127)], **keys)
    assert np.abs(held[:, 6100:]).max() > 0.01
    assert np.all(free[:, 3030:] == 0)


@pytest.mark.parametrize("number", [120, 123, 126])
@pytest.mark.parametrize(("channel", "master", "other"), [(2, 0, 15), (13, 15, 0)], ids=["lower", "upper"])
def test_of_two_zones_in_one_preset_only_that_ends_whose_master_says_so(two_zones, number, channel, master, other):
    ends = [ControlChange(2000, other, number, 0), ControlChange(5000, master, number, 0)]
    sound = two_zones([NoteOn(10, channel, 60, 100), *ends], envelope=SHARP)
    assert np.abs(sound[:, 4900:5000]).max() > 0.01
    assert np.all(sound[:, 5120:] == 0)


def test_a_zone_that_begins_ends_the_notes_of_the_other_only_where_it_takes_its_channels(two_zones):
    notes = [NoteOn(10, 2, 60, 100)]
    kept, taken = (two_zones([*notes, *zone(3000, 15, size)], envelope=SHARP) for size in (9, 10))
    assert np.abs(kept[:, 3200:]).max() > 0.01
    assert np.all(taken[:, 3030:] == 0)


def test_that_an_upper_zone_ends_takes_no_channel_from_a_lower_one_of_all():
    zones = Zones({0: True}, 0)
    for event in zone(0, 15, 0):
        zones.route(event)
    assert zones.route(NoteOn(0, 15, 60, 1)) == [(0, NoteOn(0, 15, 60, 1))]
    assert [told for event in zone(0, 0, 0) for told in zones.route(event)] == [(0, ZoneSize(0, 0, 0))]


def test_a_new_zone_bends_by_two_semitones_on_its_master_whatever_was_before(sound_of, tiny):
    events = [*bend_range(1, 0, 12), *zone(5, 0, 15), PitchBend(6, 0, 8191), NoteOn(10, 2, 60, 100)]
    assert note_at(sound_of(events, 30_000, tiny(**LARGE), play={"bend_range_semitones": 7}), 5000) == pytest.approx(
        62, abs=0.25
    )


def test_a_channel_outside_of_all_zones_bends_as_without_any_and_is_left_alone_by_masters(two_zones, tiny):
    bends = [PitchBend(20_000, 0, 8191), PitchBend(20_000, 15, 8191), PitchBend(40_000, 7, -8192)]
    sound = two_zones([NoteOn(10, 7, 60, 100), *bends], 60_000, tiny(**LARGE), play={"bend_range_semitones": 5})
    assert [note_at(sound, at) for at in (4000, 24_000, 44_000)] == pytest.approx([60, 60, 55], abs=0.25)


@pytest.mark.parametrize(("master", "channel", "other"), [(0, 2, 15), (15, 13, 0)], ids=["lower", "upper"])
def test_a_reset_lets_go_of_its_channels_bend_and_on_a_master_of_those_of_the_zone(
    two_zones, tiny, master, channel, other
):
    bends = [PitchBend(5, channel, 2048), PitchBend(5, master, 8191), NoteOn(10, channel, 60, 100)]
    for reset, expected in ((other, 74), (channel, 62), (master, 60)):
        sound = two_zones([*bends, ControlChange(1000, reset, 121, 0)], 24_000, tiny(**LARGE))
        assert note_at(sound, 9000) == pytest.approx(expected, abs=0.25)


@pytest.mark.parametrize(("reset", "level"), [(0, 0.0), (2, 0.0), (3, 1.0), (15, 1.0)])
def test_a_reset_lets_go_of_the_pressure_of_its_channel_or_zone_alone(two_zones, reset, level):
    touched = [ChannelPressure(5, 2, 127), NoteOn(10, 2, 60, 100)]
    keys = {"mpe": {"pressure": "gain"}}
    sound = two_zones([*touched, ControlChange(1000, reset, 121, 0)], **keys)
    assert np.array_equal(sound[:, 2000:], two_zones(touched, **keys)[:, 2000:] * np.float32(level))


@pytest.mark.parametrize(
    ("told", "rests"),
    [
        ([], 0.25),
        ([ChannelPressure(1, 4, 127)], 1.0),
        ([ChannelPressure(1, 4, 0)], 0.25),
        ([ControlChange(1, 4, 74, 0)], 0.0),
        ([ControlChange(1, 4, 74, 127)], 1.0),
        ([ControlChange(1, 4, 74, 64)], 0.25),
        ([ControlChange(1, 4, 74, 32)], 0.125),
        ([ControlChange(1, 5, 74, 0), ChannelPressure(1, 0, 127)], 0.25),
    ],
)
def test_a_finger_takes_its_note_from_the_knob_to_the_ends_of_a_latent(sound_of, make_instrument, play, told, rests):
    target = {"pressure": "latent.1"} if any(isinstance(e, ChannelPressure) for e in told) else {"slide": "latent.1"}
    note = [NoteOn(100, 4, 64, 90)]
    sound = sound_of([*told, *note], latent={"values": [0.5, 0.25]}, mpe=target)
    resting = make_instrument(latent={"values": [0.5, rests]})
    assert np.array_equal(sound, run(_Alone(resting), note, 9000))


class _Alone:
    """An instrument as a rack."""

    def __init__(self, instrument):
        self.instrument = instrument

    def process(self, events, count):
        from timbrel.host.audio.output import limit

        return limit(self.instrument.process(events, count)), {}


@pytest.mark.parametrize(("value", "factor"), [(0, 0.0), (64, (64 / 127) ** 2), (127, 1.0)])
@pytest.mark.parametrize("dimension", ["pressure", "slide"])
def test_to_gain_a_finger_is_heard_by_its_square(sound_of, dimension, value, factor):
    tell = [ChannelPressure(1, 1, value) if dimension == "pressure" else ControlChange(1, 1, 74, value)]
    full = sound_of([NoteOn(100, 1, 60, 50)])
    sound = sound_of([*tell, NoteOn(100, 1, 60, 50)], mpe={dimension: "gain"})
    assert sound == pytest.approx(full * factor, rel=1e-4, abs=1e-6)


def test_a_note_that_was_released_no_longer_follows_its_channel(sound_of):
    keys = {"envelope": {"release_seconds": 1.0}, "mpe": {"pressure": "gain", "slide": "latent.0"}}
    begun = [ChannelPressure(1, 1, 100), NoteOn(10, 1, 60, 100), NoteOff(3000, 1, 60)]
    later = [PitchBend(3001, 1, 5000), ChannelPressure(3002, 1, 0), ControlChange(3003, 1, 74, 127)]
    assert np.array_equal(sound_of([*begun, *later], **keys), sound_of(begun, **keys))


def test_a_new_note_begins_where_its_finger_is_not_where_the_last_one_was(sound_of):
    keys = {"envelope": SHARP, "mpe": {"slide": "latent.0"}}
    old = [PitchBend(1, 1, 3000), NoteOn(10, 1, 60, 100), NoteOff(100, 1, 60)]
    new = [PitchBend(5000, 1, 0), NoteOn(5000, 1, 64, 100)]
    after_a_bend, never_bent = (sound_of(events, **keys)[:, 5000:] for events in ([*old, *new], [*old[1:], new[1]]))
    assert np.array_equal(after_a_bend, never_bent)
    bent = sound_of([*old, PitchBend(5000, 1, 3000), NoteOn(5000, 1, 64, 100)], **keys)[:, 5000:]
    assert not np.allclose(bent, never_bent)


def test_a_zone_that_begins_ends_all_notes_and_lifts_the_pedals(sound_of):
    events = [ControlChange(5, 0, 64, 127), NoteOn(10, 2, 60, 100), *zone(4000, 0, 5)]
    sound = sound_of(events, envelope=SHARP)
    assert np.abs(sound[:, 3000:4000]).max() > 0.01
    assert np.all(sound[:, 4030:] == 0)


def test_notes_of_an_instrument_whose_channel_goes_to_a_zone_do_not_hang(make_patch):
    rack = Rack({0: make_patch(), 1: make_patch(envelope=SHARP)}, RATE)
    events = [NoteOn(10, 1, 60, 100), ControlChange(11, 1, 64, 127), *zone(2000, 0, 3), NoteOff(2500, 1, 60)]
    run(rack, events, 4000)
    assert rack.sounding == 0


def test_fingers_at_rest_share_frames_and_others_have_their_own(analytic, make_patch, tmp_path, monkeypatch):
    model = Model(analytic().save(tmp_path / "shared.onnx"))
    rows = []
    decode = model.decode
    monkeypatch.setattr(model, "decode", lambda latent, chroma: rows.append(len(latent)) or decode(latent, chroma))

    def rows_of(told):
        rows.clear()
        rack = Rack({0: make_patch(model, mpe={"enabled": True, "slide": "latent.0"})}, RATE)
        run(rack, [*told, *(NoteOn(10, channel, 60, 100) for channel in range(1, 9))], 6000, (128,))
        return sum(rows)

    assert rows_of([]) == 1
    assert rows_of([ControlChange(1, channel, 74, 8 * channel) for channel in range(1, 9)]) == 7 + 1  # 64 is the middle


def test_a_preset_may_begin_with_a_zone_on_whatever_channels_it_is_put(make_patch):
    keys = {"mpe": {"enabled": True}}
    events = [PitchBend(0, 3, 4096), NoteOn(10, 3, 60, 100), NoteOn(20, 15, 64, 100)]
    expected = run(Rack({0: make_patch(**keys)}, RATE), events, 4000)
    assert np.array_equal(run(Rack({3: make_patch(**keys), 9: make_patch(**keys)}, RATE), events, 4000), expected)
    assert np.abs(expected).max() > 0.01


def test_a_preset_with_a_zone_beside_one_without_is_refused(make_patch):
    with pytest.raises(UserError, match=r"^mpe\.enabled: a whole zone takes all channels, but channel 3 has a"):
        Rack({0: make_patch(mpe={"enabled": True}), 2: make_patch()}, RATE)


@pytest.mark.parametrize(("name", "target"), [("pressure", "latent.2"), ("slide", "pan")])
def test_a_finger_that_would_move_what_does_not_exist_is_refused(make_instrument, name, target):
    with pytest.raises(UserError, match=rf"^mpe\.{name} '{target}' does not exist"):
        make_instrument(mpe={name: target})


def test_mono_follows_the_finger_whose_key_sounds(sound_of, tiny):
    events = [NoteOn(10, 1, 60, 100), NoteOn(20_000, 2, 64, 100), PitchBend(20_001, 1, 1024), PitchBend(40_000, 2, 341)]
    sound = sound_of(events, 80_000, tiny(**LARGE), play={"mode": "mono", "legato": True})
    assert [note_at(sound, at) for at in (3000, 24_000, 60_000)] == pytest.approx([60, 64, 66], abs=0.25)


def test_a_voice_that_goes_to_another_zone_bends_with_its_master_from_then_on(make_patch, tiny):
    """And not before, in the same block, where it was bent by the master of the zone where it was."""
    bends = [PitchBend(5, 0, 8191), PitchBend(5, 15, -8192)]
    notes = [NoteOn(10, 2, 60, 100), NoteOn(1500, 13, 67, 100)]
    alone, both = (
        run(
            Rack({0: make_patch(tiny(**LARGE), play={"mode": "mono", "legato": True})}, 44100, omni=True),
            [*zone(0, 0, 5), *zone(0, 15, 5), *bends, *played],
            24_000,
            (2000,),
        )
        for played in (notes[:1], notes)
    )
    assert np.array_equal(both[:, :1500], alone[:, :1500])
    assert [note_at(sound, 8000) for sound in (alone, both)] == pytest.approx([62, 65], abs=0.25)


CHANNEL = st.sampled_from([0, 0, 1, 2, 3, 14, 15])
BYTE = st.integers(0, 127)
TIME = st.integers(0, 3000)
EVENT = st.one_of(
    st.builds(NoteOn, TIME, CHANNEL, st.integers(40, 80), st.integers(1, 127)),
    st.builds(NoteOff, TIME, CHANNEL, st.integers(40, 80)),
    st.builds(PitchBend, TIME, CHANNEL, st.integers(-8192, 8191)),
    st.builds(ChannelPressure, TIME, CHANNEL, BYTE),
    st.builds(ControlChange, TIME, CHANNEL, st.sampled_from([74, 6, 38, 64, 66, 100, 101, 120, 121, 123]), BYTE),
)
ZONE = st.builds(zone, TIME, st.sampled_from([0, 15]), st.sampled_from([0, 2, 3, 15]))
PERFORMANCE = st.tuples(st.lists(EVENT, max_size=40), st.lists(ZONE, max_size=3)).map(
    lambda both: sorted([*both[0], *(event for each in both[1] for event in each)], key=lambda event: event.time)
)


@settings(max_examples=settings().max_examples // 2)
@given(
    PERFORMANCE,
    st.booleans(),
    st.sampled_from(["poly", "mono", "chord"]),
    st.sampled_from([RATE, 48000]),
    st.lists(st.integers(1, 1500), min_size=1, max_size=4),
    st.sampled_from([(0,), (0, 15)]),
)
def test_whatever_fingers_do_is_finite_and_the_same_in_blocks(make_patch, events, enabled, mode, rate, sizes, channels):
    keys = {
        "play": {"mode": mode, "voices": 3, "legato": True, "glide_seconds": 0.02},
        "mpe": {"enabled": enabled, "pressure": "latent.0", "slide": "gain"},
    }

    def mix(sizes):
        return run(Rack({channel: make_patch(**keys) for channel in channels}, rate, omni=True), events, 4000, sizes)

    sound = mix(sizes)
    assert np.all(np.isfinite(sound))
    assert np.abs(sound).max() <= 1
    assert np.array_equal(sound, mix([4000]))
