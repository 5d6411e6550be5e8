"""Compares an instrument's notes with held-out recordings, a sampler's notes and second takes; ABX listening tests."""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from ...host.arrays import Array, Doubles
from ...host.preset.library import Patch
from ...host.spectra import mel_edges_hz
from ...host.units import note_name
from ...train.corpus.store import Corpus
from ...train.metrics.clips import frechet
from ..reports.page import rendered
from ..reports.report import Figures, Picture, ReportSound, Theme, panels
from .dynamics import CodedNotes, dynamics, has_encoder, in_mono, played_sides
from .floors import (
    NotePair,
    as_mp3,
    can_be_stored,
    classifier_accuracy,
    from_partials,
    pair_of,
    sides_pair_of,
    take_variety,
)
from .images import sides_distance
from .measures import BANDS, HOP, NoteDistance, SpectralCourse, counted, course, held_shapes, nearness, shape_db
from .notes import (
    HELD_OUT,
    NoteSound,
    RecordedNote,
    SingleNote,
    held_out,
    loudest_db,
    note_of,
    second_take,
    singles,
    spread,
    tuned,
    tuned_sides,
    velocity,
)
from .perceptual_distance import is_installed, perceptual_distance
from .sampler import sample_note

LOWEST_DB = -80.0  # below a sound's loudest cell
MARKED_HZ = {200: "200", 500: "500", 1000: "1k", 2000: "2k", 5000: "5k", 10000: "10k"}


def note_picture(name: str, title: str, sounds: Mapping[str, Array], rate: int) -> Picture:
    """Plot mel bands of sounds, [samples] each."""
    levels_by_sound = {sound_name: levels(course(sound, rate)) for sound_name, sound in sounds.items()}
    longest_seconds = max(len(image) for image in levels_by_sound.values()) * HOP / rate
    band_centres_hz = mel_edges_hz(rate, BANDS)[1:-1]
    labels_by_hz = {
        hz: hz_label for hz, hz_label in MARKED_HZ.items() if band_centres_hz[0] <= hz <= band_centres_hz[-1]
    }

    def draw(theme: Theme) -> Figure:
        figure, axes_row = panels(len(levels_by_sound), len(levels_by_sound), 2.7, sharey=True)
        for axes, (sound_name, band_levels) in zip(axes_row, levels_by_sound.items(), strict=True):
            extent = (0, len(band_levels) * HOP / rate, -0.5, BANDS - 0.5)
            axes_image = axes.imshow(
                band_levels.T, cmap="magma", vmin=LOWEST_DB, vmax=0, aspect="auto", origin="lower", extent=extent
            )
            axes.set(xlim=(0, longest_seconds), xlabel="seconds", title=sound_name)
            axes.set_yticks(
                np.interp(list(labels_by_hz), band_centres_hz, np.arange(BANDS)), list(labels_by_hz.values())
            )
        axes_row[0].set_ylabel("Hz")
        figure.colorbar(axes_image, ax=axes_row, label="dB", pad=0.01).outline.set_visible(False)
        return figure

    return Picture(name, f"{title}: 64 mel bands, in dB under each sound’s loudest.", draw)


def levels(sound_course: SpectralCourse) -> Doubles:
    """Return band levels in dB below a sound's loudest, -80 at least: [frames, 64]."""
    band_levels = sound_course.shapes + sound_course.levels[:, np.newaxis]
    relative_levels: Doubles = np.maximum(band_levels - band_levels.max(), LOWEST_DB)
    return relative_levels


class AbxTrial(NamedTuple):
    """A note of the test, with sound files."""

    title: str
    recording: str
    rendition: str


def abx_page(name: str, trials: Sequence[AbxTrial]) -> str:
    """Return the page of at least one trial; it needs only the sounds beside it."""
    note_files = [{"a": trial.recording, "b": trial.rendition} for trial in trials]
    return rendered("abx.html", title=f"{name}: can you tell it from the recordings?", trials=trials, notes=note_files)


