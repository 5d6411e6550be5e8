"""Pitch of tones from file names and root keys: octave errors, tones without a common period or a measured one.

The period of a bell's partials may lie two octaves and more below its note, or be none.

Names number octaves differently, or contain key numbers; the convention of most files counts. With faint odd partials,
half a period repeats as well.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

import numpy as np

from ...host.spectra import peak_bins
from ...host.units import midi_to_hz, note_name
from ..sampling import thinned
from .clip_table import Clip
from .file_names import (
    Reading,
    best_reading,
    class_distance,
    number_readings,
    root_reading,
    spelling_readings,
    velocities,
)
from .inharmonicity import PARTIALS, spectrum_db, steady, stiffness
from .note_segmentation import is_melody, segment_notes
from .pitch import DETUNED, Samples, single_note, track_at_key
from .store import Writer

FEWEST_FILES, AGREEING_SHARE = 4, 0.75  # files with a note in their names, and the share of them whose sound must agree
CLEAR_DB, LOUD_DB = 12.0, -45.0  # over the surrounding level, and under the highest partial; fainter peaks do not count
FEWEST_ODD_PARTIALS = 3  # partials of the lower note alone that decide for it
TESTED_PARTIALS = 6


def settle_octaves(writer: Writer, roots: Mapping[str, int]) -> None:
    """Correct octaves by root keys, ``roots`` by clip name, or by names; report notes that names contradict."""
    # A melody's name is none of its notes'.
    played_clips = [clip for clip in writer.clips if clip.onset_seconds is None]
    pitch_by_name = {clip.name: note for clip in played_clips if (note := single_note(writer.pitch(clip))) is not None}
    writer.report.misnamed |= contradictions(pitch_by_name)
    clip_by_name = {clip.name: clip for clip in played_clips if clip.key is None}  # a sampler's key is surer
    measured_notes = {name: note for name, note in pitch_by_name.items() if name in clip_by_name}
    for name, octaves in _octave_corrections(measured_notes, roots).items():
        clip = clip_by_name[name]
        note, corrected_note = measured_notes[name], measured_notes[name] + 12 * octaves
        low_note, high_note = sorted((note, corrected_note))
        true_note = low_note if _has_lower(writer.samples(clip), writer.rate, low_note, high_note) else high_note
        if true_note == corrected_note:
            writer.set_pitch(clip, writer.pitch(clip) + np.float32(12.0 * octaves))
            writer.report.corrected[name] = f"{note_name(round(corrected_note))}, heard as {note_name(round(note))}"
        else:
            writer.report.misnamed[name] = f"{note_name(round(note))} is heard"


def contradictions(measured_notes: Mapping[str, float]) -> dict[str, str]:
    """Describe measured notes, by file name, whose names have only notes of other pitch classes."""
    reading = best_reading(spelling_readings(measured_notes), measured_notes)
    agreeing_notes = reading.agreeing_notes(measured_notes) if reading else {}
    return {
        name: f"{note_name(round(measured_notes[name]))} is heard"
        for name in (reading.notes if reading else ())
        if name not in agreeing_notes
    }


def _octave_corrections(measured_notes: Mapping[str, float], roots: Mapping[str, int]) -> dict[str, int]:
    """Return the octaves from the measured to the named note, by name, where most names have other octaves."""
    for readings in ([root_reading(roots)], spelling_readings(measured_notes), number_readings(measured_notes)):
        reading = _trusted_reading(readings, measured_notes)
        if reading is None:
            continue
        octave_by_name = _octaves_to_sounds(reading, measured_notes)
        usual_octave = round(float(np.median(list(octave_by_name.values()))))
        return {name: usual_octave - octave for name, octave in octave_by_name.items() if octave != usual_octave}
    return {}


def _trusted_reading(readings: Iterable[Reading], measured_notes: Mapping[str, float]) -> Reading | None:
    """Return the best reading of names, if it gives enough measured notes their pitch class."""
    reading = best_reading(readings, measured_notes)
    named_count = sum(name in measured_notes for name in reading.notes) if reading else 0
    if reading is None or named_count < FEWEST_FILES:
        return None
    return reading if len(reading.agreeing_notes(measured_notes)) >= AGREEING_SHARE * named_count else None


def _octaves_to_sounds(reading: Reading, measured_notes: Mapping[str, float]) -> dict[str, int]:
    """Return the octaves from the named to the measured note, by name, where the pitch classes agree."""
    return {
        name: round((measured_notes[name] - named_note) / 12)
        for name, named_note in reading.agreeing_notes(measured_notes).items()
    }


def _has_lower(samples: Samples, rate: int, low_note: float, high_note: float) -> bool:
    """Return whether partials of the lower note alone are audible; the higher note is one of them."""
    steady_samples = steady(samples, rate)
    if steady_samples is None:
        return True
    spectrum_length, levels_db = len(steady_samples), spectrum_db(steady_samples)
    f0_bin, pitch_ratio = midi_to_hz(low_note) * spectrum_length / rate, round(2 ** ((high_note - low_note) / 12))
    lower_numbers = [
        partial_number for partial_number in range(1, pitch_ratio * TESTED_PARTIALS) if partial_number % pitch_ratio
    ][: 2 * TESTED_PARTIALS]
    audible_count = 0
    for partial_number in lower_numbers:
        partial_bin, search_half_width_bins = partial_number * f0_bin, max(2.0, partial_number * f0_bin * 0.015)
        surround_db = levels_db[max(0, round(partial_bin - f0_bin / 3)) : round(partial_bin + f0_bin / 3) + 1]
        search_db = levels_db[
            max(0, round(partial_bin - search_half_width_bins)) : round(partial_bin + search_half_width_bins) + 1
        ]
        if len(search_db) and len(surround_db):
            audible_count += bool(search_db.max() > max(np.median(surround_db) + CLEAR_DB, levels_db.max() + LOUD_DB))
    return audible_count >= FEWEST_ODD_PARTIALS


NAMED_SHARE = 0.8  # of the clips have one note in their names
CONFIRMED_SHARE = 0.5  # of them have a pitch that their partials confirm; of bells, less
TONE_DB = -20.0  # the flatness of a spectrum: peaks, not noise
MOST_MELODIES = 20  # of unsure clips, evenly spaced, that are cut into notes: a second each
MELODIC_SHARE = 1 / 3  # of these; phrases beside trills and glides have .4, bells .3 at most
MOST_CLIPS = 160  # of a folder, evenly spaced, whose partials are measured: shares to a part in ten
PEAK_DB = -30.0  # under the highest peak of a spectrum: fainter ones do not confirm a pitch
NEAR_CENTS, NEAR_BINS = 20.0, 2.0  # from a multiple of the pitch, the wider of both; stiff strings rise by so much
LOW_PARTIALS = 2  # one of them is loud in notes; bells seem to have a low pitch without
CONFIRMED_POWER = 0.5  # of the power of all peaks lies on multiples: a flute has .9, tubular bells .2


def take_named_pitches(writer: Writer, roots: Mapping[str, int]) -> None:
    """Give clips without a sure pitch the notes of their names, where nearly all have one and most pitches are unsure.

    A clip's ``roots``, by name, come before its name. Names number octaves from middle C, C4, or C3 where measured
    pitches say so. Noises keep no pitch; melodies, and folders whose sure pitches contradict their names, keep theirs.
    """
    clips = [clip for clip in writer.clips if clip.onset_seconds is None and clip.key is None]
    note_by_name = next(_notes([clip.name for clip in clips], roots), {})
    named_clips = [clip for clip in clips if clip.name in note_by_name]
    pitch_by_name = {clip.name: single_note(writer.pitch(clip)) for clip in named_clips}
    if not _are_bells(writer, thinned(named_clips, MOST_CLIPS), note_by_name, pitch_by_name):
        return
    octave_shift = _octaves(note_by_name, pitch_by_name)
    for clip in named_clips:
        pitch, key = pitch_by_name[clip.name], note_by_name[clip.name] + 12 * octave_shift
        if pitch is not None and abs(pitch - key) < DETUNED:
            continue
        samples = writer.samples(clip)
        if _is_tone(samples, writer.rate) and (_agrees(key, pitch) or not _is_confirmed(samples, writer.rate, pitch)):
            writer.set_pitch(clip, track_at_key(writer.pitch(clip), samples, writer.rate, key))
            writer.report.named[clip.name] = note_name(key)


def _are_bells(
    writer: Writer, clips: list[Clip], note_by_name: Mapping[str, int], pitch_by_name: Mapping[str, float | None]
) -> bool:
    """Return whether partials confirm few pitches of clips, contradict few names, and few clips are melodies."""
    are_confirmed = [_is_confirmed(writer.samples(clip), writer.rate, pitch_by_name[clip.name]) for clip in clips]
    contradiction_count = sum(
        is_confirmed and not _agrees(note_by_name[clip.name], pitch_by_name[clip.name])
        for clip, is_confirmed in zip(clips, are_confirmed, strict=True)
    )
    if (
        not clips
        or sum(are_confirmed) > CONFIRMED_SHARE * len(clips)
        or contradiction_count > (1 - AGREEING_SHARE) * len(clips)
    ):
        return False
    unconfirmed_clips = thinned(
        [clip for clip, is_confirmed in zip(clips, are_confirmed, strict=True) if not is_confirmed], MOST_MELODIES
    )
    melody_count = sum(
        _is_harmonic_melody(writer.samples(clip), writer.pitch(clip), writer.rate) for clip in unconfirmed_clips
    )
    return melody_count <= MELODIC_SHARE * len(unconfirmed_clips)


def _agrees(key: int, pitch: float | None) -> bool:
    """Return whether a pitch is of a key's pitch class."""
    return pitch is not None and class_distance(key, pitch) < DETUNED


