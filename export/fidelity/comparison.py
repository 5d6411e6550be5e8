"""Compares an instrument's notes with held-out recordings, a sampler's notes and second takes; ABX listening tests."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import librosa
import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from ...host.arrays import Array, Doubles
from ...host.preset.library import Patch
from ...host.units import note_name
from ...train.corpus.store import Corpus
from ...train.metrics.clips import frechet
from ..reports.page import rendered
from ..reports.report import WIDTH, Figures, Picture, Report, ReportSound, Theme, listed
from .dynamics import CodedNotes, dynamics, has_encoder, played
from .floors import can_be_stored, classifier_accuracy, from_partials, pair_of, take_variety
from .measures import BANDS, HOP, NoteDistance, SpectralCourse, counted, course, held_shapes, nearness, shape_db
from .notes import (
    HELD_OUT,
    RecordedNote,
    SingleNote,
    held_out,
    loudest_db,
    note_of,
    sampled,
    second_take,
    singles,
    spread,
    tuned,
    velocity,
)

LOWEST_DB = -80.0  # below a sound's loudest cell
MARKED_HZ = {200: "200", 500: "500", 1000: "1k", 2000: "2k", 5000: "5k", 10000: "10k"}


def note_picture(name: str, title: str, sounds: Mapping[str, Array], rate: int) -> Picture:
    """Plot mel bands of sounds, [samples] each."""
    images = {who: levels(course(sound, rate)) for who, sound in sounds.items()}
    longest = max(len(image) for image in images.values()) * HOP / rate
    bands = librosa.mel_frequencies(BANDS + 2, fmin=0.0, fmax=rate / 2)[1:-1]
    marked = {hz: text for hz, text in MARKED_HZ.items() if bands[0] <= hz <= bands[-1]}

    def draw(theme: Theme) -> Figure:
        figure = Figure((WIDTH, 2.7), layout="constrained")
        row = figure.subplots(1, len(images), sharey=True, squeeze=False)[0]
        for axes, (who, image) in zip(row, images.items(), strict=True):
            extent = (0, len(image) * HOP / rate, -0.5, BANDS - 0.5)
            axes_image = axes.imshow(
                image.T, cmap="magma", vmin=LOWEST_DB, vmax=0, aspect="auto", origin="lower", extent=extent
            )
            axes.set(xlim=(0, longest), xlabel="seconds", title=who)
            axes.set_yticks(np.interp(list(marked), bands, np.arange(BANDS)), list(marked.values()))
        row[0].set_ylabel("Hz")
        figure.colorbar(axes_image, ax=list(row), label="dB", pad=0.01).outline.set_visible(False)
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
    notes = [{"a": trial.recording, "b": trial.rendition} for trial in trials]
    return rendered("abx.html", title=f"{name}: can you tell it from the recordings?", trials=trials, notes=notes)


NOTES = 24  # gives a median to a tenth of the notes' spread, in about ten seconds
WORST = 5  # notes with sound and picture
LOUDEST_DB = -20.0  # of a recording's loudest frame on the page: leaves headroom for peaks
COVERED_DB = -60.0  # below a frame's highest band: softer bands are masked
ABX = "abx.html"


class Comparison(NamedTuple):
    """Figures of compared notes, with pictures, sounds and pages for a report."""

    figures: Figures
    pictures: Sequence[Picture]
    sounds: Sequence[ReportSound]
    pages: Mapping[str, str]


class _Compared(NamedTuple):
    note: RecordedNote
    ours: Array
    sampler: Array | None
    row: Figures


def compare_notes(
    patch: Patch,
    corpus: Corpus,
    seed: int,
    progress: Callable[[float, str], None],
    notes: int = NOTES,
    trial: Patch | None = None,
) -> Comparison | None:
    """Compare a patch's notes with held-out notes of a corpus; None if no clip is a single note.

    Args:
        patch: of a model with keys, at the corpus's rate.
        corpus: its test split is held out, and with few notes validation too; the sampler uses its training split.
        notes: the most notes to compare, and the most training notes besides.
        trial: plays the held-out notes, if ``patch`` was trained on them too.
    """
    held_out_notes = held_out(corpus, notes, seed)
    if not held_out_notes:
        return None
    training_notes = singles(corpus, "train")
    loudest = loudest_db(corpus, training_notes or held_out_notes)
    all_notes = [*training_notes, *(single for split in HELD_OUT for single in singles(corpus, split))]
    tested_patch = patch if trial is None else trial
    coded = CodedNotes(tested_patch) if has_encoder(tested_patch) else None
    learned_notes = spread(training_notes if trial is None else all_notes, notes, np.random.default_rng(seed))
    compared, learned_comparisons = [], []
    for place, single in enumerate(held_out_notes):
        progress(0.5 * place / len(held_out_notes), "playing notes")
        compared.append(_compare_note(tested_patch, coded, corpus, single, training_notes, all_notes, loudest))
    for place, single in enumerate(learned_notes):
        progress(0.5 + 0.2 * place / len(learned_notes), "playing notes that training heard")
        learned_comparisons.append(_compare_note(patch, None, corpus, single, (), all_notes, loudest))
        if can_be_stored(patch.model.card):
            recording = learned_comparisons[-1].note.sound
            resynthesis = from_partials(recording, single.key, patch.model.card)
            learned_comparisons[-1].row["stored"] = nearness(recording, resynthesis, corpus.rate)._asdict()
    compared.sort(key=lambda comparison: -comparison.row["ours"]["shape_db"])
    # worst, median, nearest
    abx_comparisons = [compared[i] for i in sorted({0, len(compared) // 2, len(compared) - 1})]
    presented = [
        comparison
        for place, comparison in enumerate(compared)
        if place < WORST or any(comparison is abx_comparison for abx_comparison in abx_comparisons)
    ]
    numbers = {comparison.note.single.clip.name: number for number, comparison in enumerate(presented, 1)}
    figures = _figures(compared, min(WORST, len(compared)))
    figures["tuning"] = _tuning(all_notes)
    figures["trial"] = trial is not None
    figures["unheard_keys"] = len({single.key for single in held_out_notes} - {single.key for single in training_notes})
    figures["heard"] = _summary([comparison.row["ours"] for comparison in learned_comparisons])
    figures["stored"] = _summary(
        [comparison.row["stored"] for comparison in learned_comparisons if "stored" in comparison.row]
    )
    figures["frechet"] = _frechet(compared, corpus.rate)
    figures["told_apart"] = classifier_accuracy(
        [
            pair_of(comparison.row["key"], comparison.note.sound, comparison.ours, corpus.rate)
            for comparison in [*compared, *learned_comparisons]
        ]
    )
    known_notes = [(comparison.note, comparison.row["velocity"]) for comparison in [*learned_comparisons, *compared]]
    figures["takes_apart"] = take_variety(patch, corpus, known_notes, all_notes)
    figures["dynamics"] = dynamics(
        patch, corpus, training_notes, seed, lambda share: progress(0.7 + 0.3 * share, "playing dynamics")
    )
    rate, sounds = corpus.rate, []
    for comparison in presented:
        sounds += _sounds(comparison, numbers[comparison.note.single.clip.name], rate)
    pictures = [
        note_picture(f"note-{number}", title(comparison.row), _panels(comparison), rate)
        for number, comparison in enumerate(compared[:WORST], 1)
    ]
    trials = [
        AbxTrial(
            title(comparison.row),
            *(f"note-{numbers[comparison.note.single.clip.name]}-{who}.wav" for who in ("recording", "ours")),
        )
        for comparison in abx_comparisons
    ]
    return Comparison(figures, pictures, sounds, {ABX: abx_page(patch.model.card.name, trials)})


def with_notes(report: Report, notes: Comparison | None, page: Callable[..., str], **options: Any) -> Report:
    """Add compared notes, if any, to a report, and render its ``page``."""
    comparison = notes or Comparison({}, (), (), {})
    pictures = [*report.pictures, *comparison.pictures]
    page_html = page(report.figures, pictures, notes=listed(comparison.sounds), **options)
    return Report(report.figures, pictures, [*report.sounds, *comparison.sounds], page_html, comparison.pages)


def title(row: Figures) -> str:
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
    rate, recorded = corpus.rate, note_of(corpus, single)
    note = tuned(recorded, rate)
    recording = note.sound
    note_velocity = velocity(note, loudest)
    ours = played(patch, single.key, note_velocity, note.held_seconds, len(recording))
    row: Figures = {
        "recording": single.clip.name,
        "split": single.clip.split,
        "key": single.key,
        "cents": 100 * (single.pitch - single.key),
        "velocity": note_velocity,
        "seconds": len(recording) / rate,
        "held_seconds": note.held_seconds,
        "ours": nearness(recording, ours, rate)._asdict(),
        "sampler": None,
        "take": None,
        "codes": None,
    }
    sampler_note = sampled(corpus, note, rivals)
    if sampler_note is not None:
        row["sampler"] = _while_it_sounds(recording, sampler_note.sound, rate)
        row["sampler"] |= {
            "recording": sampler_note.single.clip.name,
            "semitones": single.key - sampler_note.single.pitch,
        }
    if (take := second_take(corpus, note, all_notes)) is not None:
        row["take"] = _while_it_sounds(recording, take.sound, rate) | {"recording": take.single.clip.name}
    if coded is not None:
        row["codes"] = _code_figures(coded, recorded, rate)
    return _Compared(note, ours, None if sampler_note is None else sampler_note.sound[: len(recording)], row)


def _while_it_sounds(recording: Array, rendition: Array, rate: int) -> Figures:
    sounding = rendition[: len(recording)]
    return nearness(recording[: len(sounding)], sounding, rate)._asdict()


def _code_figures(coded: CodedNotes, note: RecordedNote, rate: int) -> dict[str, float]:
    transposed, recorded_course = coded.transpose(note.sound, note.single.pitch), course(note.sound, rate)
    return {
        "each_frame": shape_db(recorded_course, course(coded.decode_frames(transposed), rate)),
        "one": shape_db(recorded_course, course(coded.decode_single_code(transposed), rate)),
        "one_played": shape_db(recorded_course, course(coded.played(transposed, len(note.sound)), rate)),
    }


def _figures(compared: Sequence[_Compared], worst: int) -> Figures:
    rows = [comparison.row for comparison in compared]
    codes = [row["codes"] for row in rows if row["codes"] is not None]
    return {
        "notes": len(rows),
        "splits": {split: sum(row["split"] == split for row in rows) for split in ("test", "val")},
        "ours": _summary([row["ours"] for row in rows]),
        "sampler": _summary([row["sampler"] for row in rows if row["sampler"] is not None]),
        "take": _summary([row["take"] for row in rows if row["take"] is not None]),
        "takes": sum(row["take"] is not None for row in rows),
        "codes": {name: middle([code[name] for code in codes]) for name in codes[0]} if codes else None,
        "worst": worst,
        "each": rows,
    }


def _summary(rows: Sequence[Mapping[str, Any]]) -> Figures | None:
    if not rows:
        return None
    return {
        name: middle(
            [row[name] for row in rows], lower_is_worse=name in ("brightness", "change", "slow_change", "vibrato")
        )
        for name in NoteDistance._fields
    }


def middle(values: Sequence[float | None], *, lower_is_worse: bool = False) -> dict[str, float] | None:
    """Return the median and the worst value: the largest, or the smallest with ``lower_is_worse``; None without any."""
    numbers = [value for value in values if value is not None]
    if not numbers:
        return None
    return {"median": float(np.median(numbers)), "worst": float(min(numbers) if lower_is_worse else max(numbers))}


def _tuning(all_notes: Sequence[SingleNote]) -> dict[str, float]:
    cents = np.array([100 * (single.pitch - single.key) for single in all_notes])
    return {"median_cents": float(np.median(cents)), "most_cents": float(np.percentile(np.abs(cents), 95))}


def _frechet(compared: Sequence[_Compared], rate: int) -> Figures | None:
    sounds = {
        "recorded": [comparison.note.sound for comparison in compared],
        "ours": [comparison.ours for comparison in compared],
        "sampler": [comparison.sampler for comparison in compared if comparison.sampler is not None],
    }
    frames = {name: _held_levels(note_sounds, rate) for name, note_sounds in sounds.items()}
    if min(len(frames["recorded"]), len(frames["ours"])) < 2:
        return None
    distances: Figures = {"ours": frechet(frames["ours"], frames["recorded"]), "sampler": None, "ratio": None}
    if len(frames["sampler"]) > 1:
        distances["sampler"] = frechet(frames["sampler"], frames["recorded"])
        distances["ratio"] = distances["ours"] / distances["sampler"] if distances["sampler"] else None
    return distances


def _held_levels(sounds: Sequence[Array], rate: int) -> npt.NDArray[np.float64]:
    """Return mel-band levels of held frames, in dB below each frame's highest: [frames, 64]."""
    parts = [np.zeros((0, BANDS))]
    for sound in sounds:
        levels = held_shapes(sound, rate)
        parts.append(np.maximum(levels - levels.max(1, keepdims=True), COVERED_DB))
    return np.concatenate(parts)


