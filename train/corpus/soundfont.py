"""Renders corpora of notes or drum hits from soundfonts with FluidSynth, by General MIDI's programs.

(MIDI Manufacturers Association, GM level 1 sound set.)
"""

import os
import re
import shutil
import struct
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import NamedTuple

import mido
import numpy as np
import soundfile

from ...host.audio.mono_mix import mix_to_mono
from ...host.audio.sound_files import is_stereo, mix_signs, sum_products
from ...host.errors import Failure, UserError
from .build import assign, parse_fractions
from .pitch import Samples, labelled_track, pitch_track, silence_level
from .report import CorpusReport, Progress, no_progress
from .store import writing

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
    program_path = shutil.which("fluidsynth")
    if program_path is None:
        raise UserError(
            "FluidSynth is not installed; get it with `apt install fluidsynth fluid-soundfont-gm` (Debian, Ubuntu) or "
            "`brew install fluid-synth` (macOS)"
        )
    return program_path


def check_rate(rate: int) -> None:
    """Raise UserError for a rate out of FluidSynth's range."""
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
        riff_header = file.read(12)
        if riff_header[:4] != b"RIFF" or riff_header[8:] != b"sfbk":
            raise UserError(f"{soundfont} is no soundfont (no RIFF sfbk header); give an .sf2 or .sf3 file")
        while len(chunk_header := file.read(8)) == 8:
            chunk_kind, chunk_size = struct.unpack("<4sI", chunk_header)
            if chunk_kind == b"phdr":
                preset_records = file.read(chunk_size)
                # One preset and the record that ends the list.
                if len(preset_records) == chunk_size and chunk_size >= 76:
                    presets = (
                        struct.unpack_from("<HH", preset_records, offset + 20)
                        for offset in range(0, chunk_size - 38, 38)
                    )
                    return {program for program, bank in presets if bank == of_bank}
            elif chunk_kind == b"LIST":
                if file.read(4) == b"pdta":
                    continue
                file.seek(chunk_size - 4 + chunk_size % 2, 1)
            else:
                file.seek(chunk_size + chunk_size % 2, 1)
    raise UserError(f"{soundfont} is damaged: its list of presets is missing; get the file again")


class RenderedNote(NamedTuple):
    mono: Samples  # [samples]
    sides: Samples | None  # [2, samples]; None of a note of one channel


def play_notes(
    program_path: str,
    soundfont: Path,
    channel: int,
    program: int,
    pairs: Sequence[tuple[int, int]],
    seconds: float,
    rate: int,
    channels: int = 1,
    release_seconds: float = 0.0,
) -> Iterator[tuple[tuple[int, int], RenderedNote]]:
    """Render (note, velocity) pairs, held for ``seconds`` and heard for ``release_seconds`` more.

    With 2 ``channels``, notes with different sides are stereo, and their mono mix has the power of both sides. All
    other notes have one channel, the mean of the sides.

    Raises:
        Failure: FluidSynth fails.
    """
    # As `_score` rounds it.
    note_length = round((seconds + release_seconds) * rate)
    slot_seconds = round(seconds * 1000) / 1000 + round(release_seconds * 1000) / 1000 + _GAP_SECONDS
    notes_a_run = int(_RUN_SECONDS / slot_seconds)
    for first_pair in range(0, len(pairs), notes_a_run):
        batch_pairs = pairs[first_pair : first_pair + notes_a_run]
        with tempfile.TemporaryDirectory(prefix="timbrel-") as folder:
            midi_path, wav_path = Path(folder) / "notes.mid", Path(folder) / "notes.wav"
            _score(channel, program, batch_pairs, seconds, release_seconds).save(midi_path)
            _run(
                program_path,
                soundfont,
                midi_path,
                wav_path,
                rate,
                least_frames=round(len(batch_pairs) * slot_seconds * rate),
            )
            with soundfile.SoundFile(wav_path) as wav_file:
                for pair_index, pair in enumerate(batch_pairs):
                    wav_file.seek(round((_GAP_SECONDS + pair_index * slot_seconds) * rate))
                    channel_samples = wav_file.read(note_length, dtype="float32", always_2d=True)
                    yield pair, _render_note(channel_samples, rate, channels)