def _notes(names: list[str], roots: Mapping[str, int]) -> Iterator[dict[str, int]]:
    """Yield notes by name, for each way of reading that gives nearly all names one."""
    velocity_by_name = velocities(names)
    velocity_counts = Counter(velocity_by_name.get(name) for name in names)
    usual_velocity = max(velocity_counts, key=velocity_counts.__getitem__, default=None)
    sure_readings = [reading for reading in number_readings(names) if reading.sure]
    clip_roots = {name: roots[name] for name in names if name in roots}
    for readings in ([root_reading(clip_roots)], spelling_readings(names), sure_readings):
        reading = best_reading(readings, {})
        note_by_name = reading.single_notes() if reading else {}
        # Of phrases, many begin with one note.
        usual_count = sum(velocity_by_name.get(name) == usual_velocity for name in note_by_name)
        if len(note_by_name) >= NAMED_SHARE * len(names) and len(set(note_by_name.values())) >= max(
            FEWEST_FILES, usual_count / 2
        ):
            yield note_by_name


def _octaves(note_by_name: Mapping[str, int], pitch_by_name: Mapping[str, float | None]) -> int:
    """Return the octaves from names to sounds: 1 where middle C is C3. Bells' pitches are never measured too high."""
    octave_shifts = [
        round((pitch - note_by_name[name]) / 12)
        for name, pitch in pitch_by_name.items()
        if pitch is not None and _agrees(note_by_name[name], pitch)
    ]
    pitched_count = sum(pitch is not None for pitch in pitch_by_name.values())
    return int(
        len(octave_shifts) >= max(FEWEST_FILES, AGREEING_SHARE * pitched_count) and float(np.median(octave_shifts)) == 1
    )


