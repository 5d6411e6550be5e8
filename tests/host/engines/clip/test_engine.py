"""Keys, knobs and settings make something of clips; it is compared with the clips themselves."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from timbrel.host.engines.clip.engine import APART, FADE_SECONDS, MORPH_SECONDS, SPREAD_SECONDS
from timbrel.host.events import ControlChange, DataEntry, NoteOff, NoteOn, ParameterChange, PitchBend, ZoneSize
from timbrel.host.model.model import Model
from timbrel.host.play.rack import ChannelInstrument, Rack
from timbrel.host.preset.library import Patch
from timbrel.host.preset.preset import Preset
from timbrel.host.preset.validation import fitted

from ....examples import few
from ...clips import LENGTH, RATE, SHARP, noise, save_clips

REST, FIRST, SECOND = noise(1), noise(2), noise(3)
SIDE = np.float32(np.sqrt(0.5))
FADE, GRID = round(FADE_SECONDS * RATE), round(MORPH_SECONDS * RATE)
SPREAD = round(SPREAD_SECONDS * RATE)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """``rest + code[0] * first + code[1] * second``."""
    return Model(save_clips(tmp_path_factory.mktemp("clips") / "m.onnx", REST, np.stack([FIRST, SECOND])))


@pytest.fixture(scope="module")
def labelled(tmp_path_factory):
    """The same without a code, and a clip for each of three labels."""
    path = tmp_path_factory.mktemp("clips") / "l.onnx"
    labels = np.stack([FIRST, SECOND, FIRST + SECOND])
    return Model(save_clips(path, np.zeros(LENGTH), labels=("a", "b", "c"), labelled=labels))


@pytest.fixture(scope="module")
def patch(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("patches")

    def make(of=model, **keys):
        fields = {"format": 1, "model": "m", "envelope": SHARP, "knobs": [20, 21], **keys}
        return Patch("clips", fitted(Preset.model_validate(fields), of.card, folder), of, folder)

    return make


@pytest.fixture(scope="module")
def sound(patch):
    """A function that gives one side of what events make, without its gain, [count], in blocks of the sizes given."""

    def play(events, count, sizes=(1 << 14,), rate=RATE, **keys):
        instrument, blocks, at = ChannelInstrument(patch(**keys), rate), [], 0
        while at < count:
            size = min(sizes[len(blocks) % len(sizes)], count - at)
            blocks.append(instrument.process([e for e in events if at <= e.time < at + size], size))
            at += size
        return np.concatenate(blocks, axis=1)[0] / SIDE

    return play


def on(time=0, key=60):
    return NoteOn(time, 0, key, 127)


def near(found, expected, within=2e-6):
    return np.allclose(found, expected, atol=within)


def test_key_60_plays_the_clip_from_its_first_sample_to_its_last(sound):
    found = sound([on(100), NoteOff(300, 0, 60)], 6000)
    assert near(found[100 : 100 + LENGTH], REST)
    assert not found[:100].any()
    assert not found[100 + LENGTH :].any()


def test_a_voice_ends_when_its_clip_does_or_a_little_later(patch):
    """As late as it would be, were it bent down as far as the wheel goes."""
    instrument = ChannelInstrument(patch(), RATE)
    instrument.process([on(0)], LENGTH)
    assert instrument.sounding == 1
    instrument.process([], round(LENGTH * (2 ** (2 / 12) - 1)) + FADE + 2)
    assert instrument.sounding == 0


@pytest.mark.parametrize("semitones", [-12, -5, 4, 12])
def test_other_keys_transpose_it(sound, semitones):
    ratio = 2 ** (semitones / 12)
    found = sound([on(0, 60 + semitones)], 9000)
    assert not found[int(LENGTH / ratio) + 2 :].any()
    assert found[int(LENGTH / ratio) - 200 : int(LENGTH / ratio)].any()
    if semitones == -12:
        assert near(found[: 2 * LENGTH : 2], REST)


def test_start_length_and_direction_choose_a_part(sound):
    begun = sound([on()], 6000, clip={"start": 0.25})
    assert near(begun[:3000], REST[1000:])
    cut = sound([on()], 6000, clip={"start": 0.25, "length": 0.5})
    assert near(cut[: 2000 - FADE], REST[1000 : 3000 - FADE])
    assert near(cut[2000 - FADE : 2000], REST[3000 - FADE : 3000] * np.arange(FADE, 0, -1) / FADE)
    assert not cut[2000:].any()
    back = sound([on()], 6000, clip={"reverse": True, "start": 0.25, "length": 0.5})
    assert near(back[: 2000 - FADE], REST[1000:3000][::-1][: 2000 - FADE])


def looped(clip, begin, cross, count):
    """A clip that goes on at ``begin`` when it ends: its last samples fade out over the first of the loop."""
    found = list(clip.astype(np.float64))
    rise = np.sin(np.pi / 2 * np.arange(cross) / cross) if cross else np.zeros(0)
    fall = np.cos(np.pi / 2 * np.arange(cross) / cross) if cross else np.zeros(0)
    while len(found) < count + cross:
        piece = clip[begin:].astype(np.float64)
        for place in range(cross):
            found[len(found) - cross + place] *= fall[place]
            found[len(found) - cross + place] += rise[place] * piece[place]
        found += list(piece[cross:])
    return np.array(found[:count])


@pytest.mark.parametrize(("begin", "cross"), [(0.0, 0.0), (0.5, 0.0), (0.25, 0.05), (0.9, 0.02)])
@pytest.mark.parametrize("reverse", [False, True])
def test_a_loop_goes_on_over_an_equal_power_crossfade_until_its_key_comes_up(sound, begin, cross, reverse):
    clip = {"loop": True, "loop_start": begin, "crossfade_seconds": cross, "reverse": reverse}
    found = sound([on(), NoteOff(15_000, 0, 60)], 16_000, (777,), clip=clip)
    crossed = min(round(cross * RATE), (LENGTH - round(begin * LENGTH)) // 2)
    expected = looped(REST[::-1] if reverse else REST, round(begin * LENGTH), crossed, 15_000)
    assert near(found[:15_000], expected, 1e-5)
    assert not found[15_100:].any()


def test_a_gated_clip_is_released_and_a_struck_one_is_not(sound):
    gated = sound([on(), NoteOff(1000, 0, 60)], 6000, clip={"trigger": "gated"})
    assert near(gated[:1000], REST[:1000])
    assert not gated[1020:].any()
    struck = sound([on(), NoteOff(1000, 0, 60)], 6000)
    assert near(struck[:LENGTH], REST)


def test_mono_is_gated_and_cuts(sound):
    found = sound([on(), on(1000, 72)], 6000, play={"mode": "mono"})
    alone = sound([on(1000, 72)], 6000, play={"mode": "mono"})
    assert near(found[1000 + FADE + 1 :], alone[1000 + FADE + 1 :])


@pytest.mark.parametrize("glide", [False, True])
def test_a_bend_is_followed_from_sample_to_sample(tmp_path_factory, patch, glide):
    """A sine's phase is that of the sum of all steps so far, for the wheel's way of 20 ms or a glide's."""
    cycles, length = 0.02, 16_000
    path = tmp_path_factory.mktemp("sine") / "s.onnx"
    sine = Model(save_clips(path, np.sin(2 * np.pi * cycles * np.arange(length))))
    ramp = 0.05 if glide else 0.02
    keys = {"play": {"mode": "mono", "legato": True, "glide_seconds": ramp}} if glide else {}
    moved = on(1000, 62) if glide else PitchBend(1000, 0, 8191)
    top = 2.0 if glide else 2 * 8191 / 8192
    found = ChannelInstrument(patch(sine, **keys), RATE).process([on(), moved], 4000)[0] / SIDE
    semitones = np.clip((np.arange(4000) - 1000) / (ramp * RATE), 0, 1) * top
    places = np.concatenate([[0], np.cumsum(2 ** (semitones / 12))[:-1]])
    assert near(found, np.sin(2 * np.pi * cycles * places), 2e-4)


