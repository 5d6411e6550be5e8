"""Renders notes of a soundfont with FluidSynth, and lists its presets."""

import os
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import mido
import numpy as np
import soundfile

from ...host.audio.channel_mix import mix_signs
from ...host.errors import Failure, UserError
from .pitch import Samples

_RATES = (8000, 96000)  # FluidSynth's own limits, in Hz
MELODIC, PERCUSSION = 0, 128  # banks; General MIDI's kits are presets of bank 128 (SoundFont 2.04, section 7.2)
DRUM_CHANNEL = 9  # counted from 0: FluidSynth plays bank 128 there

_GAIN = 1.8  # puts FluidR3's scales at peaks of 0.3 to 0.9; one gain for all keeps their balance
_FADE_SECONDS = 0.02  # short enough for any note, long enough not to click
_GAP_SECONDS = 0.1  # between notes, after all sound is off
_ALL_SOUND_OFF = 120  # MIDI 1.0, channel mode messages: ends releases at once
_TICKS = 500  # a beat, which lasts 0.5 s by default: one tick is one millisecond
_RUN_SECONDS = 600.0  # of one FluidSynth process: its wav stays under 0.5 GB at 96 kHz


def fluidsynth() -> str:
    """Return FluidSynth's path; raise UserError if it is not installed."""
    program = shutil.which("fluidsynth")
    if program is None:
        raise UserError(
            "FluidSynth is not installed; get it with `apt install fluidsynth fluid-soundfont-gm` (Debian, Ubuntu) or "
            "`brew install fluid-synth` (macOS)"
        )
    return program


def check_rate(rate: int) -> None:
    if not _RATES[0] <= rate <= _RATES[1]:
        raise UserError(f"rate {rate} Hz is out of FluidSynth's range; {_RATES[0]} to {_RATES[1]} Hz are allowed")


def programs_of(soundfont: Path, of_bank: int = MELODIC) -> set[int]:
    """Return a bank's programs (SoundFont 2.04, section 7.2).

    Raises:
        UserError: the file is missing, damaged, or no soundfont.
    """
    if not soundfont.is_file():
        raise UserError(f"soundfont {soundfont} does not exist; give an .sf2 or .sf3 file")
    with soundfont.open("rb") as file:
        head = file.read(12)
        if head[:4] != b"RIFF" or head[8:] != b"sfbk":
            raise UserError(f"{soundfont} is no soundfont (no RIFF sfbk header); give an .sf2 or .sf3 file")
        while len(header := file.read(8)) == 8:
            kind, size = struct.unpack("<4sI", header)
            if kind == b"phdr":
                records = file.read(size)
                if len(records) == size and size >= 76:  # one preset and the record that ends the list
                    presets = (struct.unpack_from("<HH", records, at + 20) for at in range(0, size - 38, 38))
                    return {preset for preset, bank in presets if bank == of_bank}
            elif kind == b"LIST":
                if file.read(4) == b"pdta":
                    continue
                file.seek(size - 4 + size % 2, 1)
            else:
                file.seek(size + size % 2, 1)
    raise UserError(f"{soundfont} is damaged: its list of presets is missing; get the file again")


def play_notes(
    program_path: str,
    soundfont: Path,
    channel: int,
    program: int,
    pairs: Sequence[tuple[int, int]],
    seconds: float,
    rate: int,
) -> Iterator[tuple[tuple[int, int], Samples]]:
    """Render (note, velocity) pairs: mono [seconds * rate].

    Raises:
        Failure: FluidSynth fails.
    """
    length, slot_seconds = round(seconds * rate), round(seconds * 1000) / 1000 + _GAP_SECONDS  # as `_score` rounds it
    fade = np.linspace(1, 0, round(_FADE_SECONDS * rate), dtype=np.float32)
    notes_a_run = int(_RUN_SECONDS / slot_seconds)
    for first in range(0, len(pairs), notes_a_run):
        part = pairs[first : first + notes_a_run]
        with tempfile.TemporaryDirectory(prefix="timbrel-") as folder:
            midi, wav = Path(folder) / "notes.mid", Path(folder) / "notes.wav"
            _score(channel, program, part, seconds).save(midi)
            _run(program_path, soundfont, midi, wav, rate, least=round(len(part) * slot_seconds * rate))
            with soundfile.SoundFile(wav) as sound:
                for index, pair in enumerate(part):
                    sound.seek(round((_GAP_SECONDS + index * slot_seconds) * rate))
                    sides = sound.read(length, dtype="float32", always_2d=True)
                    signs = mix_signs([sides], sound.channels)
                    samples = (sides if signs is None else sides * signs).mean(axis=1) * np.float32(_GAIN)
                    samples[-len(fade) :] *= fade
                    yield pair, samples


def _score(channel: int, program: int, pairs: Sequence[tuple[int, int]], seconds: float) -> mido.MidiFile:
    gap, hold = round(_GAP_SECONDS * 1000), round(seconds * 1000)
    track = mido.MidiTrack([mido.Message("program_change", channel=channel, program=program)])
    for note, velocity in pairs:
        track.append(mido.Message("note_on", channel=channel, note=note, velocity=velocity, time=gap))
        track.append(mido.Message("note_off", channel=channel, note=note, time=hold))
        track.append(mido.Message("control_change", channel=channel, control=_ALL_SOUND_OFF, value=0))
    track.append(mido.MetaMessage("end_of_track", time=gap))
    return mido.MidiFile(type=0, ticks_per_beat=_TICKS, tracks=[track])


def _run(program_path: str, soundfont: Path, midi: Path, wav: Path, rate: int, least: int) -> None:
    options = ["-n", "-i", "-q", "-f", os.devnull, "-R", "0", "-C", "0", "-g", "1.0", "-r", str(rate)]
    settings = ["-o", "synth.dynamic-sample-loading=1", "-o", "synth.cpu-cores=1", "-T", "wav", "-O", "float"]
    done = subprocess.run(
        [program_path, *options, *settings, "-F", str(wav), str(soundfont), str(midi)],
        capture_output=True,
        text=True,
        errors="replace",
    )
    try:
        frames = soundfile.info(wav).frames
    except soundfile.SoundFileError:
        frames = 0
    if done.returncode or frames < least:
        said = [*done.stderr.strip().splitlines(), "it wrote too little, and no reason"][0]
        raise Failure(f"FluidSynth could not play {soundfont} (status {done.returncode}): {said}")