def _render_note(channel_samples: Samples, rate: int, channels: int) -> RenderedNote:
    """Mix the channels of a note that FluidSynth rendered, [samples, 2], amplify it, and fade its end."""
    channel_products = sum_products([channel_samples], channel_samples.shape[1])
    if channels == 2 and is_stereo(channel_products):
        sides = np.ascontiguousarray(channel_samples.T)
        return RenderedNote(_level(mix_to_mono(sides, rate), rate), _level(sides, rate))
    channel_signs = mix_signs(channel_products)
    mean = (channel_samples if channel_signs is None else channel_samples * channel_signs).mean(axis=1)
    return RenderedNote(_level(mean, rate), None)


def _level(samples: Samples, rate: int) -> Samples:
    """Amplify a note, [..., samples], and fade its end."""
    fade = np.linspace(1, 0, round(_FADE_SECONDS * rate), dtype=np.float32)
    levelled_samples = samples * np.float32(_GAIN)
    levelled_samples[..., -len(fade) :] *= fade
    return levelled_samples


def _score(
    channel: int, program: int, pairs: Sequence[tuple[int, int]], seconds: float, release_seconds: float
) -> mido.MidiFile:
    """Return a MIDI file that plays notes one by one."""
    gap_ticks, hold_ticks, release_ticks = (
        round(1000 * part_seconds) for part_seconds in (_GAP_SECONDS, seconds, release_seconds)
    )
    track = mido.MidiTrack([mido.Message("program_change", channel=channel, program=program)])
    for note, velocity in pairs:
        track.append(mido.Message("note_on", channel=channel, note=note, velocity=velocity, time=gap_ticks))
        track.append(mido.Message("note_off", channel=channel, note=note, time=hold_ticks))
        track.append(
            mido.Message("control_change", channel=channel, control=_ALL_SOUND_OFF, value=0, time=release_ticks)
        )
    track.append(mido.MetaMessage("end_of_track", time=gap_ticks))
    return mido.MidiFile(type=0, ticks_per_beat=_TICKS, tracks=[track])


def _run(program_path: str, soundfont: Path, midi_path: Path, wav_path: Path, rate: int, least_frames: int) -> None:
    """Play a MIDI file into a wav; raise `Failure` for too few frames."""
    options = ["-n", "-i", "-q", "-f", os.devnull, "-R", "0", "-C", "0", "-g", "1.0", "-r", str(rate)]
    settings = ["-o", "synth.dynamic-sample-loading=1", "-o", "synth.cpu-cores=1", "-T", "wav", "-O", "float"]
    finished_process = subprocess.run(
        [program_path, *options, *settings, "-F", str(wav_path), str(soundfont), str(midi_path)],
        capture_output=True,
        text=True,
        errors="replace",
    )
    try:
        frame_count = soundfile.info(wav_path).frames
    except soundfile.SoundFileError:
        frame_count = 0
    if finished_process.returncode or frame_count < least_frames:
        error_line = [*finished_process.stderr.strip().splitlines(), "it wrote too little, and no reason"][0]
        raise Failure(f"FluidSynth could not play {soundfont} (status {finished_process.returncode}): {error_line}")