def _is_tone(samples: Samples, rate: int) -> bool:
    """Return whether a spectrum has peaks, and is no noise."""
    steady_samples = steady(samples, rate)
    if steady_samples is None:
        return False
    levels_db = spectrum_db(steady_samples)
    return float(levels_db.mean() - 10 * np.log10(np.mean(10 ** (levels_db / 10)))) < TONE_DB


def _is_harmonic_melody(samples: Samples, track: Samples, rate: int) -> bool:
    """Return whether a clip is a melody, and no bell whose period jumps: its longest note is confirmed."""
    if not is_melody(samples, track, rate):
        return False
    longest_note = max(segment_notes(samples, rate), key=lambda note: note.stop - note.start)
    return _is_confirmed(samples[longest_note.start : longest_note.stop], rate, longest_note.pitch)


def _is_confirmed(samples: Samples, rate: int, pitch: float | None) -> bool:
    """Return whether loud peaks lie on multiples of the measured pitch, and one is a low partial."""
    if pitch is None:
        return False
    steady_samples = steady(samples, rate)
    if steady_samples is None:
        return True
    levels_db, f0_bin = spectrum_db(steady_samples), midi_to_hz(pitch) * len(steady_samples) / rate
    peaks = peak_bins(levels_db, levels_db.max() + PEAK_DB)
    partial_numbers = np.maximum(np.round(peaks / f0_bin), 1)
    tolerance_bins = np.maximum(NEAR_BINS, partial_numbers * f0_bin * (2 ** (NEAR_CENTS / 1200) - 1))
    is_fitting = np.abs(peaks - partial_numbers * f0_bin) < tolerance_bins
    peak_powers = 10 ** (levels_db[peaks] / 10)
    return bool(
        peak_powers[is_fitting].sum() >= CONFIRMED_POWER * peak_powers.sum()
        and (partial_numbers[is_fitting] <= LOW_PARTIALS).any()
    )


