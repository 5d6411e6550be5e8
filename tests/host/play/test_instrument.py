"""The whole machine: the sample on which each event takes effect, and that blocks change no bit."""

import numpy as np
import pytest
import scipy.signal
from hypothesis import given
from hypothesis import strategies as st
from timbrel.host.audio.output import QUANTUM
from timbrel.host.events import ControlChange, NoteOff, NoteOn, PitchBend
from timbrel.host.play.rack import Rack
from timbrel.host.preset.library import open_patch
from timbrel.host.signal import sounding_note

from ..cover import cover
from .performances import LARGE, MAPS, SHARP, level_db, rpn

RATE = 22050
EFFECTS = [{"plugin": "Chorus"}, {"plugin": "Reverb", "room_size": 0.3}, {"plugin": "LowpassFilter"}]
TURNED = [
    {"number": 74, "target": "effects.1.wet_level", "low": 0.0, "high": 1.0},
    {"number": 75, "target": "effects.2.cutoff_frequency_hz", "low": 200.0, "high": 8000.0, "curve": 2.0},
    {"number": 1, "target": "effects.0.depth", "low": 0.1, "high": 0.7},
]


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
            count = 9000
            events = busy(len(name), count, [entry["number"] for entry in SETTINGS[name]["cc"]])
            instrument = make_instrument(rate, **SETTINGS[name])
            made[name, rate] = events, play(instrument, events, count)
        return made[name, rate]

    return sound


@pytest.mark.parametrize(("name", "rate", "sizes"), cover(22, list(SETTINGS), [RATE, 48000], SIZES), ids=str)
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
    assert np.array_equal(play(make_instrument(48000, **SETTINGS["effects"]), events, 9000), expected)


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
    from timbrel.host.engines.engine import VOICE_LUFS
    from timbrel.host.engines.spectrum.engine import SpectrumEngine

    class Still:
        own_codes = False

        def latents(self, voices, times, own_times=None):
            return np.full((len(times), 2), 0.5, np.float32)

        def residual(self, voices, times, ahead):
            return None

        def decoded_keys(self, voices):
            return [None] * len(voices)

        def bend_semitones(self, voices, times):
            return np.zeros(len(times))

    engine = SpectrumEngine(tiny(), 4000)
    bare = engine.render([engine.start_stream(60, 0)], Still(), 0, 4000)[0][0]
    gain = 10 ** ((VOICE_LUFS - tiny().card.loudness_lufs) / 20)
    sound = play(make_instrument(envelope=SHARP), [NoteOn(0, 0, 60, 127)], 4000)
    assert sound[:, 100:] == pytest.approx(np.stack([bare, bare])[:, 100:] * gain * 0.5**0.5, rel=1e-5, abs=1e-7)


def test_still_silence_is_exactly_nothing(make_instrument, play):
    events = [NoteOn(10, 0, 60, 100), NoteOff(1000, 0, 60), ControlChange(6000, 0, 7, 20)]
    sound = play(make_instrument(envelope=SHARP), events, 20_000)
    assert np.all(sound[:, 2000:] == 0)


@pytest.mark.parametrize(
    "changed",
    [
        {"phase": "noise"},
        {"phase": "causal"},
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