PROGRAM_NAMES = (
    *("Acoustic Grand Piano", "Bright Acoustic Piano", "Electric Grand Piano", "Honky-tonk Piano"),
    *("Electric Piano 1", "Electric Piano 2", "Harpsichord", "Clavinet"),
    *("Celesta", "Glockenspiel", "Music Box", "Vibraphone", "Marimba", "Xylophone", "Tubular Bells", "Dulcimer"),
    *("Drawbar Organ", "Percussive Organ", "Rock Organ", "Church Organ"),
    *("Reed Organ", "Accordion", "Harmonica", "Tango Accordion"),
    *("Nylon Guitar", "Steel Guitar", "Jazz Guitar", "Clean Guitar"),
    *("Muted Guitar", "Overdriven Guitar", "Distortion Guitar", "Guitar Harmonics"),
    *("Acoustic Bass", "Finger Bass", "Pick Bass", "Fretless Bass"),
    *("Slap Bass 1", "Slap Bass 2", "Synth Bass 1", "Synth Bass 2"),
    *("Violin", "Viola", "Cello", "Contrabass", "Tremolo Strings", "Pizzicato Strings", "Orchestral Harp", "Timpani"),
    *("String Ensemble 1", "String Ensemble 2", "Synth Strings 1", "Synth Strings 2"),
    *("Choir Aahs", "Voice Oohs", "Synth Voice", "Orchestra Hit"),
    *("Trumpet", "Trombone", "Tuba", "Muted Trumpet", "French Horn", "Brass Section", "Synth Brass 1", "Synth Brass 2"),
    *("Soprano Sax", "Alto Sax", "Tenor Sax", "Baritone Sax", "Oboe", "English Horn", "Bassoon", "Clarinet"),
    *("Piccolo", "Flute", "Recorder", "Pan Flute", "Blown Bottle", "Shakuhachi", "Whistle", "Ocarina"),
    *("Square Lead", "Sawtooth Lead", "Calliope Lead", "Chiff Lead"),
    *("Charang Lead", "Voice Lead", "Fifths Lead", "Bass and Lead"),
    *("New Age Pad", "Warm Pad", "Polysynth Pad", "Choir Pad", "Bowed Pad", "Metallic Pad", "Halo Pad", "Sweep Pad"),
    *("Rain", "Soundtrack", "Crystal", "Atmosphere", "Brightness", "Goblins", "Echoes", "Sci-fi"),
    *("Sitar", "Banjo", "Shamisen", "Koto", "Kalimba", "Bagpipe", "Fiddle", "Shanai"),
    *("Tinkle Bell", "Agogo", "Steel Drums", "Woodblock", "Taiko Drum", "Melodic Tom", "Synth Drum", "Reverse Cymbal"),
    *(
        "Guitar Fret Noise",
        "Breath Noise",
        "Seashore",
        "Bird Tweet",
        "Telephone Ring",
        "Helicopter",
        "Applause",
        "Gunshot",
    ),
)

_CLASSES = {
    "kick": (35, 36),
    "side stick": (37,),
    "snare": (38, 40),
    "clap": (39,),
    "tom": (41, 43, 45, 47, 48, 50),
    "closed hat": (42, 44),
    "open hat": (46,),
    "crash": (49, 52, 55, 57),
    "ride": (51, 53, 59),
    "cowbell": (56,),
    "vibraslap": (58,),
    "hand drum": (60, 61, 62, 63, 64, 65, 66),
    "agogo": (67, 68),
    "shaker": (54, 69, 70),
    "whistle": (71, 72),
    "guiro": (73, 74),
    "wood block": (75, 76, 77),
    "cuica": (78, 79),
    "triangle": (80, 81),
}
DRUM_CLASSES = {key: name for name, keys in _CLASSES.items() for key in keys}
# General MIDI 2's sound set: the brush kit has a slap on the clap's key, the orchestra kit timpani and concert cymbals.
_GM2_DRUMS = {
    range(40, 48): {39: "snare"},
    range(48, 56): dict.fromkeys(range(41, 54), "timpani") | {59: "crash"},
}


def drum_class(kit: int, key: int) -> str:
    """Return a key's kind of drum."""
    return next(
        (
            class_by_key[key]
            for kit_range, class_by_key in _GM2_DRUMS.items()
            if kit in kit_range and key in class_by_key
        ),
        DRUM_CLASSES[key],
    )


_LONGEST_SECONDS = 60.0
_FINGERPRINT_SECONDS = 0.5  # of a hit, for the fingerprint that finds repeats
_REPEAT_COSINE = 0.9995  # cosine of magnitudes: a repeated hit has 0.9999, FluidR3's other kicks 0.9994 and less