def test_each_note_has_the_clip_of_the_code_of_its_first_sample(sound):
    ramp = 0.5  # 20 ms are 320 samples
    soft = NoteOn(0, 0, 60, 1)  # some -84 dB
    found = sound([soft, ControlChange(1000, 0, 20, 127), on(1160)], 1160 + LENGTH)
    assert near(found[1160:], REST + 2 * ramp * FIRST, 2e-4)
    found = sound([ControlChange(0, 0, 20, 127), on(160)], 160 + LENGTH)  # in silence the knob has arrived
    assert near(found[160:], REST + 2 * FIRST, 1e-5)


def test_a_held_clip_goes_over_to_that_of_its_new_code_at_the_same_place(sound):
    time = 2 * GRID + 5
    found = sound([on(), ParameterChange(time, 0, "latent.1", 1.0)], LENGTH, clip={"trigger": "gated"})
    begin = 3 * GRID + 60 * APART % SPREAD  # the knob has come to rest by then: 20 ms later
    share = np.zeros(LENGTH)
    share[begin : begin + GRID] = 0.5 - 0.5 * np.cos(np.pi * np.arange(GRID) / GRID)
    share[begin + GRID :] = 1.0
    assert near(found, REST + share * SECOND, 1e-5)
    struck = sound([on(), ParameterChange(time, 0, "latent.1", 1.0)], LENGTH)
    assert near(struck, REST)


