"""Rendering from Python with both voices: lengths, rates, bends, keys between keys, music of other packages."""

import re
from collections import namedtuple
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import mido
import numpy as np
import pytest
import timbrel
import timbrel.host.play.render as render_module
from timbrel import Note
from timbrel.host import voice_library
from timbrel.host.preset.shipped import MIDI
from timbrel.host.preset.tuning import pitch_of

from ...host.voice.rigs import needs_core
from .test_instrument import RATE, cents

PrettyNote = namedtuple("PrettyNote", "velocity pitch start end")  # as pretty_midi's
Change = namedtuple("Change", "number value time")
Bend = namedtuple("Bend", "pitch time")


@pytest.fixture(scope="module", params=[pytest.param("core", marks=needs_core), "numpy"])
def oboe(request: pytest.FixtureRequest) -> Iterator[timbrel.Instrument]:
    """The oboe, played by one of both voices."""
    with pytest.MonkeyPatch.context() as patches:
        patches.setenv(voice_library.VARIABLE, request.param)
        voice_library.voice_library.cache_clear()
        yield timbrel.open("gm-oboe")
    voice_library.voice_library.cache_clear()


@pytest.mark.parametrize("rate", [16_000, 22_050, 44_100, 96_000])
@pytest.mark.parametrize("seconds", [0.0, 0.25, 0.33333, 2.5])
def test_a_sound_has_the_exact_length_that_is_asked_for(oboe: timbrel.Instrument, rate: int, seconds: float) -> None:
    sound = oboe.render(Note(60, 0, 0.5), rate, seconds=seconds)
    assert (sound.shape, sound.sample_rate) == ((2, round(seconds * rate)), rate)


def test_a_cut_sound_is_the_whole_ones_beginning_with_a_fade_of_5_ms(oboe: timbrel.Instrument) -> None:
    whole = np.asarray(oboe.render([Note(60, 0, 0.7), Note(64, 0.4, 0.7)]))
    cut = np.asarray(oboe.render([Note(60, 0, 0.7), Note(64, 0.4, 0.7)], seconds=0.5))
    fade = round(0.005 * RATE)
    end = RATE // 2
    np.testing.assert_array_equal(cut[:, : end - fade], whole[:, : end - fade])
    ramp = np.linspace(1, 0, fade, dtype=np.float32)
    np.testing.assert_array_equal(cut[:, end - fade :], whole[:, end - fade : end] * ramp)
    assert np.abs(whole[:, end - fade : end]).max() > 0.01


def test_a_longer_sound_ends_in_silence(oboe: timbrel.Instrument) -> None:
    whole, padded = oboe.render(Note(60, 0, 0.2)), oboe.render(Note(60, 0, 0.2), seconds=4)
    np.testing.assert_array_equal(padded[:, : whole.shape[1]], whole)
    assert not padded[:, whole.shape[1] :].any()


def test_a_long_echo_rings_to_the_end_that_is_asked_for(tmp_path: Path) -> None:
    (tmp_path / "echo.toml").write_text(
        'format = 1\nmodel = "gm-partials-8"\n[[effects]]\nplugin = "Delay"\ndelay_seconds = 0.5\nfeedback = 0.97\n'
    )
    sound = timbrel.open(tmp_path / "echo.toml").render(Note(60, 0, 0.1), 16_000, seconds=34)
    assert np.abs(sound[:, 33 * 16_000 :]).max() > 1e-4  # the tail's own limit is 30 s


@pytest.mark.parametrize("rate", [16_000, 22_050, 48_000, 88_200])
def test_keys_keep_their_pitch_at_every_rate(oboe: timbrel.Instrument, rate: int) -> None:
    assert abs(cents(oboe.render(Note(69, 0, 0.9), rate), rate, 69)) < 3


@pytest.mark.parametrize("key", [60.5, 61.25, 68.9])
def test_keys_between_keys_sound_between_their_pitches(oboe: timbrel.Instrument, key: float) -> None:
    whole = cents(oboe.render(Note(round(key), 0, 0.9)), RATE, round(key))
    assert abs(cents(oboe.render(Note(key, 0, 0.9)), RATE, key) - whole) < 2