SEARCHED_SEMITONES, STEP_SEMITONES = 6.0, 0.05  # around a named key: neighbours explain its partials no better
NEAR_SEMITONES = 1.5  # from the key: the last keys of pianos are a semitone sharp, loud clarinets as flat
RUMBLE = 0.45  # of the key's frequency: below it rooms rumble louder than high keys sound; an octave lower is above
EXPLAINED_POWER = 0.7  # of the power of all peaks: 19 of 20 notes of flutes, clarinets and pianos have .87
OCTAVE, TWELFTH = 12.0, 12 * float(np.log2(3))  # semitones to the second and third partial
MOST_MULTIPLES = 4  # of a pitch, or parts of it, that a pitch track takes for it
OTHER_SHARE = 0.2  # of a clip's moments may have other pitches


def take_pitches_near_names(writer: Writer, roots: Mapping[str, int]) -> None:
    """Give clips without a pitch the one of their partials near the key of their name, where names are right.

    The lowest keys have too few periods in a window of `pitch_track`; the highest ones fade early into their room's
    noise. Names are right where measured pitches of other clips agree with theirs; most of these tell the octaves.
    A pitch that partials show a semitone away from its name counts as it is; an octave away, the clip stays without.
    """
    clips = [clip for clip in writer.clips if clip.onset_seconds is None and clip.key is None]
    pitch_by_name = {clip.name: single_note(writer.pitch(clip)) for clip in clips}
    measured_notes = {name: pitch for name, pitch in pitch_by_name.items() if pitch is not None}
    key_by_name = _trusted_keys(list(pitch_by_name), measured_notes, roots)
    for clip in clips:
        if clip.name in measured_notes or clip.name not in key_by_name:
            continue
        key, track = key_by_name[clip.name], writer.pitch(clip)
        pitch = pitch_near(writer.samples(clip), writer.rate, key)
        if pitch is None or _other_share(track, pitch) > OTHER_SHARE:
            continue
        writer.set_pitch(clip, np.full_like(track, pitch))  # to its end, however early it has faded
        if abs(pitch - key) < DETUNED:
            writer.report.named[clip.name] = note_name(key)
        else:
            writer.report.misnamed[clip.name] = f"{note_name(round(pitch))} is heard"