KIT = [
    {"key": 36, "code": [1.0, 0.0]},
    {"key": "Closed Hi-Hat", "label": "two", "choke": "hats"},
    {"key": "Open Hi-Hat", "code": [0.5, 0.5], "choke": "hats"},
    {"key": 50, "code": [1.0, 0.0], "pitch_semitones": -12},
]


def test_of_a_kit_each_key_plays_its_own_clip_as_recorded_and_others_nothing(sound):
    for key, expected in ((36, REST + FIRST), (42, REST - SECOND), (46, REST + 0.5 * (FIRST + SECOND))):
        assert near(sound([on(0, key)], 5000, keys=KIT)[:LENGTH], expected, 1e-5)
    assert not sound([on(0, 60), on(0, 37)], 5000, keys=KIT).any()
    assert near(sound([on(0, 50)], 9000, keys=KIT)[: 2 * LENGTH : 2], REST + FIRST, 1e-5)


def test_a_key_of_a_kit_has_a_gain_of_its_own(sound):
    louder = [{**KIT[0], "gain_db": 12.0}, {**KIT[1], "gain_db": -20.0}, *KIT[2:]]
    for key, gain in ((36, 10 ** (12 / 20)), (42, 0.1), (46, 1.0)):
        plain, found = (sound([on(0, key)], LENGTH, keys=keys) for keys in (KIT, louder))
        assert near(found, gain * plain, 1e-5)


def test_knobs_move_the_codes_of_a_kit_and_keep_them_in_the_latents_spans(sound):
    latent = {"values": [0.5, 0.0]}
    found = sound([ParameterChange(0, 0, "latent.0", 1.0), on(1000, 46)], 6000, keys=KIT, latent=latent)
    assert near(found[1000:5000], REST + FIRST + 0.5 * SECOND, 1e-5)
    found = sound([ParameterChange(0, 0, "latent.0", 2.0), on(1000, 36)], 6000, keys=KIT, latent=latent)
    assert near(found[1000:5000], REST + 2.0 * FIRST, 1e-5)


def test_a_key_cuts_what_sounds_of_its_group_in_5_ms(sound):
    found = sound([on(0, 46), on(1000, 42), on(1500, 36)], 8000, keys=KIT)
    opened, closed = REST + 0.5 * (FIRST + SECOND), REST - SECOND
    assert near(found[:1000], opened[:1000], 1e-5)
    assert near(found[1000 + FADE : 1500], closed[FADE:500], 1e-5)
    rest = np.zeros(8000)
    rest[1000 : 1000 + LENGTH] += closed
    rest[1500 : 1500 + LENGTH] += REST + FIRST
    assert near(found[1500:], rest[1500:], 1e-5)


def test_a_label_is_chosen_by_name_by_knob_or_by_key(sound, labelled):
    plain = {"of": labelled, "knobs": []}
    assert near(sound([on()], LENGTH, **plain), FIRST)
    assert near(sound([on()], LENGTH, clip={"label": "b"}, **plain), SECOND)
    turned = {"cc": [{"number": 30, "target": "clip.label"}]}
    events = [ControlChange(0, 0, 30, 127), on(10)]
    assert near(sound(events, LENGTH + 10, **plain, **turned)[10:], FIRST + SECOND)
    keys = [{"key": 36, "label": "b"}, {"key": 37, "code": [0.0, 0.0]}]
    assert near(sound([*events, on(10, 36)], LENGTH + 10, keys=keys, **plain, **turned)[10:], SECOND)
    assert near(
        sound([ControlChange(0, 0, 30, 64), on(10, 37)], LENGTH + 10, keys=keys, **plain, **turned)[10:], SECOND
    )


@pytest.fixture(scope="module")
def said_b(labelled, tmp_path_factory):
    """The path of a preset whose label is b, at another code."""
    path = tmp_path_factory.mktemp("other") / "b.toml"
    path.write_text(f'format = 1\nmodel = "{labelled.path}"\n[clip]\nlabel = "b"\n[latent]\nvalues = [1.0, 0.0]\n')
    return str(path)