def test_a_whole_key_as_a_float_is_that_key(oboe: timbrel.Instrument) -> None:
    np.testing.assert_array_equal(oboe.render(Note(60.0, 0, 0.2)), oboe.render(Note(60, 0, 0.2)))


def test_keys_a_quarter_tone_apart_sound_together_and_end_apart(oboe: timbrel.Instrument) -> None:
    both = np.asarray(oboe.render([Note(60, 0, 1), Note(60.5, 0, 0.1)], seconds=1)).mean(axis=0)
    spectra = [np.abs(np.fft.rfft(part * np.hanning(len(part)), 1 << 17)) for part in (both[:8192], both[-16384:])]
    levels = []
    for spectrum in spectra:
        at = [round(440 * 2 ** ((key - 69) / 12) * 8 * (1 << 17) / RATE) for key in (60, 60.5)]  # the eighth partials
        levels.append([20 * np.log10(spectrum[place - 60 : place + 60].max()) for place in at])
    assert abs(levels[0][0] - levels[0][1]) < 15
    assert levels[1][0] - levels[1][1] > 25


def test_pitches_between_keys_lie_on_lines_and_need_both_neighbours() -> None:
    tuning = {60: 60.0, 61: 61.5, 64: 64.0}
    assert [pitch_of(key, tuning) for key in (60, 60.25, 61.0)] == [60.0, 60.375, 61.5]
    assert [pitch_of(key, tuning) for key in (59.5, 61.5, 63, 64.5)] == [None] * 4


def test_a_bend_moves_all_notes_by_its_semitones(oboe: timbrel.Instrument) -> None:
    note = Note(60, 0, 0.9)
    whole = cents(oboe.render(note), RATE, 60)
    for bend in (7, -1.5, 12.0, [(0, 2), (0.1, 5)], np.array([[0, 2], [0.1, 5]]), np.full(RATE, 5.0)):
        to = bend if isinstance(bend, int | float) else 5
        assert abs(cents(oboe.render(note, bend=bend), RATE, 60 + to) - whole) < 2
    np.testing.assert_array_equal(oboe.render(note, bend=0), oboe.render(note))


def test_a_bend_keeps_its_semitones_where_the_music_sets_the_wheels_range(oboe: timbrel.Instrument) -> None:
    messages = [mido.Message("control_change", control=number, value=value) for number, value in ((101, 0), (100, 0))]
    messages += [mido.Message("control_change", control=6, value=12), mido.Message("note_on", note=60)]
    messages += [mido.Message("note_off", note=60, time=0.9)]
    found = oboe.render(messages, bend=[(0, 0), (0.1, 3)])
    assert abs(cents(found, RATE, 63) - cents(oboe.render(Note(60, 0, 0.9)), RATE, 60)) < 2


@pytest.mark.parametrize("seconds", [0, 0.4])
@pytest.mark.parametrize("name", ["all controllers", "range", "General MIDI"])
def test_a_bend_holds_through_resets_and_ranges(oboe: timbrel.Instrument, name: str, seconds: float) -> None:
    """Files often begin with these, at the time of the first bend."""
    numbers = {"all controllers": [(121, 0)], "range": [(101, 0), (100, 0), (6, 12)]}.get(name, [])
    messages = [mido.Message("control_change", control=each, value=value, time=seconds) for each, value in numbers]
    messages = messages or [mido.Message("sysex", data=bytes.fromhex("7e7f0901"), time=seconds)]
    first = [mido.Message("note_on", note=60), mido.Message("note_off", note=60, time=0.3)]
    second = [mido.Message("note_on", note=64, time=0.4), mido.Message("note_off", note=64, time=0.7)]
    music = [*first, *messages, *second] if seconds else [*messages, *first, *second]
    np.testing.assert_array_equal(oboe.render(music, bend=3), oboe.render([*first, *second], bend=3))


