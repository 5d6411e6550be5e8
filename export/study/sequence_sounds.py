"""Corpora of the sequence study: the first frames of a loop, different kicks, and four sung vowels.

DIR/corpora/loop, kicks, vowels    corpora
DIR/corpora/sources.json           the corpora that they were made of, by role
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import scipy

from ...host.arrays import Array, Doubles
from ...host.errors import UserError
from ...host.files import building_folder
from ...train.corpus.pitch import pitch_track
from ...train.corpus.store import Corpus, writing
from ...train.families.sequence.recipe import SequenceFrames
from .runs import write_json

LOOP, KICKS, VOWELS = ROLES = ("loop", "kicks", "vowels")
LOOP_FRAMES = 60  # of one loop: the post's
KICK_FRAMES = 32  # 1.5 s: the post pads its kicks to a common length, which it does not state
VOWEL_FRAMES = 15  # four vowels last as long as the loop
COPY_DB = -40.0  # residual of a kick after its shifted and scaled copy is subtracted: inaudible beside it

PITCH_HZ = 110.0
# Formants of men: Peterson and Barney, JASA 24:175, 1952, table II.
FORMANTS_HZ = {"a": (730, 1090, 2440), "e": (530, 1840, 2480), "i": (270, 2290, 3010), "u": (300, 870, 2240)}
BANDWIDTHS_HZ = (60.0, 90.0, 120.0)  # of the first three formants, usual of voices
HIGHEST_HZ = 5000.0  # of harmonics: three formants say nothing above
GLIDE_SECONDS = 0.05  # from one vowel to the next
PEAK = 0.5


def study_corpora(folder: Path, sources: Mapping[str, Sequence[Corpus]], settings: SequenceFrames) -> dict[str, Corpus]:
    """Make the corpora of a study, or open those of an earlier call with equal sources.

    Args:
        folder: the study's.
        sources: corpora of loop and kicks; the vowels need none. Parts of corpora do not matter.

    Raises:
        UserError: other sources than before, or no sound that is long enough.
    """
    source_texts = {
        role: [f"{corpus.name}: {len(corpus.clips())} clips of {corpus.seconds():.3f} s" for corpus in corpora]
        for role, corpora in sources.items()
    } | {"frames": [f"{settings.frame_length} {settings.hop_length} {settings.sample_rate}"]}
    sources_path = folder / "corpora" / "sources.json"
    if sources_path.exists():
        earlier_texts = json.loads(sources_path.read_text(encoding="utf-8"))
        if earlier_texts != source_texts:
            raise UserError(
                f"study {folder} was made with other corpora or frames; give the same --corpus and --set, or another -o"
            )
        return {role: Corpus.open(folder / "corpora" / role) for role in [*sources, VOWELS]}
    hop, rate = settings.hop_length, settings.sample_rate
    sounds_by_role: dict[str, dict[str, Array]] = {VOWELS: {"vowels": vowels(rate, VOWEL_FRAMES * hop)}}
    if LOOP in sources:
        sounds_by_role[LOOP] = longest_recording(sources[LOOP], LOOP_FRAMES * hop)
    if KICKS in sources:
        sounds_by_role[KICKS] = padded_kicks(sources[KICKS], KICK_FRAMES * hop)
    folder.mkdir(parents=True, exist_ok=True)
    with building_folder(folder / "corpora") as corpora_folder:
        for role, sounds in sounds_by_role.items():
            licences = {corpus.licence for corpus in sources.get(role, ()) if corpus.licence}
            _write(corpora_folder / role, role, sounds, rate, "; ".join(sorted(licences)) or None)
        write_json(corpora_folder / "sources.json", source_texts)
    return {role: Corpus.open(folder / "corpora" / role) for role in [*sources, VOWELS]}


def longest_recording(corpora: Sequence[Corpus], samples: int) -> dict[str, Array]:
    """Return the first ``samples`` of the longest recording that sounds, by name."""
    clips = [(clip, corpus) for corpus in corpora for clip in corpus.clips() if corpus.samples(clip).any()]
    clip, corpus = max(clips, key=lambda pair: pair[0].length)
    return {clip.name: np.array(corpus.samples(clip, 0, samples))}


def padded_kicks(corpora: Sequence[Corpus], samples: int) -> dict[str, Array]:
    """Return the different recordings of corpora, cut or zero-padded to ``samples``, by corpus and name."""
    sounds_by_name = {
        f"{corpus.name} {clip.name}": np.array(corpus.samples(clip, 0, samples))
        for corpus in corpora
        for clip in corpus.clips()
    }
    sounds_by_name = {name: sound for name, sound in sounds_by_name.items() if sound.any()}
    names = [list(sounds_by_name)[index] for index in different(list(sounds_by_name.values()))]
    return {name: np.pad(sounds_by_name[name], (0, samples - len(sounds_by_name[name]))) for name in names}


def different(sounds: Sequence[Array]) -> list[int]:
    """Return the indices of sounds that are no copies of earlier ones, by content.

    A copy, shifted and scaled to fit best, leaves less than `COPY_DB` of the sound's energy.
    """
    transform_length = scipy.fft.next_fast_len(2 * max(map(len, sounds)), real=True)
    least_correlation = np.sqrt(1 - 10 ** (COPY_DB / 10))
    kept_indices: list[int] = []
    kept_spectra: list[Array] = []
    for index, sound in enumerate(sounds):
        unit_sound = sound / np.sqrt(np.square(sound, dtype=np.float64).sum())
        spectrum = scipy.fft.rfft(unit_sound, transform_length)
        if all(
            np.abs(scipy.fft.irfft(spectrum * kept_spectrum.conj(), transform_length)).max() < least_correlation
            for kept_spectrum in kept_spectra
        ):
            kept_indices.append(index)
            kept_spectra.append(spectrum)
    return kept_indices


def vowels(rate: int, samples: int) -> Array:
    """Return four vowels on one pitch, ``samples`` each: harmonics that fall by 6 dB an octave, through formants."""
    harmonic_numbers = np.arange(1, int(min(HIGHEST_HZ, 0.45 * rate) / PITCH_HZ) + 1)
    hz: Doubles = PITCH_HZ * harmonic_numbers.astype(np.float64)
    amplitudes = np.stack([_response(formants, hz) for formants in FORMANTS_HZ.values()])
    amplitudes /= harmonic_numbers * np.abs(amplitudes).max(1, keepdims=True)
    sample_indices = np.arange(len(amplitudes) * samples)
    glide = min(GLIDE_SECONDS * rate, samples / 2)
    # The place among the vowels: whole numbers inside them, in between at their borders.
    places = np.interp(
        sample_indices,
        np.concatenate([border * samples + glide * np.array([-0.5, 0.5]) for border in range(1, len(amplitudes))]),
        np.repeat(np.arange(len(amplitudes)), 2)[1:-1],
    )
    sound = np.zeros(len(sample_indices))
    for harmonic_number, by_vowel in zip(harmonic_numbers, amplitudes.T, strict=True):
        amplitude = np.interp(places, range(len(by_vowel)), by_vowel.real) + 1j * np.interp(
            places, range(len(by_vowel)), by_vowel.imag
        )
        sound += (amplitude * np.exp(2j * np.pi * PITCH_HZ / rate * harmonic_number * sample_indices)).imag
    peak_sound: Array = (PEAK * sound / np.abs(sound).max()).astype(np.float32)
    return peak_sound


def _response(formants_hz: Sequence[float], hz: Doubles) -> npt.NDArray[np.complex128]:
    """Return the complex gain of formants in series, pairs of poles of gain 1 at 0 Hz (Klatt, JASA 67:971, 1980)."""
    gain = np.ones(len(hz), complex)
    for formant_hz, bandwidth_hz in zip(formants_hz, BANDWIDTHS_HZ, strict=True):
        pole = -bandwidth_hz / 2 + 1j * formant_hz
        gain *= abs(pole) ** 2 / ((1j * hz - pole) * (1j * hz - pole.conjugate()))
    return gain


def _write(destination: Path, role: str, sounds: Mapping[str, Array], rate: int, licence: str | None) -> None:
    with writing(destination, rate) as writer:
        for name, sound in sounds.items():
            writer.append(sound, pitch_track(sound, rate), name=name, group=name)
        writer.finish(dict.fromkeys(sounds, "train"), name=role, licence=licence)