def test_a_morph_goes_over_from_its_label_to_that_of_the_other_preset(sound, labelled, said_b):
    keys = {"of": labelled, "knobs": [], "morph": {"to": said_b}}
    for share in (0.0, 0.25, 1.0):
        found = sound([ParameterChange(0, 0, "morph", share), on(1000)], LENGTH + 1000, **keys)[1000:]
        assert near(found, (1 - share) * FIRST + share * SECOND, 1e-5)
    stays = {**keys, "morph": {"values": [1.0, 0.0]}}
    assert near(sound([ParameterChange(0, 0, "morph", 1.0), on(1000)], LENGTH + 1000, **stays)[1000:], FIRST, 1e-5)


def test_a_key_that_has_a_label_of_its_own_keeps_it_through_a_morph(sound, labelled, said_b):
    kit = [{"key": 36, "label": "c"}, {"key": 37, "code": [0.0, 0.0]}]
    keys = {"of": labelled, "knobs": [], "morph": {"to": said_b}, "keys": kit}
    events = [ParameterChange(0, 0, "morph", 1.0)]
    assert near(sound([*events, on(1000, 36)], LENGTH + 1000, **keys)[1000:], FIRST + SECOND, 1e-5)
    assert near(sound([*events, on(1000, 37)], LENGTH + 1000, **keys)[1000:], SECOND, 1e-5)


def test_a_held_clip_follows_its_label_through_a_morph(sound, labelled, said_b):
    keys = {"of": labelled, "knobs": [], "morph": {"to": said_b}, "clip": {"trigger": "gated"}}
    found = sound([on(), ParameterChange(10, 0, "morph", 1.0)], LENGTH, **keys)
    assert near(found[:GRID], FIRST[:GRID], 1e-5)
    assert near(found[3 * GRID + SPREAD :], SECOND[3 * GRID + SPREAD :], 1e-5)


SETTINGS = st.sampled_from(
    [
        {},
        {"keys": KIT},
        {"clip": {"trigger": "gated"}},
        {"clip": {"loop": True, "loop_start": 0.6, "crossfade_seconds": 0.01}},
        {"clip": {"loop": True, "length": 0.02, "reverse": True}},
        {"clip": {"start": 0.2, "length": 0.3, "pitch": 7.0}},
        {"play": {"mode": "mono", "legato": True, "glide_seconds": 0.1}},
        {
            "clip": {"trigger": "gated"},
            "morph": {"values": [1.0, -1.0]},
            "motion": [
                {"target": "latent.1", "depth": 0.5, "rate_hz": 5.0},
                {"target": "morph", "depth": 0.5, "rate_hz": 3.0},
            ],
        },
        {"keys": KIT, "motion": [{"path": [[0.0, 0.0], [1.0, 1.0]], "rate_hz": 3.0}]},
        {"play": {"voices": 2}, "mpe": {"enabled": True, "slide": "latent.1"}},
    ]
)
TIMES = st.integers(0, 7999)
EVENTS = st.lists(
    st.one_of(
        st.builds(NoteOn, TIMES, st.integers(0, 2), st.sampled_from([36, 42, 46, 50, 60, 85]), st.integers(1, 127)),
        st.builds(NoteOff, TIMES, st.integers(0, 2), st.sampled_from([36, 42, 46, 60, 85])),
        st.builds(PitchBend, TIMES, st.integers(0, 2), st.integers(-8192, 8191)),
        st.builds(ControlChange, TIMES, st.integers(0, 2), st.sampled_from([20, 21, 64, 74]), st.integers(0, 127)),
    ),
    min_size=3,
    max_size=14,
)


@few
@given(SETTINGS, EVENTS, st.lists(st.integers(1, 700), min_size=3, max_size=6))
def test_any_division_into_blocks_gives_the_same_bytes(sound, keys, events, sizes):
    events.sort(key=lambda event: event.time)
    whole = sound(events, 8000, **keys)
    assert np.array_equal(sound(events, 8000, sizes, **keys), whole)
    assert np.isfinite(whole).all()


@pytest.mark.parametrize("keys", [{"keys": KIT}, {"clip": {"loop": True}}])
def test_processes_that_share_the_voices_give_the_same_bytes(patch, keys):
    events = [on(200 * number, 36 + 5 * number % 24) for number in range(40)]
    events += [ControlChange(3000, 0, 20, 127), PitchBend(5000, 0, -8000)]
    events += [NoteOff(9000 + 100 * number, 0, 36 + 5 * number % 24) for number in range(30)]
    events.sort(key=lambda event: event.time)
    sounds = []
    for processes in (1, 3):
        rack = Rack({0: patch(**keys, play={"voices": 6})}, RATE, processes)
        sounds.append(
            np.concatenate(
                [rack.process([e for e in events if s <= e.time < s + 2000], 2000)[0] for s in range(0, 16_000, 2000)],
                1,
            )
        )
        rack.close()
    assert np.array_equal(*sounds)
    assert sounds[0].any()


