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
            shown = axes.imshow(
                image.T, cmap="magma", vmin=LOWEST_DB, vmax=0, aspect="auto", origin="lower", extent=extent
            )
            axes.set(xlim=(0, longest), xlabel="seconds", title=who)
            axes.set_yticks(np.interp(list(marked), bands, np.arange(BANDS)), list(marked.values()))
        row[0].set_ylabel("Hz")
        figure.colorbar(shown, ax=list(row), label="dB", pad=0.01).outline.set_visible(False)
        return figure

    return Picture(name, f"{title}: 64 mel bands, in dB under each sound’s loudest.", draw)


def levels(measured: SpectralCourse) -> Doubles:
    """Return band levels in dB below a sound's loudest, -80 at least: [frames, 64]."""
    found = measured.shapes + measured.levels[:, np.newaxis]
    under: Doubles = np.maximum(found - found.max(), LOWEST_DB)
    return under


class AbxTrial(NamedTuple):
    """A note of the test, with sound files; ``other`` is the rendition."""

    title: str
    recording: str
    other: str


def abx_page(name: str, trials: Sequence[AbxTrial]) -> str:
    """Return the page of at least one trial; it needs only the sounds beside it."""
    notes = [{"a": trial.recording, "b": trial.other} for trial in trials]
    return rendered("abx.html", title=f"{name}: can you tell it from the recordings?", trials=trials, notes=notes)


NOTES = 24  # gives a median to a tenth of the notes' spread, in about ten seconds
WORST = 5  # notes with sound and picture
LOUDEST_DB = -20.0  # of a recording's loudest frame on the page: leaves headroom for peaks
COVERED_DB = -60.0  # below a frame's highest band: softer bands are masked
ABX = "abx.html"


class Comparison(NamedTuple):
    """Figures of compared notes, with pictures, sounds and pages for a report."""

    found: Figures
    pictures: Sequence[Picture]
    sounds: Sequence[ReportSound]
    pages: Mapping[str, str]


class _Compared(NamedTuple):
    note: RecordedNote
    ours: Array
    sampler: Array | None
    row: Figures