NOTES = 24  # gives a median to a tenth of the notes' spread, in about half a minute
WORST = 5  # notes with sound and picture
LOUDEST_DB = -20.0  # of a recording's loudest frame on the page: leaves headroom for peaks
COVERED_DB = -60.0  # below a frame's highest band: softer bands are masked
ABX = "abx.html"
SEED, CHANNELS = 0, 3  # of the draw of a channel for classifiers: left, right or mono
LOWER_IS_WORSE = ("brightness", "change", "slow_change", "vibrato")


class Comparison(NamedTuple):
    """Figures of compared notes, if any were, with pictures, sounds and pages for a report."""

    figures: Figures | None = None
    pictures: Sequence[Picture] = ()
    sounds: Sequence[ReportSound] = ()
    pages: Mapping[str, str] = MappingProxyType({})


class _Compared(NamedTuple):
    """A note's figures, and its sounds: ``recording``, ``ours``, and ``sampler`` and ``take`` where there is one."""

    note: RecordedNote
    sounds: Mapping[str, NoteSound]
    row: Figures

    def mono_sounds(self, ours: str) -> dict[str, Array]:
        """Return the recording, our sound under a name, and the sampler's if there is one, all as long at most."""
        names = {"recording": "recording", "ours": ours, "sampler": "sampler"}
        return {
            name: self.sounds[side].mono[: len(self.note.sound)] for side, name in names.items() if side in self.sounds
        }