def test_an_array_with_a_position_a_sample_is_the_line_of_its_points(oboe: timbrel.Instrument) -> None:
    note, positions = Note(60, 0, 0.5), np.linspace(0.2, 0.8, RATE // 2)
    line = oboe.render(note, knobs={"gain": [(0, 0.2), (0.5, 0.8)]})
    sampled = oboe.render(note, knobs={"gain": positions})
    assert np.abs(sampled - line).max() < 0.01 * np.abs(line).max()
    held = oboe.render(note, knobs={"gain": np.array([[0, 0.2], [0.5, 0.8]])})
    np.testing.assert_array_equal(held, line)
    steady = oboe.render(note, knobs={"gain": np.full(RATE, 0.4)})
    np.testing.assert_array_equal(steady, oboe.render(note, knobs={"gain": 0.4}))


def test_notes_of_other_channels_play_their_presets(oboe: timbrel.Instrument) -> None:
    notes = [Note(60, 0, 0.3), Note(64, 0.3, 0.3, channel=2)]
    both = oboe.render(notes, channels={2: "gm-keys"}, seconds=0.8)
    alone = oboe.render(notes, channels={2: None}, seconds=0.8)
    keys = timbrel.open("gm-keys").render(notes, channels={1: None}, seconds=0.8)
    np.testing.assert_allclose(both, alone + keys, atol=1e-6)
    assert np.abs(keys[:, RATE // 3 :]).max() > 0.01


def test_a_key_of_two_channels_is_two_notes(oboe: timbrel.Instrument) -> None:
    both = oboe.render([Note(60, 0, 0.5, 40), Note(60, 0.2, 0.5, 40, channel=2)], knobs={"gain": 0.5}, seconds=0.4)
    restruck = oboe.render([Note(60, 0, 0.5, 40), Note(60, 0.2, 0.5, 40)], knobs={"gain": 0.5}, seconds=0.4)
    part = slice(round(0.3 * RATE), round(0.38 * RATE))
    assert np.square(both[:, part]).mean() > 1.3 * np.square(restruck[:, part]).mean()


def messages_of(path: Path) -> list[mido.Message]:
    """A file's messages with their seconds from the beginning."""
    now, messages = 0.0, []
    for message in mido.MidiFile(path):
        now += message.time
        messages.append(message.copy(time=now))
    return messages


def test_midos_files_and_messages_sound_as_the_file_does(oboe: timbrel.Instrument) -> None:
    tune = MIDI / "digits-keys.mid"
    expected = oboe.render(tune, tail_seconds=1)
    np.testing.assert_array_equal(oboe.render(mido.MidiFile(tune), tail_seconds=1), expected)
    listed = oboe.render(messages_of(tune), tail_seconds=1)
    length = min(listed.shape[1], expected.shape[1])
    assert np.abs(listed[:, :length] - expected[:, :length]).max() < 0.02  # its times are rounded by mido's floats


def test_a_sound_that_the_limiter_bends_is_warned_of(oboe: timbrel.Instrument, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(render_module, "limited", lambda mix: 0.34)
    for seconds in (None, 0.4):
        with pytest.warns(UserWarning, match="the sound is too loud: at 0:00 the limiter bends 34% of") as caught:
            oboe.render(Note(60, 0, 0.2), seconds=seconds)
        assert caught[0].filename == __file__


def test_a_key_that_messages_never_release_is_released_at_their_end_with_a_warning(oboe: timbrel.Instrument) -> None:
    messages = [mido.Message("note_on", note=60), mido.Message("control_change", control=7, value=100, time=0.5)]
    with pytest.warns(UserWarning, match="1 note without a note-off"):
        assert oboe.render(messages).seconds < 3


def test_pretty_midis_notes_instruments_and_files_sound_as_our_notes_do(oboe: timbrel.Instrument) -> None:
    ours = [Note(60, 0, 0.3, 90), Note(67, 0.25, 0.3, 70)]
    pretty = [PrettyNote(90, 60, 0, 0.3), PrettyNote(70, 67, 0.25, 0.55)]
    instrument = SimpleNamespace(notes=pretty, is_drum=False, control_changes=[], pitch_bends=[])
    expected = oboe.render(ours)
    for music in (pretty, instrument, [instrument], SimpleNamespace(instruments=[instrument])):
        np.testing.assert_array_equal(oboe.render(music), expected)


@pytest.mark.filterwarnings("ignore:every channel")
def test_pretty_midis_controllers_and_bends_are_played_and_instruments_have_channels(oboe: timbrel.Instrument) -> None:
    bent = SimpleNamespace(notes=[PrettyNote(100, 60, 0, 0.9)], pitch_bends=[Bend(8191, 0)], control_changes=[])
    whole = cents(oboe.render(Note(60, 0, 0.9)), RATE, 60)
    assert abs(cents(oboe.render(bent), RATE, 62) - whole) < 2
    silent = SimpleNamespace(notes=[PrettyNote(100, 60, 0, 0.2)], control_changes=[Change(7, 0, 0)], pitch_bends=[])
    assert not oboe.render(silent)[:, RATE // 20 :].any()  # its first moments are the volume's ramp
    drum = SimpleNamespace(notes=[PrettyNote(100, 60, 0, 0.2)], is_drum=True)
    muted = {1: None, 2: None}
    assert not oboe.render([silent, bent], channels=muted, seconds=0.2).any()
    with pytest.warns(UserWarning, match="channel 10, drums"):
        assert oboe.render([drum], channels=muted, seconds=0.2).any()


def test_many_sounds_are_those_of_single_calls_to_the_bit(oboe: timbrel.Instrument) -> None:
    notes = [Note(60, 0, 0.2), Note(67.5, 0.1, 0.3, 60), Note(72, 0, 0.1)]
    options: dict[str, Any] = {
        "seconds": 0.6,
        "knobs": {"brightness": [(0, 0.1), (0.3, 0.9)]},
        "bend": [(0, 0), (1, 2)],
    }
    for given in ({}, options):
        found = oboe.render_many(notes, 22_050, **given)
        assert [sound.sample_rate for sound in found] == [22_050] * 3
        for note, sound in zip(notes, found, strict=True):
            np.testing.assert_array_equal(sound, oboe.render(note, 22_050, **given))
    assert oboe.render_many([]) == []


def test_codes_outside_their_ranges_are_refused_or_clamped(oboe: timbrel.Instrument) -> None:
    spans = np.array([[latent["low"], latent["high"]] for latent in oboe.card["latents"]])
    ends = spans.astype(np.float32).T
    for end in ends:
        oboe.decode(end)  # rounded to float32, it lies inside
    outside = np.array([ends[1], ends[1]])
    outside[1, 3] += 1
    with pytest.raises(timbrel.UserError, match=re.escape("codes[1]: latent 3 is")):
        oboe.decode(outside)
    np.testing.assert_array_equal(oboe.decode(outside, clamp=True), oboe.decode(np.array([ends[1], ends[1]])))
    below = ends[0] - 1
    with pytest.raises(timbrel.UserError, match=re.escape("codes[0]: latent 0 is")):
        oboe.decode(below)
    np.testing.assert_array_equal(oboe.decode(below, clamp=True), oboe.decode(ends[0]))


LATE = [mido.Message("note_on", note=60, time=1.0), mido.Message("note_off", note=60, time=0.5)]


@pytest.mark.parametrize(
    ("music", "options", "said"),
    [
        (Note(60), {"sample_rate": 15_999}, "a sample rate of 15999 Hz: give 16000 to 96000"),
        (Note(60), {"sample_rate": 96_001}, "a sample rate of 96001 Hz"),
        (Note(60), {"sample_rate": 44_100.5}, "a sample rate of 44100.5 Hz"),
        (Note(60), {"seconds": -1}, "seconds -1 is out of range; give 0 to 36000"),
        (Note(60), {"seconds": "1"}, "seconds '1' is no number"),
        (Note(60), {"bend": 25}, "bend: value 25 is out of range; give -24 to 24 semitones"),
        (Note(60), {"bend": np.array([0, -24.5])}, "bend: value -24.5 is out of range"),
        (Note(60), {"bend": [1, 2]}, "bend: 1 is no pair; give (seconds, value)"),
        (Note(60), {"bend": []}, "bend has no points"),
        (Note(60), {"knobs": {"gain": np.array([])}}, "knob 'gain' has no values"),
        (Note(60), {"knobs": {"gain": np.array([0, np.nan])}}, "has other values than finite numbers"),
        (Note(60), {"knobs": {"gain": np.array(["a"])}}, "has other values than finite numbers"),
        (Note(60), {"knobs": {"gain": np.array([0, 1.5])}}, "position 1.5 is out of range; give 0 to 1 of its range"),
        (LATE, {}, "a message at 0.5 s comes after one at 1 s"),
        ([mido.Message("note_on", note=60, time=-1)], {}, "message: time -1 is out of range"),
        ([mido.Message("pitchwheel", pitch=1), *LATE[:1]], {"bend": 1}, "channel 1 has bends of its own"),
        (60, {}, "60 is no music"),
        ([Note(60), 60], {}, "60 is no timbrel.Note"),
        ([PrettyNote(100, 60, 0, 0)], {}, "duration 0.0 is out of range"),
        ([PrettyNote(100, 60, "0", 1)], {}, "note: start '0' is no number"),
        ([PrettyNote(100, 60, 0, None)], {}, "note: end None is no number"),
        (SimpleNamespace(instruments=5), {}, "the music's instruments 5 is no list"),
        (SimpleNamespace(instruments=[5]), {}, "instrument 5 has no notes; give objects of pretty_midi's shape"),
        (SimpleNamespace(notes=5), {}, "notes 5 is no list"),
        (SimpleNamespace(notes=[], control_changes=5), {}, "control_changes 5 is no list"),
        (SimpleNamespace(notes=[], pitch_bends=[5]), {}, "pitch bend 5 has no time"),
        (mido.MidiTrack([mido.Message("note_on", note=60, time=480)]), {}, "a mido.MidiTrack has times in ticks"),
        ([SimpleNamespace(bytes=lambda: [144, 60, 300], time=0)], {}, "gives no bytes of MIDI"),
        ([SimpleNamespace(bytes=bytes, time="0")], {}, "message: time '0' is no number"),
        (Note(60), {"seconds": float("inf")}, "seconds inf is not finite"),
        (Note(60), {"bend": np.zeros((3, 3))}, "an array of shape (3, 3) is no curve; give one value a sample, or"),
        (Note(60), {"bend": np.zeros((2, 2, 2))}, "an array of shape (2, 2, 2) is no curve"),
        (Note(60), {"bend": [np.zeros(1000)]}, "bend: array([0., 0., 0., 0.,"),
        (Note(60), {"bend": [(0, 0), (1,)]}, "bend: (1,) is no pair"),
        (Note(60), {"bend": "0"}, "bend: '0' is no number"),
        (Note(60), {"bend": {0: 1}}, "bend: {0: 1} is no number"),
        (Note(60), {"knobs": {None: 1}}, "knob None is no text"),
        (Note(60), {"knobs": "gain"}, "knobs 'gain' is no dictionary"),
        (Note(60), {"channels": [1]}, "channels [1] is no dictionary"),
        (Note(60), {"channels": {1: 5}}, "channels[1] 5 is no path"),
        (Note(60), {"channels": {1.0: None}}, "channel 1.0 is not a whole number"),
        (
            [SimpleNamespace(notes=[], control_changes=[Change(128, 0, 0)])],
            {},
            "control change: controller 128 is out of range",
        ),
        (
            [SimpleNamespace(notes=[], pitch_bends=[SimpleNamespace(time=0, pitch=8192)])],
            {},
            "pitch bend: 8192 is out of range; give -8192 to 8191",
        ),
        ([SimpleNamespace(notes=[])] * 16, {}, "more than 15 instruments"),
    ],
)
@pytest.mark.filterwarnings("ignore:1 note without")
def test_music_that_cannot_be_played_is_one_line(music: Any, options: dict[str, Any], said: str) -> None:
    with pytest.raises(timbrel.UserError, match=re.escape(said)) as caught:
        timbrel.open("gm-oboe").render(music, **options)
    assert "\n" not in str(caught.value)