def _equally_loud(comparison: _Compared, rate: int) -> dict[str, Array]:
    # listeners prefer the louder of two
    recorded_course = course(comparison.note.sound, rate)
    counted_frames = counted(recorded_course)
    sounds = {"recording": comparison.note.sound, "ours": comparison.ours} | (
        {} if comparison.sampler is None else {"sampler": comparison.sampler}
    )
    levelled = {}
    for who, sound in sounds.items():
        levels = course(sound, rate).levels[: len(counted_frames)]
        lacking = float(
            (recorded_course.levels - recorded_course.levels.max())[: len(levels)][counted_frames[: len(levels)]].mean()
        )
        gain = LOUDEST_DB + lacking - float(levels[counted_frames[: len(levels)]].mean())
        levelled[who] = (sound * 10 ** (gain / 20)).astype(np.float32)
    return levelled


def _sounds(comparison: _Compared, number: int, rate: int) -> list[ReportSound]:
    captions = {"recording": "The recording.", "ours": "As the instrument plays it."}
    if comparison.row["sampler"] is not None:
        sampler_row = comparison.row["sampler"]
        captions["sampler"] = (
            f"As a sampler plays it: {sampler_row['recording']}, {sampler_row['semitones']:+.1f} semitones."
        )
    return [
        ReportSound(f"note-{number}-{who}", f"{title(comparison.row)}. {captions[who]}", sound, rate)
        for who, sound in _equally_loud(comparison, rate).items()
    ]


def _panels(comparison: _Compared) -> dict[str, Array]:
    panels = {"recording": comparison.note.sound, "instrument": comparison.ours}
    return panels | ({} if comparison.sampler is None else {"sampler": comparison.sampler})
