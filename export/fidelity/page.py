"""Fidelity report as HTML sections and as terminal text."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from markupsafe import Markup

from ..reports.page import based, document, faint, heard_notes, paragraphs, players, shown, table
from ..reports.report import Picture
from ..reports.verdict import minus
from .comparison import ABX, title
from .dynamics import in_words

Figures = dict[str, Any]

MEASURES = {
    "shape_db": (
        "Shape, dB",
        "Spectra without their levels: the root mean square over 64 mel bands, the mean over frames down to −50 dB.",
    ),
    "sustain_db": (
        "Shape of the held part, dB",
        "The same over the first four fifths, down to −20 dB: without releases and the room.",
    ),
    "quarter_db": (
        "Quarter tones of it, dB",
        "The same in bands of a quarter tone from 370 Hz on: noise in a partial’s place is seen, or one beside it.",
    ),
    "onset_db": ("Shape of the first 46 ms, dB", "The same in the attack alone, in 64 mel bands."),
    "change": (
        "Change per frame, of recorded",
        "How many times as much as the recording’s its bands change from frame to frame: a frozen sound has less.",
    ),
    "slow_change": (
        "Slow change, of recorded",
        "How many times as much as the recording’s its bands move within a second: strings that beat.",
    ),
    "vibrato": (
        "Vibrato, of recorded",
        "How many times as much as the recording’s its pitch moves while held; none of steady ones.",
    ),
    "envelope_db": (
        "Envelope, dB",
        "The course of the level, whatever the gain: root mean square over the same frames.",
    ),
    "decay_percent": (
        "Decay, %",
        "How far the rates differ at which struck and plucked notes fade; none of sustained ones.",
    ),
    "partial_cents": (
        "Partials, cents",
        "How far strong partials lie from the recording’s; one that is missing counts as 50 cents.",
    ),
    "attack_ms": ("Attack, ms", "How far the times differ at which sounds have come within 3 dB of their loudest."),
    "brightness": ("Brightness", "Correlation of the courses of the spectral centroid, in octaves: 1 moves alike."),
}
OUT_OF_TUNE_CENTS = 20.0  # 95 % of recordings nearer to their keys than this are not mentioned
IN_SHORT = ("shape_db", "sustain_db", "envelope_db", "attack_ms", "brightness")
CODES = {
    "each_frame": (
        "Shape frame by frame, dB",
        "The decoder alone: each frame of the recording encoded, decoded, and at its own pitch again.",
    ),
    "one": ("Shape of one code, dB", "The same, with one code for all frames: that nearest to their codes’ median."),
    "one_played": ("Shape of one code, played, dB", "The note’s own key, held at this code."),
}
SIDES = {  # by figure: column heading, and terminal heading
    "ours": ("", ""),
    "sampler": ("Sampler’s ", "sampler"),
    "take": ("A second take’s ", "2nd take"),
    "heard": ("Ours of notes heard, ", "heard"),
    "stored": ("These of their own partials, ", "stored"),
}
NONE = "No held-out recording is a single note, so no note was compared with one."


def notes_section(found: Figures | None, sounds: Mapping[str, str], of: Callable[..., Markup]) -> Markup:
    """Return the notes, worst first, and the link to the ABX page; ``sounds`` are captions by file."""
    if found is None:
        return Markup()
    notes = []
    for number, row in enumerate(found["each"][: found["worst"]], 1):
        own = {file: caption for file, caption in sounds.items() if file.startswith(f"note-{number}-")}
        notes.append((title(row), players(own) + of(f"note-{number}")))
    return heard_notes(ABX, notes)


def figures_section(found: Figures | None) -> Markup:
    if found is None:
        return paragraphs([NONE])
    sides = {side: found[side] for side in SIDES if found[side] is not None}
    rows = [
        [label, *(cell for side in sides.values() for cell in _cells(side, name)), meaning]
        for name, (label, meaning) in MEASURES.items()
    ]
    if found["codes"] is not None:
        rows += [
            [label, *_cells(found["codes"], name), *["–", "–"] * (len(sides) - 1), meaning]
            for name, (label, meaning) in CODES.items()
        ]
    heads = (f"{SIDES[side][0]}{which}" for side in sides for which in ("median", "worst"))
    header = ["", *(head[0].upper() + head[1:] for head in heads), "What it says"]
    note = f"{basis(found)} Each was played by key and velocity from the preset, and let go when the recording was."
    note += " All recordings are tuned to their keys."
    if found["sampler"] is not None:
        note += (
            f" Training has none of {found['unheard_keys']} of their keys. The sampler plays the nearest training note,"
            " of the nearest velocity, faster or slower, and is measured while it sounds."
        )
    if found["trial"]:
        note += (
            " A trial that learned without these keys played them; the instrument learned all keys after it, and played"
            " the notes heard."
        )
    if found["take"] is not None:
        note += f" A second take is another recording of the same key and velocity; {found['takes']} notes have one."
    if found["stored"] is not None:
        note += " Of their own partials, notes are put together again by the same voice, without a network."
    note += "".join(f" {line}." for line in telling_lines(found))
    dynamics = paragraphs([f"{line}." for line in [*tuning_line(found), *dynamics_line(found)]])
    return table(header, rows, 2 * len(sides), "told") + faint(note) + dynamics


def instrument_page(
    instrument: str, corpus: str, found: Figures, pictures: Sequence[Picture], sounds: Mapping[str, str]
) -> str:
    sections = {
        "Listen": notes_section(found, sounds, shown(pictures)),
        "Figures": based(basis(found), "report.json") + figures_section(found),
    }
    return document(f"{instrument} beside {corpus}", in_short(found), "", sections)


def basis(found: Figures) -> str:
    names = {"test": "the test split", "val": "the validation split"}
    parts = [f"{count} of {names[split]}" for split, count in found["splits"].items() if count]
    return f"{found['notes']} recorded notes that training never saw ({', '.join(parts)})."


def as_text(found: Figures | None) -> str:
    if found is None:
        return NONE
    sides = {side: found[side] for side in SIDES if found[side] is not None}
    lines = [
        basis(found),
        f"{'':34}" + " ".join(f"{SIDES[side][1] or 'median':>9}{'worst':>9}" for side in sides),
        *(
            f"{label:34}{' '.join(_line(side, name) for side in sides.values())}"
            for name, (label, _) in MEASURES.items()
        ),
    ]
    if found["codes"] is not None:
        lines += [f"{label:34}{_line(found['codes'], name)}" for name, (label, _) in CODES.items()]
    return "\n".join([*lines, *telling_lines(found), *tuning_line(found), *dynamics_line(found)])


def telling_lines(found: Figures) -> list[str]:
    lines = []
    if (told := found["told_apart"]) is not None:
        lines.append(
            f"Two classifiers tell ours from recordings in {told['statistics']:.0%} and {told['network']:.0%} (50 % is "
            "luck): by statistics of bands, and a small network"
        )
    if (takes := found["takes_apart"]) is not None:
        recorded, played = takes["recorded"], takes["played"]
        lines.append(
            f"Two takes of a key and velocity differ by {recorded['shape_db']:.1f} dB in the held part and by "
            f"{recorded['level_db']:.1f} dB in level, two strikes of ours by {played['shape_db']:.1f} and "
            f"{played['level_db']:.1f} dB"
        )
    if (distance := found["frechet"]) is not None and distance["ratio"] is not None:
        lines.append(f"All frames together, ours are {distance['ratio']:.2f} times as far from recorded as a sampler's")
    return lines


def tuning_line(found: Figures) -> list[str]:
    most, median = found["tuning"]["most_cents"], found["tuning"]["median_cents"]
    if most < OUT_OF_TUNE_CENTS:
        return []
    return [
        f"tuning: recordings lie up to {most:.0f} cents off their keys, {median:+.0f} in the median; notes are played "
        "in tune, and as recorded where [gesture] intonation = 1"
    ]


def dynamics_line(found: Figures) -> list[str]:
    return [] if found["dynamics"] is None else [f"dynamics: {in_words(found['dynamics'])}"]


def in_short(found: Figures) -> str:
    parts = []
    for name in IN_SHORT:
        label, _ = MEASURES[name]
        measure, _, unit = label.lower().replace("db", "dB").partition(", ")
        parts.append(f"{measure} {_cells(found['ours'], name)[0]}{' ' + unit if unit else ''}")
    return f"{', '.join(parts)}; medians of {found['notes']} notes it never heard"


def _cells(figures: Figures | None, name: str) -> list[str]:
    found = None if figures is None else figures[name]
    if found is None:
        return ["–", "–"]
    fine = ("brightness", "change", "slow_change", "vibrato")
    digits = ".2f" if name in fine else ".0f" if name in ("attack_ms", "decay_percent") else ".1f"
    return [minus(f"{found[which]:{digits}}") for which in ("median", "worst")]


def _line(figures: Figures | None, name: str) -> str:
    return "".join(f"{cell:>9}" for cell in _cells(figures, name))