def beside(
    patch: Patch,
    corpus: Corpus,
    seed: int,
    say: Callable[[float, str], None],
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
    chosen = held_out(corpus, notes, seed)
    if not chosen:
        return None
    known = singles(corpus, "train")
    loudest = loudest_db(corpus, known or chosen)
    every = [*known, *(single for split in HELD_OUT for single in singles(corpus, split))]
    unheard = patch if trial is None else trial
    coded = CodedNotes(unheard) if has_encoder(unheard) else None
    learned = spread(known if trial is None else every, notes, np.random.default_rng(seed))
    compared, learned_rows = [], []
    for place, single in enumerate(chosen):
        say(0.5 * place / len(chosen), "playing notes")
        compared.append(_compared(unheard, coded, corpus, single, known, every, loudest))
    for place, single in enumerate(learned):
        say(0.5 + 0.2 * place / len(learned), "playing notes that training heard")
        learned_rows.append(_compared(patch, None, corpus, single, (), every, loudest))
        if can_be_stored(patch.model.card):
            asked = learned_rows[-1].note.sound
            again = from_partials(asked, single.key, patch.model.card)
            learned_rows[-1].row["stored"] = nearness(asked, again, corpus.rate)._asdict()
    compared.sort(key=lambda one: -one.row["ours"]["shape_db"])
    tried = [compared[i] for i in sorted({0, len(compared) // 2, len(compared) - 1})]  # worst, median, nearest
    heard = [one for place, one in enumerate(compared) if place < WORST or any(one is other for other in tried)]
    numbers = {one.note.single.clip.name: number for number, one in enumerate(heard, 1)}
    found = _figures(compared, min(WORST, len(compared)))
    found["tuning"] = _tuning(every)
    found["trial"] = trial is not None
    found["unheard_keys"] = len({single.key for single in chosen} - {single.key for single in known})
    found["heard"] = _summary([one.row["ours"] for one in learned_rows])
    found["stored"] = _summary([one.row["stored"] for one in learned_rows if "stored" in one.row])
    found["frechet"] = _frechet(compared, corpus.rate)
    found["told_apart"] = classifier_accuracy(
        [pair_of(one.row["key"], one.note.sound, one.ours, corpus.rate) for one in [*compared, *learned_rows]]
    )
    known_notes = [(one.note, one.row["velocity"]) for one in [*learned_rows, *compared]]
    found["takes_apart"] = take_variety(patch, corpus, known_notes, every)
    found["dynamics"] = dynamics(patch, corpus, known, seed, lambda part: say(0.7 + 0.3 * part, "playing dynamics"))
    rate, sounds = corpus.rate, []
    for one in heard:
        sounds += _sounds(one, numbers[one.note.single.clip.name], rate)
    pictures = [
        note_picture(f"note-{number}", title(one.row), _panels(one), rate)
        for number, one in enumerate(compared[:WORST], 1)
    ]
    trials = [
        AbxTrial(
            title(one.row), *(f"note-{numbers[one.note.single.clip.name]}-{who}.wav" for who in ("recording", "ours"))
        )
        for one in tried
    ]
    return Comparison(found, pictures, sounds, {ABX: abx_page(patch.model.card.name, trials)})


def with_notes(report: Report, notes: Comparison | None, page: Callable[..., str], **options: Any) -> Report:
    """Add compared notes, if any, to a report, and render its ``page``."""
    shown = notes or Comparison({}, (), (), {})
    pictures = [*report.pictures, *shown.pictures]
    text = page(report.found, pictures, notes=listed(shown.sounds), **options)
    return Report(report.found, pictures, [*report.sounds, *shown.sounds], text, shown.pages)


def title(row: Figures) -> str:
    return f"{note_name(row['key'])}, velocity {row['velocity']}: {row['recording']}"


def _compared(
    patch: Patch,
    coded: CodedNotes | None,
    corpus: Corpus,
    single: SingleNote,
    rivals: Sequence[SingleNote],
    every: Sequence[SingleNote],
    loudest: float,
) -> _Compared:
    rate, recorded = corpus.rate, note_of(corpus, single)
    note = tuned(recorded, rate)
    asked = note.sound
    speed = velocity(note, loudest)
    ours = played(patch, single.key, speed, note.held_seconds, len(asked))
    row: Figures = {
        "recording": single.clip.name,
        "split": single.clip.split,
        "key": single.key,
        "cents": 100 * (single.pitch - single.key),
        "velocity": speed,
        "seconds": len(asked) / rate,
        "held_seconds": note.held_seconds,
        "ours": nearness(asked, ours, rate)._asdict(),
        "sampler": None,
        "take": None,
        "codes": None,
    }
    other = sampled(corpus, note, rivals)
    if other is not None:
        row["sampler"] = _while_it_sounds(asked, other.sound, rate)
        row["sampler"] |= {"recording": other.single.clip.name, "semitones": single.key - other.single.pitch}
    if (take := second_take(corpus, note, every)) is not None:
        row["take"] = _while_it_sounds(asked, take.sound, rate) | {"recording": take.single.clip.name}
    if coded is not None:
        row["codes"] = _coded(coded, recorded, rate)
    return _Compared(note, ours, None if other is None else other.sound[: len(asked)], row)


def _while_it_sounds(asked: Array, other: Array, rate: int) -> Figures:
    by = other[: len(asked)]
    return nearness(asked[: len(by)], by, rate)._asdict()


def _coded(coded: CodedNotes, note: RecordedNote, rate: int) -> dict[str, float]:
    moved, own = coded.moved(note.sound, note.single.pitch), course(note.sound, rate)
    return {
        "each_frame": shape_db(own, course(coded.each(moved), rate)),
        "one": shape_db(own, course(coded.one(moved), rate)),
        "one_played": shape_db(own, course(coded.played(moved, len(note.sound)), rate)),
    }


def _figures(compared: Sequence[_Compared], worst: int) -> Figures:
    rows = [one.row for one in compared]
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
        name: middle([row[name] for row in rows], least=name in ("brightness", "change", "slow_change", "vibrato"))
        for name in NoteDistance._fields
    }


def middle(values: Sequence[float | None], *, least: bool = False) -> dict[str, float] | None:
    """Return the median and the worst value: the largest, or the smallest with ``least``; None without values."""
    there = [value for value in values if value is not None]
    if not there:
        return None
    return {"median": float(np.median(there)), "worst": float(min(there) if least else max(there))}


def _tuning(every: Sequence[SingleNote]) -> dict[str, float]:
    cents = np.array([100 * (single.pitch - single.key) for single in every])
    return {"median_cents": float(np.median(cents)), "most_cents": float(np.percentile(np.abs(cents), 95))}


def _frechet(compared: Sequence[_Compared], rate: int) -> Figures | None:
    sounds = {
        "recorded": [one.note.sound for one in compared],
        "ours": [one.ours for one in compared],
        "sampler": [one.sampler for one in compared if one.sampler is not None],
    }
    frames = {name: _held(each, rate) for name, each in sounds.items()}
    if min(len(frames["recorded"]), len(frames["ours"])) < 2:
        return None
    found: Figures = {"ours": frechet(frames["ours"], frames["recorded"]), "sampler": None, "ratio": None}
    if len(frames["sampler"]) > 1:
        found["sampler"] = frechet(frames["sampler"], frames["recorded"])
        found["ratio"] = found["ours"] / found["sampler"] if found["sampler"] else None
    return found


def _held(sounds: Sequence[Array], rate: int) -> npt.NDArray[np.float64]:
    """Return mel-band levels of held frames, in dB below each frame's highest: [frames, 64]."""
    parts = [np.zeros((0, BANDS))]
    for sound in sounds:
        levels = held_shapes(sound, rate)
        parts.append(np.maximum(levels - levels.max(1, keepdims=True), COVERED_DB))
    return np.concatenate(parts)


def _equally_loud(one: _Compared, rate: int) -> dict[str, Array]:
    # listeners prefer the louder of two
    asked = course(one.note.sound, rate)
    which = counted(asked)
    sounds = {"recording": one.note.sound, "ours": one.ours} | ({} if one.sampler is None else {"sampler": one.sampler})
    levelled = {}
    for who, sound in sounds.items():
        levels = course(sound, rate).levels[: len(which)]
        lacking = float((asked.levels - asked.levels.max())[: len(levels)][which[: len(levels)]].mean())
        gain = LOUDEST_DB + lacking - float(levels[which[: len(levels)]].mean())
        levelled[who] = (sound * 10 ** (gain / 20)).astype(np.float32)
    return levelled


def _sounds(one: _Compared, number: int, rate: int) -> list[ReportSound]:
    captions = {"recording": "The recording.", "ours": "As the instrument plays it."}
    if one.row["sampler"] is not None:
        by = one.row["sampler"]
        captions["sampler"] = f"As a sampler plays it: {by['recording']}, {by['semitones']:+.1f} semitones."
    return [
        ReportSound(f"note-{number}-{who}", f"{title(one.row)}. {captions[who]}", sound, rate)
        for who, sound in _equally_loud(one, rate).items()
    ]


def _panels(one: _Compared) -> dict[str, Array]:
    panels = {"recording": one.note.sound, "instrument": one.ours}
    return panels | ({} if one.sampler is None else {"sampler": one.sampler})