def compare_notes(
    patch: Patch,
    corpus: Corpus,
    seed: int,
    progress: Callable[[float, str], None],
    notes: int = NOTES,
    trial: Patch | None = None,
) -> Comparison:
    """Compare a patch's notes with held-out notes of a corpus; without figures if no clip is a single note.

    Args:
        patch: of a model with keys, at the corpus's rate.
        corpus: its test split is held out, and with few notes validation too; the sampler uses its training split.
        notes: the most notes to compare, and the most training notes besides.
        trial: plays the held-out notes, if ``patch`` was trained on them too.
    """
    held_out_notes = held_out(corpus, notes, seed)
    if not held_out_notes:
        return Comparison()
    training_notes = singles(corpus, "train")
    loudest_moment_db = loudest_db(corpus, training_notes or held_out_notes)
    all_notes = [*training_notes, *(single for split in HELD_OUT for single in singles(corpus, split))]
    tested_patch = patch if trial is None else trial
    coded_notes = CodedNotes(tested_patch) if has_encoder(tested_patch) else None
    learned_notes = spread(training_notes if trial is None else all_notes, notes, np.random.default_rng(seed))
    comparisons, learned_comparisons = [], []
    for note_index, single in enumerate(held_out_notes):
        progress(0.5 * note_index / len(held_out_notes), "playing notes")
        comparisons.append(
            _compare_note(tested_patch, coded_notes, corpus, single, training_notes, all_notes, loudest_moment_db)
        )
    for note_index, single in enumerate(learned_notes):
        progress(0.5 + 0.2 * note_index / len(learned_notes), "playing notes that training heard")
        learned_comparisons.append(_compare_note(patch, None, corpus, single, (), all_notes, loudest_moment_db))
        if can_be_stored(patch.model.card):
            recorded_sound = learned_comparisons[-1].note.sound
            resynthesis = from_partials(recorded_sound, single.key, patch.model.card)
            learned_comparisons[-1].row["stored"] = _distances(
                NoteSound(recorded_sound), NoteSound(resynthesis), corpus.rate
            )
    comparisons.sort(key=lambda comparison: -comparison.row["ours"]["shape_db"])
    note_rows = [comparison.row for comparison in comparisons]
    figures = {
        "notes": len(note_rows),
        "splits": {split: sum(note_row["split"] == split for note_row in note_rows) for split in ("test", "val")},
        "ours": _summary(comparisons, "ours"),
        "sampler": _summary(comparisons, "sampler"),
        "take": _summary(comparisons, "take"),
        "judge": is_installed(),
        "takes": sum(note_row["take"] is not None for note_row in note_rows),
        "codes": _summary(comparisons, "codes"),
        "worst": min(WORST, len(note_rows)),
        "each": note_rows,
        "tuning": _tuning(all_notes),
        "trial": trial is not None,
        "unheard_keys": len({single.key for single in held_out_notes} - {single.key for single in training_notes}),
        "heard": _summary(learned_comparisons, "ours"),
        "stored": _summary(learned_comparisons, "stored"),
        "frechet": _frechet(comparisons, corpus.rate),
        **_told_apart([*comparisons, *learned_comparisons], corpus.rate),
        "takes_apart": take_variety(
            patch,
            corpus,
            [(comparison.note, comparison.row["velocity"]) for comparison in [*learned_comparisons, *comparisons]],
            all_notes,
        ),
        "dynamics": dynamics(
            patch, corpus, training_notes, seed, lambda share: progress(0.7 + 0.3 * share, "playing dynamics")
        ),
    }
    abx_indices = sorted({0, len(comparisons) // 2, len(comparisons) - 1})  # worst, median, nearest
    presented_indices = sorted({*range(min(WORST, len(comparisons))), *abx_indices})
    names_by_index = {note_index: f"note-{number}" for number, note_index in enumerate(presented_indices, 1)}
    sounds = [
        sound
        for note_index, name in names_by_index.items()
        for sound in _sounds(comparisons[note_index], name, corpus.rate)
    ]
    pictures = [
        note_picture(
            names_by_index[note_index], title(comparison.row), comparison.mono_sounds("instrument"), corpus.rate
        )
        for note_index, comparison in enumerate(comparisons[:WORST])
    ]
    abx_trials = [
        AbxTrial(
            title(comparisons[note_index].row),
            *(f"{names_by_index[note_index]}-{side}.wav" for side in ("recording", "ours")),
        )
        for note_index in abx_indices
    ]
    return Comparison(figures, pictures, sounds, {ABX: abx_page(patch.model.card.name, abx_trials)})


def title(row: Figures) -> str:
    """Name a note's key, velocity and recording."""
    return f"{note_name(row['key'])}, velocity {row['velocity']}: {row['recording']}"


def _compare_note(
    patch: Patch,
    coded: CodedNotes | None,
    corpus: Corpus,
    single: SingleNote,
    rivals: Sequence[SingleNote],
    all_notes: Sequence[SingleNote],
    loudest: float,
) -> _Compared:
    """Play a recorded note, by the instrument, a sampler of ``rivals`` and a second take, and measure each."""
    rate, recorded_note = corpus.rate, note_of(corpus, single)
    tuned_note, is_stereo = tuned(recorded_note, rate), corpus.channels(single.clip) == 2
    recording = NoteSound(tuned_note.sound, tuned_sides(corpus, single, single.key) if is_stereo else None)
    note_velocity = velocity(tuned_note, loudest)
    sides = played_sides(patch, single.key, note_velocity, tuned_note.held_seconds, len(recording.mono))
    rendition = NoteSound(in_mono(sides, rate), sides if is_stereo else None)
    note_figures: Figures = {
        "recording": single.clip.name,
        "split": single.clip.split,
        "key": single.key,
        "cents": 100 * (single.pitch - single.key),
        "velocity": note_velocity,
        "seconds": len(recording.mono) / rate,
        "held_seconds": tuned_note.held_seconds,
        "ours": _distances(recording, rendition, rate),
        "sampler": None,
        "take": None,
        "codes": None,
    }
    sounds = {"recording": recording, "ours": rendition}
    sampled_note = sample_note(corpus, tuned_note, rivals)
    if sampled_note is not None:
        neighbour, sounds["sampler"] = sampled_note.neighbour, sampled_note.sound
        note_figures["sampler"] = _distances(recording, sampled_note.sound, rate) | {
            "recording": sampled_note.note.single.clip.name,
            "semitones": single.key - sampled_note.note.single.pitch,
            "neighbour": None if neighbour is None else neighbour.clip.name,
            "neighbour_share": sampled_note.share,
        }
    if (second_note := second_take(corpus, tuned_note, all_notes)) is not None:
        take_sides = tuned_sides(corpus, second_note.single, single.key) if is_stereo else None
        sounds["take"] = NoteSound(second_note.sound, take_sides)
        note_figures["take"] = _distances(recording, sounds["take"], rate) | {"recording": second_note.single.clip.name}
    if coded is not None:
        note_figures["codes"] = _code_figures(coded, recorded_note, rate)
    return _Compared(tuned_note, sounds, note_figures)


def _distances(recording: NoteSound, rendition: NoteSound, rate: int) -> Figures:
    """Compare the shorter of two sounds with as much of the recording."""
    rendition = rendition.shorten(len(recording.mono))
    recording = recording.shorten(len(rendition.mono))
    distances = nearness(recording.mono, rendition.mono, rate)._asdict()
    if recording.sides is not None and rendition.sides is not None:
        distances |= sides_distance(recording.sides, rendition.sides, rate)._asdict()
    return distances | perceptual_distance(recording, rendition, rate)


def _code_figures(coded: CodedNotes, note: RecordedNote, rate: int) -> dict[str, float]:
    """Return the shape distances of notes resynthesized from codes of all frames, and from one code."""
    transposed_note, recorded_course = coded.transpose(note.sound, note.single.pitch), course(note.sound, rate)
    return {
        "each_frame": shape_db(recorded_course, course(coded.resynthesize(transposed_note), rate)),
        "one": shape_db(recorded_course, course(coded.resynthesize(transposed_note, transposed_note.code), rate)),
        "one_played": shape_db(recorded_course, course(coded.played(transposed_note, len(note.sound)), rate)),
    }


def _summary(compared: Sequence[_Compared], side: str) -> Figures | None:
    """Return the median and worst value of each measure of a side; None without any."""
    side_figures = [figures for comparison in compared if (figures := comparison.row.get(side)) is not None]
    if not side_figures:
        return None
    measure_names = NoteDistance._fields if "shape_db" in side_figures[0] else side_figures[0]
    return {
        measure_name: middle(
            [figures[measure_name] for figures in side_figures], lower_is_worse=measure_name in LOWER_IS_WORSE
        )
        for measure_name in measure_names
    }


def middle(values: Sequence[float | None], *, lower_is_worse: bool = False) -> dict[str, float] | None:
    """Return the median and the worst value: the largest, or the smallest with ``lower_is_worse``; None without any."""
    defined_values = [value for value in values if value is not None]
    if not defined_values:
        return None
    return {
        "median": float(np.median(defined_values)),
        "worst": float(min(defined_values) if lower_is_worse else max(defined_values)),
    }


def _tuning(all_notes: Sequence[SingleNote]) -> dict[str, float]:
    """Return how far notes lie off their keys."""
    note_cents = np.array([100 * (single.pitch - single.key) for single in all_notes])
    return {"median_cents": float(np.median(note_cents)), "most_cents": float(np.percentile(np.abs(note_cents), 95))}


def _told_apart(compared: Sequence[_Compared], rate: int) -> dict[str, Figures | None]:
    """Return the accuracy of classifiers that tell our sounds from recordings, second takes, and MP3s of them.

    Of left, right or mono, drawn for each note, where recordings are stereo; by differences of the sides under names
    that end in "_sides". Two takes are one pair.
    """
    rng, paired_takes = np.random.default_rng(SEED), set()
    pairs_by_name: dict[str, list[NotePair]] = {
        f"told_{side}{ending}": [] for side in ("apart", "take", "mp3") for ending in ("", "_sides")
    }
    for comparison in compared:
        sounds, channel_number = dict(comparison.sounds), int(rng.integers(CHANNELS))
        if (mp3_sound := as_mp3(sounds["recording"], rate)) is not None:
            sounds["mp3"] = mp3_sound
        if "take" in sounds:
            names = frozenset({comparison.row["recording"], comparison.row["take"]["recording"]})
            if names in paired_takes:
                del sounds["take"]
            paired_takes.add(names)
        recording, key = sounds["recording"], comparison.row["key"]
        for name, side in (("told_apart", "ours"), ("told_take", "take"), ("told_mp3", "mp3")):
            if (other := sounds.get(side)) is None:
                continue
            recorded, played = recording.channel(channel_number), other.channel(channel_number)
            pairs_by_name[name].append(pair_of(key, recorded, played, rate))
            if recording.sides is not None and other.sides is not None:
                pairs_by_name[f"{name}_sides"].append(sides_pair_of(key, recording.sides, other.sides, rate))
    return {name: classifier_accuracy(pairs) for name, pairs in pairs_by_name.items()}


def _frechet(compared: Sequence[_Compared], rate: int) -> Figures | None:
    """Return Fréchet distances of held frames to the recordings'; None with too few frames."""
    levels_by_side = {
        side: _held_levels(
            [sounds[side] for comparison in compared if side in (sounds := comparison.mono_sounds("ours"))], rate
        )
        for side in ("recording", "ours", "sampler")
    }
    if min(len(levels_by_side["recording"]), len(levels_by_side["ours"])) < 2:
        return None
    distances: Figures = {
        "ours": frechet(levels_by_side["ours"], levels_by_side["recording"]),
        "sampler": None,
        "ratio": None,
    }
    if len(levels_by_side["sampler"]) > 1:
        distances["sampler"] = frechet(levels_by_side["sampler"], levels_by_side["recording"])
        distances["ratio"] = distances["ours"] / distances["sampler"] if distances["sampler"] else None
    return distances


def _held_levels(sounds: Sequence[Array], rate: int) -> npt.NDArray[np.float64]:
    """Return mel-band levels of held frames, in dB below each frame's highest: [frames, 64]."""
    level_parts = [np.zeros((0, BANDS))]
    for sound in sounds:
        frame_levels = held_shapes(sound, rate)
        level_parts.append(np.maximum(frame_levels - frame_levels.max(1, keepdims=True), COVERED_DB))
    return np.concatenate(level_parts)


def _equally_loud(comparison: _Compared, rate: int) -> dict[str, Array]:
    """Return the sounds of a comparison by side, at one level: listeners prefer the louder of two."""
    recorded_course = course(comparison.note.sound, rate)
    is_counted = counted(recorded_course)
    levelled_sounds = {}
    for side, sound in comparison.mono_sounds("ours").items():
        frame_levels = course(sound, rate).levels[: len(is_counted)]
        relative_level_db = float(
            (recorded_course.levels - recorded_course.levels.max())[: len(frame_levels)][
                is_counted[: len(frame_levels)]
            ].mean()
        )
        gain_db = LOUDEST_DB + relative_level_db - float(frame_levels[is_counted[: len(frame_levels)]].mean())
        levelled_sounds[side] = (sound * 10 ** (gain_db / 20)).astype(np.float32)
    return levelled_sounds


def _sounds(comparison: _Compared, name: str, rate: int) -> list[ReportSound]:
    """Return the sounds of a comparison for the page."""
    captions_by_side = {"recording": "The recording.", "ours": "As the instrument plays it."}
    if comparison.row["sampler"] is not None:
        sampler_figures = comparison.row["sampler"]
        captions_by_side["sampler"] = (
            f"As a sampler plays it: {sampler_figures['recording']}, {sampler_figures['semitones']:+.1f} semitones"
        )
        if sampler_figures["neighbour"] is not None:
            captions_by_side["sampler"] += (
                f", {sampler_figures['neighbour_share']:.0%} of its colour from {sampler_figures['neighbour']}"
            )
        captions_by_side["sampler"] += "."
    return [
        ReportSound(f"{name}-{side}", f"{title(comparison.row)}. {captions_by_side[side]}", sound, rate)
        for side, sound in _equally_loud(comparison, rate).items()
    ]