def parse_numbers(text: str) -> list[int]:
    """Parse MIDI numbers such as ``"0-79,90"``, each once, ascending.

    Raises:
        UserError: another syntax, or a number outside 0 to 127.
    """
    numbers: set[int] = set()
    for range_text in text.split(","):
        match = re.fullmatch(r"\s*(\d{1,9})\s*(?:-\s*(\d{1,9})\s*)?", range_text, re.ASCII)
        if match is None:
            raise UserError(
                f"{text!r} is no list of MIDI numbers: {range_text!r}; write numbers and ranges, like 0-79,90"
            )
        low, high = int(match[1]), int(match[2] or match[1])
        if low > high:
            raise UserError(f"range {range_text.strip()!r} runs backwards; write {high}-{low}")
        _check_numbers("MIDI number", [low, high])
        numbers.update(range(low, high + 1))
    return sorted(numbers)


def render_soundfont(
    soundfont: Path,
    destination: Path,
    *,
    programs: Sequence[int],
    notes: Sequence[int],
    velocities: Sequence[int] = (100,),
    kits: bool = False,
    seconds: float = 1.0,
    release_seconds: float = 0.0,
    channels: int = 2,
    rate: int = 44100,
    split: str = "0.85/0.07/0.08",
    seed: int = 0,
    name: str | None = None,
    licence: str | None = None,
    progress: Progress = no_progress,
) -> CorpusReport:
    """Render combinations of program, note and velocity as labelled clips of a new corpus.

    Labels are the program's name and the key, or a hit's `drum_class`. Hits that differ from earlier ones of their key
    only in level are left out. Other arguments are as in `build`.

    Args:
        programs: of bank 0, 0 to 127; with ``kits`` drum kits of bank 128.
        notes: 0 to 127; for kits 35 to 81.
        velocities: 1 to 127.
        seconds: 0.1 to 60, how long each is held.
        release_seconds: 0 to 60, how long each is heard after that; the last 20 ms of a clip fade out.
        channels: 2 for both sides of notes, where they differ; 1 for their mean.
        rate: 8000 to 96000 Hz.
        split: fractions by program, or by note of one program; for kits by hit, with all velocities.

    Raises:
        UserError: a value, the soundfont or the destination is unusable, nothing sounds, or FluidSynth is missing.
        Failure: FluidSynth fails, or the disk is full.
    """
    fractions = parse_fractions(split)
    _check(programs, notes, velocities, seconds, release_seconds, channels, rate, kits)
    available_programs, player_path = programs_of(soundfont, PERCUSSION if kits else MELODIC), fluidsynth()
    programs, note_velocity_pairs = sorted(set(programs)), list(product(sorted(set(notes)), sorted(set(velocities))))
    with writing(destination, rate) as writer:
        repeats, (prefix, kind, channel) = _Repeats(), ("kit ", "kit", DRUM_CHANNEL) if kits else ("", "program", 0)
        group_template = "program {program:03d}" if len(programs) > 1 else "note {note:03d}"
        group_template = "kit {program:03d} note {note:03d}" if kits else group_template
        for program_index, program in enumerate(programs):
            progress(program_index / len(programs), f"kit {program}" if kits else f"{program} {PROGRAM_NAMES[program]}")
            if program not in available_programs:
                writer.report.unreadable[f"{kind} {program:03d}"] = "not in this soundfont"
                continue
            for (note, velocity), (samples, sides) in play_notes(
                player_path, soundfont, channel, program, note_velocity_pairs, seconds, rate, channels, release_seconds
            ):
                clip_name = f"{prefix}{program:03d}/{note:03d}_{velocity:03d}"
                note_channels = np.broadcast_to(samples, (channels, len(samples))) if sides is None else sides
                if float(np.abs(note_channels).max()) <= silence_level(0.0):
                    writer.report.silent.append(clip_name)
                elif kits and repeats.has(note_channels, note, rate):
                    writer.report.repeated.append(clip_name)
                else:
                    writer.append(
                        samples,
                        pitch_track(samples, rate) if kits else labelled_track(samples, rate, note),
                        name=clip_name,
                        group=group_template.format(program=program, note=note),
                        label=drum_class(program, note) if kits else PROGRAM_NAMES[program],
                        key=note,
                        program=program,
                        velocity=velocity,
                        held_seconds=seconds if release_seconds else None,
                        sides=sides,
                    )
        if not writer.clips:
            reason = writer.report.left_out_line()
            raise UserError(f"nothing sounds in {soundfont} with these programs and notes ({reason}); try others")
        writer.report.labels = dict(sorted(Counter(clip.label for clip in writer.clips).items())) if kits else {}
        splits = assign({clip.name: clip.group for clip in writer.clips}, fractions, seed)
        report = writer.finish(splits, name=name or destination.resolve().name, licence=licence)
    progress(1.0, "done")
    return report


