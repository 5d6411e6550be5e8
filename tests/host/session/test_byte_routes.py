"""The same MIDI bytes do the same in a rendered file, live, in a plugin, and in a file that is processed."""

import numpy as np
import pytest
from timbrel.host.midi.decode import MidiDecoder
from timbrel.host.midi.files import read_performance
from timbrel.host.midi.recorder import Recorder
from timbrel.host.play.player import Player
from timbrel.host.play.rack import Rack
from timbrel.host.plugin.audio_thread import AudioThread
from timbrel.host.plugin.patch_loader import Mode, OpenedPatch, make_loaded_patch, rack_of
from timbrel.host.plugin.wire import EventKind, Position, ReceivedEvent
from timbrel.host.preset.library import open_patch
from timbrel.host.resynthesis.processor import Processor

from ..midi.smf import END, midi

RATE, CHANNELS = 48000, range(2)
APART = 1200  # samples from one message to the next
TICKS = 24  # the same, at 480 ticks a quarter note and 120 quarters a minute

PRESET = """
format = 1
model = "gm-chroma-8"
[envelope]
release_seconds = 0.0
[[cc]]
number = 20
target = "latent.0"
low = 0.0
high = 1.0
"""


@pytest.fixture(scope="module")
def patch(tmp_path_factory):
    path = tmp_path_factory.mktemp("bytes") / "bytes.toml"
    path.write_text(PRESET)
    return open_patch(str(path))


def in_file(patch, messages, folder):
    """A synthesizer's state, and its knob, by channel."""
    performance = written(messages, folder)
    rack = Rack(dict.fromkeys(CHANNELS, patch), RATE)
    rack.process(performance.events, len(messages) * APART)
    return state(rack._instruments), rack.knobs[0].at("latent.0")


