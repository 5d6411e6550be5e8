"""Phrases of eight seconds, one a current preset: `python tests/phrases.py` writes them to presets/midi.

A line is a voice of notes KEYS/BEATS=VELOCITY: "+" joins the keys of a chord, "-" is a rest, "~" after the beats slurs
the note into the next, and an omitted velocity repeats the last. Curves of controllers, and of the bend from -1 to 1,
have steps BEAT=VALUE and ramps BEAT~VALUE from the point before.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import mido

FOLDER = Path(__file__).parents[1] / "presets" / "midi"
TICKS = 480  # a beat
RAMP_TICKS = 30  # between the steps of a ramp
SLUR_TICKS = 30
DRUM_CHANNEL = 9
BEND = "bend"
ORDER = ("note_off", "control_change", "pitchwheel", "note_on")  # at one tick
KEY = re.compile(r"([A-G])([#b]?)(\d)")
PITCH_CLASSES = dict(zip("CDEFGAB", (0, 2, 4, 5, 7, 9, 11), strict=True))
ACCIDENTALS = {"": 0, "#": 1, "b": -1}
# General MIDI's keys
DRUMS = {"kick": 36, "snare": 38, "hat": 42, "low": 45, "open": 46, "crash": 49, "high": 50}
WORDS = dict(zip("0123456789", (60, 62, 64, 65, 67, 69, 71, 72, 74, 76), strict=True))


@dataclass(frozen=True)
class Phrase:
    """``curves`` by number of a controller, or `BEND`."""

    bpm: int
    beats: int
    voices: list[str]
    curves: dict[int | str, str] = field(default_factory=dict)
    channel: int = 0


PHRASES = {
    "grand-piano": Phrase(
        60,
        8,
        [
            "F#5/1=80 E5/.5=66 C#5/.5=72 D5/1.5=82 B4/.5=60 G4/.5=66 A4/.25=62 B4/.25=70 C#5/.5=78 E5/.5=88 D5/2=72",
            "-/.5 A4/1.5=50 F#4/2=54 -/1 G4/1=52 F#4+A4/2=50",
            "B1/.5=62 F#2/.5=46 D3/.5=50 F#3/.5=44 G1/.5=64 D2/.5=46 B2/.5=52 D3/.5=44 "
            "E2/.5=64 B2/.5=50 A1/.5=66 G2/.5=52 D2/.5=60 A2/.5=46 D3/1=42",
        ],
        {64: "0=127 1.95=0 2.05=127 3.95=0 4.05=127 4.95=0 5.05=127 5.95=0 6.05=127 8=0"},
    ),
    "electric-piano": Phrase(
        90,
        12,
        [
            "-/3 C5/.5=64 E5/.5=74 D5/.5=70 B4/.5=60 -/2 Eb5/1=78 D5/.5=80 G5/.5=70 E5/.5=74 B4/2=64",
            "-/.5 F3+A3+C4+E4/.5=66 -/.5 F3+A3+C4+E4/1=82 -/.5 F3+A3+C4+E4/.5=58 -/.5 "
            "-/.5 F3+A3+B3+E4/.5=68 -/.5 F3+A3+B3+E4/1=84 -/.5 F3+A3+B3+E4/.5=60 F3+Ab3+B3+Eb4/.5=76 "
            "E3+G3+B3+D4/3.5=80",
            "D2/1.5=76 -/.5 D2/.5=56 A2/.5=62 -/1 G1/1.5=80 -/.5 G2/.5=60 D2/.5=64 -/1 C2/3.5=74",
        ],
    ),
    "reed-organ": Phrase(
        60,
        8,
        [
            "A4/1=84 A4/.5=80 B4/.5=78 D5/1=92 B4/1=88 G4/1=82 A4/.5=86 G4/.5=80 F#4/2=76",
            "F#4/1=74 E4/1 F#4/1=80 G4/1=78 E4/1=74 E4/1=76 D4/2=70",
            "D4/1=74 A3/1=72 B3/1=80 D4/1=78 B3/1=74 D4/.5=80 C#4/.5=74 A3/2=68",
            "D3/1=80 C#3/1=76 B2/1=84 G2/1=82 G2/1=78 A2/1=86 D2+D3/2=78",
        ],
    ),
    "jazz-vibraphone": Phrase(
        120,
        16,
        [
            "G4+Bb4+D5/.75=92 -/.25 F5/.5=74 D5/.5=66 C5/.5=82 Bb4/.5=58 -/1 "
            "A4/.5=70 C5/.5=78 Eb5/.75=104 D5/.25=64 Bb4/1=72 -/1 "
            "Eb4+G4+Bb4+D5/.75=96 -/.25 F5/.5=86 G5/.5=98 Bb5/1=110 A5/.5=80 F5/.5=62 "
            "G5/.33=54 F5/.33=48 D5/.34=44 C5/.5=60 Bb4/.5=50 G4+Bb4+D5+F5/2=38",
            "-/.5 G3+F4/.5=60 -/2.5 C4+Eb4/.5=56 -/.5 F3+Eb4/.5=58 -/3 "
            "-/.5 Eb3+D4/.5=62 -/2.5 D3+C4/.5=52 -/.5 G3+F4/1.5=44 -/2",
        ],
        {64: "0=127 3.9=0 4.05=127 7.9=0 8.05=127 11.9=0 12.05=127 16=0"},
    ),
    "nylon-guitar": Phrase(
        120,
        16,
        [
            "A2/.5=86 E3/.5=58 A3/.5=62 C4/.5=66 E4/.5=84 C4/.5=60 B3/.5=70 E3/.5=54 "
            "F2/.5=84 C3/.5=58 A3/.5=62 C4/.5=66 E4/.5=82 C4/.5=60 G4/.5=86 C4/.5=58 "
            "D3/.5=82 A3/.5=58 D4/.5=64 F4/.5=72 E3/.5=86 B3/.5=60 D4/.5=70 G#3/.5=58 "
            "A2/.25=80 E3/.25=64 A3/.25=66 C4/.25=70 B4/1=88 C5/2=78",
        ],
        {64: "0=127 3.9=0 4.1=127 7.9=0 8.1=127 9.9=0 10.1=127 11.9=0 12.1=127 16=0"},
    ),
    "finger-bass": Phrase(
        120,
        16,
        [
            "E1/.5=112 -/.25 E1/.25=70 G1/.25=90 -/.25 A1/.5=100 -/.25 E2/.25=116 -/.5 D2/.25=88 E2/.25=98 "
            "B1/.25=82 -/.25 "
            "E1/.5=110 -/.5 E2/.25=114 -/.25 D2/.5=92 -/.25 B1/.25=78 A1/.5=96 Bb1/.25=84 B1/.25=92 G1/.5=86 "
            "E1/.5=112 -/.25 E1/.25=72 G1/.25=90 -/.25 A1/.5=102 -/.25 E2/.25=116 -/.5 D2/.25=86 E2/.25=98 "
            "B1/.25=84 -/.25 "
            "A1/.5=106 -/.25 A1/.25=72 C2/.25=94 -/.25 D2/.5=100 E2/.25=112 D2/.25=86 B1/.25=92 G1/.25=84 E1/1=114"
        ],
    ),
    "string-ensemble": Phrase(
        60,
        8,
        [
            "G4/1~=62 C5/1~=68 E5/2=84 F5/1~=88 D5/.5~=80 B4/.5~=74 C5/2=66",
            "E4/2~=58 A4/2=72 A4/1~=76 G4/1=72 G4/2=60",
            "C4/2=58 C4/2~=70 D4/1=74 D4/1~=70 E4/2=60",
            "C3/2~=64 A2/2~=74 F2/1~=82 G2/1~=80 C2/2=66",
        ],
        {11: "0=52 4~124 6~104 8~40"},
    ),
    "mixed-choir": Phrase(
        60,
        8,
        [
            "Bb4/1~=66 A4/1=58 A4/2~=68 D5/1~=80 C5/1=76 C5/2=62",
            "F4/2~=60 E4/1~=70 F4/1=64 F4/1=74 F4/.5~=78 E4/.5~=70 F4/2=60",
            "C4/2~=60 A3/2~=64 Bb3/1~=72 G3/1~=72 A3/2=58",
            "F3/2~=64 D3/2~=68 Bb2/1~=76 C3/1~=78 F2/2=64",
        ],
        {11: "0=64 5~120 8~48"},
    ),
    "warm-pad": Phrase(
        60,
        8,
        ["F2/8=72", "-/.5 C3/7.5=62", "-/1 A3/7=66", "-/1.5 E4/6.5=60", "-/2 G4/2~=64 B4/2~=70 A4/2=58"],
        {74: "0=24 4~112 8~48", 1: "0=16 6~96 8~0"},
    ),
    "solo-oboe": Phrase(
        60,
        8,
        [
            "A4/.5=88 D5/1.5~=96 E5/.5~=90 F5/.5~=96 A5/1~=114 "
            "G5/.75~=106 F5/.25~=94 E5/.5~=98 C#5/.5~=90 D5/2=92"
        ],
        {
            1: "0=0 .7=0 1.7~72 2=8 3.1=12 3.9~84 4.2~20 6.2=0 7.2~92 8~0",
            11: "0=104 2~114 3.6~127 6~112 6.8~120 8~64",
        },
    ),
    "saw-lead": Phrase(
        120,
        16,
        [
            "A4/.75=104 A4/.25=78 C5/.5~=90 D5/.5=94 E5/1~=106 G5/.5~=92 E5/.5=84 "
            "D5/.75=98 C5/.25=80 D5/.5~=86 E5/.5~=92 C5/.5=84 A4/.5=88 -/.5 G4/.5=90 "
            "A4/.5=100 E5/.5~=94 A5/1~=114 G5/.5~=96 A5/.25~=90 G5/.25~=86 E5/.5~=92 D5/.5=84 "
            "C5/.5=92 D5/.5~=88 E5/2.75=116"
        ],
        {BEND: "0=0 4=-.17 4.4~0 9=-.17 9.4~0 14.2=0 15.75~-1 16=0", 1: "0=16 8~48 13=16 15~112 16=0"},
    ),
    "stereo-kit": Phrase(
        120,
        16,
        [
            "crash/1=104" + " hat/.5=88 hat/.5=58" * 6 + " hat/.5=86 open/.5=82 -/4 crash/3=118",
            "kick/1.5=118 kick/.5=96 -/.5 kick/.5=104 -/1 kick/1=116 -/.5 kick/.5=98 kick/.5=112 -/1.5 "
            "kick/1=112 -/1 kick/1=108 -/1 kick/3=120",
            "-/1 snare/1.75=112 snare/.25=44 snare/1=114 -/1 snare/1.75=112 snare/.25=46 snare/1=116 "
            "snare/.25=84 snare/.25=70 snare/.25=88 snare/.25=96 high/.5=108 high/.5=96 low/.5=112 low/.5=100 "
            "snare/.5=114 snare/.5=120",
        ],
        channel=DRUM_CHANNEL,
    ),
    "spoken-words": Phrase(
        90, 12, ["9/1=80 8/1=84 7/1=88 6/1=92 5/1=96 4/1=100 3/1=104 -/1 2/1=108 1/1=112 0/1=120"]
    ),
    "digits-gan": Phrase(
        75,
        10,
        ["0/1=100 1/1=92 2/1=96 3/1=92 4/1=104 5/1=96 6/1=92 7/1=100 8/1=96 9/1=108"],
        {70: "0=52 4~116 8~16 10~52", 72: "0=118 5~40 10~118", 16: "0=64 6=64 7=76 8=52 9=64"},
    ),
    "lakeside-walk": Phrase(
        60, 8, ["C4/7=96", "-/3 G3/4.5=72"], {16: "0=90 3~30 6~110", 17: "0=20 4~90 8~40", 1: "0=26 4~100 8~0"}
    ),
    "lakeside-learned": Phrase(
        60, 8, ["C4/7.5=96", "-/4 G3/3.5=72"], {16: "0=90 5~40 8~100", 17: "0=34 5~80 8~34"}
    ),
    "lakeside-knobs": Phrase(
        60,
        8,
        ["C4/4=96 E4/3.5=88"],
        {70: "0=70 4~20 8~110", 71: "0=70 5~110", 74: "2=74 6~24", 1: "0=0 4=0 6.5~122 8~0"},
    ),
    "lakeside-soundscape": Phrase(
        60, 8, ["C4/1=96 -/6.5 C4/.5=80"], {1: "0=110 4~0 6~80 8~0"}
    ),
    "lakeside-post": Phrase(60, 8, ["C4/7.5=96"], {1: "0=0 3~127 6~0", 70: "0=70 4=70 8~20", 73: "0=76 6~116"}),
    "drum-loops": Phrase(
        120, 16, ["C4/16=100"], {70: "0=24 6~112 12~64", 71: "0=64 4=64 10~116 16~64", 72: "8=16 16~100"}
    ),
}  # fmt: skip


def midi_file(phrase: Phrase, name: str) -> mido.MidiFile:
    """A file of type 0."""
    messages = [message for voice in phrase.voices for message in notes(voice, phrase.channel)]
    for controller, curve in phrase.curves.items():
        messages += [curve_message(controller, phrase.channel, *point) for point in curve_points(curve)]
    messages.sort(key=lambda message: (message.time, ORDER.index(message.type)))
    messages.append(mido.MetaMessage("end_of_track", time=phrase.beats * TICKS))
    track = mido.MidiTrack([mido.MetaMessage("track_name", name=name)])
    track.append(mido.MetaMessage("set_tempo", tempo=mido.bpm2tempo(phrase.bpm)))
    tick = 0
    for message in messages:
        track.append(message.copy(time=message.time - tick))
        tick = message.time
    return mido.MidiFile(type=0, ticks_per_beat=TICKS, tracks=[track])


def notes(voice: str, channel: int) -> list[mido.Message]:
    """Messages of a voice's notes at absolute ticks."""
    messages, tick, velocity = [], 0, 0
    for token in voice.split():
        names, length, slur, new_velocity = re.fullmatch(r"(.+)/([\d.]+)(~?)(?:=(\d+))?", token).groups()
        ticks, velocity = round(float(length) * TICKS), int(new_velocity or velocity)
        for key in [] if names == "-" else map(key_of, names.split("+")):
            messages.append(mido.Message("note_on", channel=channel, note=key, velocity=velocity, time=tick))
            end_tick = tick + ticks + SLUR_TICKS * bool(slur)
            messages.append(mido.Message("note_off", channel=channel, note=key, time=end_tick))
        tick += ticks
    return messages