def _check(
    programs: Sequence[int],
    notes: Sequence[int],
    velocities: Sequence[int],
    seconds: float,
    release_seconds: float,
    channels: int,
    rate: int,
    kits: bool,
) -> None:
    """Raise UserError for a value out of range."""
    _check_numbers("kit" if kits else "program", programs)
    _check_numbers("note", notes)
    if kits and (unknown_notes := sorted(set(notes) - set(DRUM_CLASSES))):
        raise UserError(
            f"note {unknown_notes[0]} is no drum of General MIDI; {min(DRUM_CLASSES)} to {max(DRUM_CLASSES)} are "
            "allowed with kits"
        )
    _check_numbers("velocity", velocities, lowest=1)
    if not 0.1 <= seconds <= _LONGEST_SECONDS:
        raise UserError(f"a clip of {seconds:g} s cannot be rendered; 0.1 to {_LONGEST_SECONDS:g} s are allowed")
    if not 0 <= release_seconds <= _LONGEST_SECONDS:
        raise UserError(
            f"a release of {release_seconds:g} s cannot be rendered; 0 to {_LONGEST_SECONDS:g} s are allowed"
        )
    if channels not in (1, 2):
        raise UserError(f"{channels} channels cannot be rendered; give 1 or 2")
    check_rate(rate)


class _Repeats:
    """Finds hits that differ from an earlier one of their key in level alone."""

    def __init__(self) -> None:
        self._fingerprints: dict[int, list[Samples]] = {}

    def has(self, channels: Samples, key: int, rate: int) -> bool:
        """Return whether a hit, [channels, samples], repeats; a new one is remembered."""
        fingerprint, fingerprints = _fingerprint(channels, rate), self._fingerprints.setdefault(key, [])
        if any(float(fingerprint @ earlier_fingerprint) > _REPEAT_COSINE for earlier_fingerprint in fingerprints):
            return True
        fingerprints.append(fingerprint)
        return False


def _fingerprint(channels: Samples, rate: int) -> Samples:
    """Magnitudes of all channels, of energy 1: notes begin anywhere in FluidSynth's blocks."""
    sample_count = round(_FINGERPRINT_SECONDS * rate)
    fade = 0.5 + 0.5 * np.cos(np.pi * np.arange(sample_count) / sample_count)
    beginning = channels[:, :sample_count]
    magnitudes = np.abs(np.fft.rfft(beginning * fade[: beginning.shape[1]], sample_count)).astype(np.float32).ravel()
    return np.asarray(magnitudes / np.linalg.norm(magnitudes))


def _check_numbers(kind: str, numbers: Sequence[int], lowest: int = 0) -> None:
    """Raise UserError for no number, or one out of range."""
    if not numbers:
        raise UserError(f"no {kind} is given; give at least one from {lowest} to 127")
    for number in numbers:
        if not lowest <= number <= 127:
            raise UserError(f"{kind} {number} is out of range; {lowest} to 127 are allowed")