@pytest.mark.parametrize("zone", ["none", "by RPN 6", "of the preset"])
@pytest.mark.parametrize("begin", [10, 40])
def test_a_sound_plays_whole_however_far_it_is_bent_before_or_after_it_begins(sound, zone, begin):
    """RPN 0 bends it by an octave, or a finger of a zone does."""
    channel, bend = (0, -8192) if zone == "none" else (1, -2048)
    wider = {"none": [DataEntry(0, 0, True, 0, "coarse", 12)], "by RPN 6": [ZoneSize(0, 0, 15)]}.get(zone, [])
    events = [*wider, PitchBend(20, channel, bend), NoteOn(begin, channel, 60, 100)]
    mpe = {"enabled": zone == "of the preset"}
    found = sound(sorted(events, key=lambda event: event.time), 3 * LENGTH, mpe=mpe)
    assert found[2 * LENGTH - 4 * FADE : 2 * LENGTH - FADE].any()
    assert not found[2 * LENGTH + 2 * FADE :].any()


def test_a_tuning_far_down_lets_a_sound_play_whole_too(sound):
    found = sound([on(), DataEntry(20, 0, True, 2, "coarse", 52)], 3 * LENGTH)  # an octave by RPN 2
    assert found[2 * LENGTH - 4 * FADE : 2 * LENGTH - FADE].any()


@pytest.mark.parametrize("wider", [DataEntry(0, 0, True, 0, "coarse", 48), ZoneSize(0, 0, 15), None])
def test_a_wide_range_alone_lets_no_voice_last_longer(patch, wider):
    """RPN 0, RPN 6 or the preset's own zone widen the range."""
    spans = []
    for is_wide in (False, True):
        instrument = ChannelInstrument(patch(mpe={"enabled": is_wide and wider is None}), RATE)
        events = [wider] if is_wide and wider is not None else []
        instrument.process([*events, NoteOn(10, 0 if isinstance(wider, DataEntry) else 1, 60, 100)], 1000)
        spans.append([voice.stream.over for voice in instrument._processor.voices])
    assert spans[0] == spans[1]
    assert len(spans[0]) == 1


def test_a_bend_after_a_sounds_end_leaves_the_end_where_it_was(patch):
    """In one block, so that the ended voice is still there."""
    ends = []
    for bends in ([], [DataEntry(4 * LENGTH, 0, True, 0, "coarse", 24), PitchBend(4 * LENGTH + 1, 0, -8192)]):
        instrument = ChannelInstrument(patch(), RATE)
        instrument.process([NoteOn(10, 0, 60, 100), *bends], 5 * LENGTH)
        ends.append(instrument._processor.voices.silent_since(5 * LENGTH))
    assert ends[0] == ends[1] > LENGTH // 2


def test_memory_stays_flat_however_long_it_plays(patch, monkeypatch):
    monkeypatch.setattr("timbrel.host.engines.clip.clip_cache.MOST_CACHED_BYTES", 8 * 4 * LENGTH)
    instrument = ChannelInstrument(patch(), RATE)

    def play(first, last):
        for number in range(first, last):
            now = 1000 * number
            instrument.process([ControlChange(now, 0, 20, number % 128), on(now + 500, 50 + number % 20)], 1000)

    play(0, 100)
    tracemalloc.start()
    play(100, 200)
    before = tracemalloc.get_traced_memory()[0]
    play(200, 600)
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert grown < 200_000


@pytest.mark.parametrize("key", [53, 60, 64])
@pytest.mark.parametrize(
    "clip",
    [
        {},
        {"length": 0.6, "reverse": True},
        {"loop": True, "length": 0.1},
        {"loop": True, "loop_start": 0.5, "crossfade_seconds": 0.01},
    ],
)
def test_blocks_through_which_a_clip_goes_straight_on_are_those_of_one_large_block(sound, key, clip):
    events = [on(50, key), ControlChange(700, 0, 20, 100), ControlChange(2500, 0, 20, 10), NoteOff(7000, 0, key)]
    assert np.array_equal(sound(events, 8000, sizes=(64,), clip=clip), sound(events, 8000, clip=clip))