def _trusted_keys(names: list[str], measured_notes: Mapping[str, float], roots: Mapping[str, int]) -> dict[str, int]:
    """Return keys by name, in the octaves that are heard, of the first kind of names that measured notes confirm."""
    sure_numbers = [reading for reading in number_readings(names) if reading.sure]
    clip_roots = {name: roots[name] for name in names if name in roots}
    for readings in ([root_reading(clip_roots)], spelling_readings(names), sure_numbers):
        reading = _trusted_reading(readings, measured_notes)
        if reading is not None:
            octave_shift = round(float(np.median(list(_octaves_to_sounds(reading, measured_notes).values()))))
            return {name: note + 12 * octave_shift for name, note in reading.single_notes().items()}
    return {}


def _other_share(track: Samples, pitch: float) -> float:
    """Return the share of a track's moments, [frames], with another pitch than ``pitch``, its multiples and parts."""
    intervals = np.abs(track[np.isfinite(track)] - pitch)
    multiples = 12 * np.log2(np.arange(1, MOST_MULTIPLES + 1))
    distances = np.abs(intervals[:, np.newaxis] - multiples).min(axis=1, initial=np.inf)
    return float(np.sum(distances > DETUNED) / len(track))


def pitch_near(samples: Samples, rate: int, key: int) -> float | None:
    """Return the pitch within `NEAR_SEMITONES` of a key whose partials explain the spectrum of a sound; else None.

    ``samples``: mono, [n]. No pitch up to half an octave away explains more of it. It is no second or third
    partial, nor an octave too low.
    """
    steady_samples = steady(samples, rate)
    if steady_samples is None or not _is_tone(samples, rate):
        return None
    levels_db, key_bin = spectrum_db(steady_samples), midi_to_hz(key) * len(steady_samples) / rate
    lowest_bin = round(RUMBLE * key_bin)
    if lowest_bin >= len(levels_db) - 2:
        return None
    floor_db = levels_db[lowest_bin:].max() + PEAK_DB
    peaks = lowest_bin + peak_bins(levels_db[lowest_bin:], floor_db)
    offsets = np.arange(-SEARCHED_SEMITONES, SEARCHED_SEMITONES + STEP_SEMITONES / 2, STEP_SEMITONES)
    f0_bins = key_bin * 2 ** (offsets[:, np.newaxis] / 12)
    partial_numbers = np.maximum(np.round(peaks / f0_bins), 1)
    tolerance_bins = np.maximum(NEAR_BINS, partial_numbers * f0_bins * (2 ** (NEAR_CENTS / 1200) - 1))
    misfits = np.abs(peaks - partial_numbers * f0_bins) / tolerance_bins
    peak_powers, is_counted = 10 ** (levels_db[peaks] / 10), (misfits < 1) & (partial_numbers <= PARTIALS)
    best = int((is_counted * (1 - np.square(misfits)) * peak_powers).sum(1).argmax())
    explained_power = peak_powers[is_counted[best]].sum()
    if abs(offsets[best]) > NEAR_SEMITONES or explained_power < EXPLAINED_POWER * peak_powers.sum():
        return None
    pitch = key + float(offsets[best])
    has_first_partial = bool((is_counted[best] & (partial_numbers[best] == 1)).any())
    is_higher = not has_first_partial and not _has_lower(samples, rate, pitch, pitch + OCTAVE)
    if is_higher or any(_has_lower(samples, rate, pitch - interval, pitch) for interval in (OCTAVE, TWELFTH)):
        return None
    string = stiffness(samples, rate, pitch)
    if string is not None:
        return string.pitch
    ratios = (peaks / (partial_numbers[best] * f0_bins[best]))[is_counted[best]]
    return pitch + 12 * float(np.log2(np.average(ratios, weights=peak_powers[is_counted[best]])))