def live(patch, messages, folder):
    decoder, player = MidiDecoder(), Player(Rack({0: patch}, RATE, omni=True, live=True), RATE)
    for number, data in enumerate(messages):
        for event in decoder.feed(data, number * APART):
            player.schedule(event)
    for _ in range(len(messages) * APART // 240):
        player.block(240)
    return of_omni(player.rack)


def recorded_live(patch, messages, folder):
    """What a recorder writes of live events, rendered."""
    decoder, path = MidiDecoder(), folder / "take.mid"
    with Recorder(path, RATE, overwrite=True) as recorder:
        recorder.add(event for number, data in enumerate(messages) for event in decoder.feed(data, number * APART))
        recorder.spill(len(messages) * APART)
    rack = Rack({0: patch}, RATE, omni=True)
    until = len(messages) * APART
    rack.process([event for event in read_performance(path, RATE).events if event.time < until], until)
    return of_omni(rack)


class Memory:
    """A plugin's memory with all samples asked for."""

    def __init__(self, events, samples):
        self.complete = Position(1, samples)
        self.events = [ReceivedEvent(0, RATE, EventKind.RESET, 1, 1, 0, 0, 0, 0), *events]

    def read_events(self):
        events, self.events = self.events, []
        return events

    put = write_latency = write_made = lambda self, *told: None


class Loader:
    def __init__(self, patch):
        rack = rack_of(patch, Mode(RATE, offline=True))
        self.patch = make_loaded_patch(OpenedPatch(patch, str(patch.folder / f"{patch.name}.toml")), rack)

    def loaded_after(self, loads):
        return self.patch


def plugged(patch, messages, folder):
    received = []
    for number, data in enumerate(messages):
        kind = EventKind.EXCLUSIVE if data[0] == 0xF0 else EventKind.MIDI
        for at in range(0, len(data), 3):  # as the plugin sends long ones
            part = data[at : at + 3]
            status, first, second = [*part, 0, 0][:3]
            received.append(ReceivedEvent(number * APART, 0.0, kind, len(part), 1, status, first, second, 0))
    audio = AudioThread(Memory(received, len(messages) * APART), Loader(patch))
    while audio.work():
        pass
    return of_omni(audio.player.rack)


def processed(patch, messages, folder):
    processor = Processor(patch, RATE)
    processor.process(written(messages, folder).events, np.zeros((1, len(messages) * APART), np.float32))
    codes, now = processor.codes, round(len(messages) * APART * processor._model_rate / RATE)
    keys = {key.channel: {"key": key.key, "semitones": key.bend(now)} for key in codes.down}
    return keys, processor.knobs.at("latent.0")


def written(messages, folder):
    body = "".join(f"{TICKS if number else 0:02x} {smf_event(data)} " for number, data in enumerate(messages))
    (folder / "song.mid").write_bytes(midi(body + f"{TICKS:02x}" + END[2:]))
    performance = read_performance(folder / "song.mid", RATE)
    return performance._replace(events=[e for e in performance.events if e.time < len(messages) * APART])


def smf_event(data):
    return f"f0 {len(data) - 1:02x} {data[1:].hex()}" if data[0] == 0xF0 else data.hex()


def of_omni(rack):
    return state(dict.fromkeys(CHANNELS, rack._instruments[0])), rack.knobs[0].at("latent.0")


def state(instruments):
    """Of the newest sounding note of each channel: its key, pitch and level."""
    found = {}
    for channel, instrument in instruments.items():
        processor, now = instrument._processor, instrument._synthesis.now
        for voice in processor.voices:
            if voice.note[0] == channel and voice.envelope.off is None:
                bend = processor.motion_of([voice]).bend_semitones([0], np.array([now]))
                level = processor.level(voice.bus).left.value(now)
                found[channel] = {"key": voice.key, "semitones": float(bend[0]), "level": level}
    return found


def rpn(channel, number, value, fine=None):
    messages = [bytes([0xB0 | channel, *pair]) for pair in ((101, 0), (100, number), (6, value))]
    return messages + ([] if fine is None else [bytes([0xB0 | channel, 38, fine])])


def hexed(text):
    return [bytes.fromhex(message) for message in text.split(",")]


ON, ON_2 = hexed("90 3c 64"), hexed("91 3c 64")
GM, GM_2, GS = hexed("f0 7e 7f 09 01 f7"), hexed("f0 7e 7f 09 03 f7"), hexed("f0 41 10 42 12 40 00 7f 00 41 f7")
XG, GM_OFF = hexed("f0 43 10 4c 00 00 7e 00 f7"), hexed("f0 7e 7f 09 02 f7")
MOVED = [
    *rpn(0, 0, 12),
    *rpn(0, 1, 96),
    *rpn(0, 2, 66),
    *hexed("f0 7f 7f 04 04 00 43 f7, e0 00 60, b0 07 10, b0 0b 20"),
]
TABLE = {
    "fine tuning": ([*rpn(0, 1, 96), *ON, *ON_2], {0: 0.5, 1: 0.0}),
    "fine tuning of 14 bits": ([*rpn(0, 1, 0, 0), *ON], {0: -1.0}),
    "a coarse half alone": ([*rpn(0, 1, 64, 127), *rpn(0, 1, 32), *ON], {0: -0.5}),
    "coarse tuning of a note that sounds": ([*ON, *ON_2, *rpn(1, 2, 52)], {0: 0.0, 1: -12.0}),
    "both": ([*rpn(0, 2, 66), *rpn(0, 1, 32), *ON], {0: 1.5}),
    "master fine tuning": (hexed("f0 7f 7f 04 03 00 50 f7, 90 3c 64, 91 3c 64"), {0: 0.25, 1: 0.25}),
    "master coarse tuning": (hexed("90 3c 64, f0 7f 7f 04 04 00 3e f7, 91 3c 64"), {0: -2.0, 1: -2.0}),
    "all of them": ([*rpn(0, 1, 96), *rpn(0, 2, 63), *hexed("f0 7f 05 04 04 00 41 f7"), *ON], {0: 0.5}),
    "tuning survives a reset of controllers": ([*rpn(0, 2, 66), *hexed("b0 79 00"), *ON], {0: 2.0}),
    "a note before all is reset": ([*ON, *GM], {}),
    **{
        f"{name} after all was moved": ([*MOVED, *message, *ON, *ON_2], {0: 0.0, 1: 0.0})
        for name, message in {"GM On": GM, "GM2 On": GM_2, "GS": GS, "XG": XG}.items()
    },
    "GM Off": ([*ON, *rpn(0, 2, 66), *GM_OFF], {0: 2.0}),
    "a pedal before GM On": ([*hexed("b0 40 7f"), *ON, *GM, *hexed("80 3c 40")], {}),
}
APART_TABLE = {
    "a bend": (hexed("90 3c 64, 91 3c 64, e1 00 60"), {0: 0.0, 1: 1.0}),
    "a bend range": ([*ON, *ON_2, *rpn(1, 0, 12), *hexed("e0 00 60, e1 00 60")], {0: 1.0, 1: 6.0}),
    "a pedal": (hexed("b1 40 7f, 90 3c 64, 91 3c 64, 80 3c 40, 81 3c 40"), {1: 0.0}),
    "sostenuto": (hexed("90 3c 64, 91 3c 64, b1 42 7f, 80 3c 40, 81 3c 40"), {1: 0.0}),
    "all notes off": (hexed("90 3c 64, 91 3c 64, b1 7b 00"), {0: 0.0}),
    "all sound off": (hexed("90 3c 64, 91 3c 64, b1 78 00"), {0: 0.0}),
    "a reset of controllers": (hexed("e0 00 60, e1 00 60, 90 3c 64, 91 3c 64, b1 79 00"), {0: 1.0, 1: 0.0}),
}
SYNTHESIZERS = [in_file, live, recorded_live, plugged]


@pytest.mark.parametrize("route", [*SYNTHESIZERS, processed])
@pytest.mark.parametrize("name", TABLE)
def test_the_same_bytes_tune_and_reset_on_each_route(patch, tmp_path, name, route):
    messages, semitones = TABLE[name]
    notes, _ = route(patch, messages, tmp_path)
    assert {channel: note["semitones"] for channel, note in notes.items()} == pytest.approx(semitones, abs=1e-9)


@pytest.mark.parametrize("route", SYNTHESIZERS)
@pytest.mark.parametrize("name", APART_TABLE)
def test_the_same_bytes_stay_in_their_channel_on_each_route(patch, tmp_path, name, route):
    messages, semitones = APART_TABLE[name]
    notes, _ = route(patch, messages, tmp_path)
    assert {channel: note["semitones"] for channel, note in notes.items()} == pytest.approx(semitones, abs=1e-9)


@pytest.mark.parametrize("route", SYNTHESIZERS)
def test_volume_pan_and_expression_stay_in_their_channel_on_each_route(patch, tmp_path, route):
    notes, _ = route(patch, hexed("90 3c 64, 91 3c 64, b1 07 32, b1 0b 40"), tmp_path)
    quieter = (50 / 100) ** 2 * (64 / 127) ** 2
    assert notes[1]["level"] == pytest.approx(quieter * notes[0]["level"])
    assert notes[0]["level"] == pytest.approx(0.5**0.5, rel=0.01)


@pytest.mark.parametrize("route", [*SYNTHESIZERS, processed])
@pytest.mark.parametrize("message", [GM, GM_2, GS, XG])
def test_a_reset_keeps_the_presets_knobs_and_brings_levels_to_rest_on_each_route(patch, tmp_path, route, message):
    notes, knob = route(patch, [*hexed("b0 14 7f"), *MOVED, *message, *ON], tmp_path)
    untouched, _ = route(patch, ON * 4, tmp_path)
    assert knob == 1.0
    assert notes[0].get("level") == untouched[0].get("level")