def key_of(name: str) -> int:
    """The MIDI key of a drum, a digit or a note."""
    if name in DRUMS | WORDS:
        return (DRUMS | WORDS)[name]
    letter, accidental, octave = KEY.fullmatch(name).groups()
    return 12 * (int(octave) + 1) + PITCH_CLASSES[letter] + ACCIDENTALS[accidental]


def curve_points(curve: str) -> Iterator[tuple[int, float]]:
    """Yield ticks and values."""
    last_tick, last_value = 0, 0.0
    for beat, shape, value_text in re.findall(r"([\d.]+)([=~])([-\d.]+)", curve):
        tick, value = round(float(beat) * TICKS), float(value_text)
        for ramp_tick in range(last_tick + RAMP_TICKS, tick, RAMP_TICKS) if shape == "~" else ():
            yield ramp_tick, last_value + (value - last_value) * (ramp_tick - last_tick) / (tick - last_tick)
        yield tick, value
        last_tick, last_value = tick, value


def curve_message(controller: int | str, channel: int, tick: int, value: float) -> mido.Message:
    if controller == BEND:
        return mido.Message("pitchwheel", channel=channel, pitch=round(8191 * value), time=tick)
    return mido.Message("control_change", channel=channel, control=controller, value=round(value), time=tick)


if __name__ == "__main__":
    for name, phrase in PHRASES.items():
        midi_file(phrase, name).save(FOLDER / f"{name}.mid")
