"""Fidelity report as HTML sections and as terminal text."""

from markupsafe import Markup

from ..reports.measure import Measure, measures_as_text, measures_down
from ..reports.page import based, document, heard_notes, paragraphs, parts_renderer, players, subheading
from ..reports.report import Figures, listed
from .comparison import ABX, Comparison, title
from .dynamics import in_words

MEASURES = (
    Measure(
        "Shape, dB",
        "shape_db",
        ".1f",
        "Spectra without their levels: the root mean square over 64 mel bands, the mean over frames down to −50 dB.",
    ),
    Measure(
        "Shape of the held part, dB",
        "sustain_db",
        ".1f",
        "The same over the first four fifths, down to −20 dB: without releases and the room.",
    ),
    Measure(
        "Zimtohrli distance × 1000",
        "zimtohrli",
        lambda distance: f"{1000 * distance:.1f}",
        "A model of hearing, fitted to ratings of codecs: of left, right, mid and side where both sounds are stereo, "
        "else of mono.",
    ),
    Measure(
        "Quarter tones of it, dB",
        "quarter_db",
        ".1f",
        "The same in bands of a quarter tone from 370 Hz on: noise in a partial’s place is seen, or one beside it.",
    ),
    Measure("Shape of the first 46 ms, dB", "onset_db", ".1f", "The same in the attack alone, in 64 mel bands."),
    Measure(
        "Change per frame, of recorded",
        "change",
        ".2f",
        "How many times as much as the recording’s its bands change from frame to frame: a frozen sound has less.",
    ),
    Measure(
        "Slow change, of recorded",
        "slow_change",
        ".2f",
        "How many times as much as the recording’s its bands move within a second: strings that beat.",
    ),
    Measure(
        "Vibrato, of recorded",
        "vibrato",
        ".2f",
        "How many times as much as the recording’s its pitch moves while held; none of steady ones.",
    ),
    Measure(
        "Envelope, dB",
        "envelope_db",
        ".1f",
        "The course of the level, whatever the gain: root mean square over the same frames.",
    ),
    Measure(
        "Decay, %",
        "decay_percent",
        ".0f",
        "How far the rates differ at which struck and plucked notes fade; none of sustained ones.",
    ),
    Measure(
        "Partials, cents",
        "partial_cents",
        ".1f",
        "How far strong partials lie from the recording’s; one that is missing counts as 50 cents.",
    ),
    Measure(
        "Attack, ms",
        "attack_ms",
        ".0f",
        "How far the times differ at which sounds have come within 3 dB of their loudest.",
    ),
    Measure(
        "Late, ms",
        "late_ms",
        ".0f",
        "From the key to 12 dB below its loudest, less the time in which the recording rises there from 24 dB below.",
    ),
    Measure(
        "Sides, dB",
        "sides_db",
        ".1f",
        "Left, right, mid and side of stereo recordings: levels of 32 mel bands below both sides’ power, their mean.",
    ),
    Measure(
        "Brightness",
        "brightness",
        ".2f",
        "Correlation of the courses of the spectral centroid, in octaves: 1 moves alike.",
    ),
)
OUT_OF_TUNE_CENTS = 20.0  # 95 % of recordings nearer to their keys than this are not mentioned
IN_SHORT = ("shape_db", "sustain_db", "envelope_db", "late_ms", "brightness")
CODES = (
    Measure(
        "Shape frame by frame, dB",
        "each_frame",
        ".1f",
        "The decoder alone: each frame of the recording encoded, decoded, and at its own pitch again.",
    ),
    Measure(
        "Shape of one code, dB",
        "one",
        ".1f",
        "The same, with one code for all frames: that nearest to their codes’ median.",
    ),
    Measure("Shape of one code, played, dB", "one_played", ".1f", "The note’s own key, held at this code."),
)
SIDES = {  # by figure: column heading, and terminal heading
    "ours": ("", ""),
    "sampler": ("Sampler’s ", "sampler"),
    "take": ("A second take’s ", "2nd take"),
    "heard": ("Ours of notes heard, ", "heard"),
    "stored": ("These of their own partials, ", "stored"),
}
EXPLANATIONS = {  # of columns, by figure
    "sampler": " Training has none of {unheard_keys} of their keys. The sampler plays the nearest training note, of "
    "the nearest velocity, faster or slower, with the colour between it and the next recorded key beyond, and is "
    "measured while it sounds.",
    "trial": " A trial that learned without these keys played them; the instrument learned all keys after it, and "
    "played the notes heard.",
    "take": " A second take is another recording of the same key and velocity; {takes} notes have one.",
    "stored": " Of their own partials, notes are put together again by the same voice, without a network.",
}
NONE = "No held-out recording is a single note, so no note was compared with one."


def notes_parts(comparison: Comparison) -> list[Markup | str]:
    """Return the link to the ABX page, and the worst notes to hear and see."""
    if comparison.figures is None:
        return []
    captions, parts = listed(comparison.sounds), list[Markup | str]([heard_notes(ABX)])
    for note_number, note_row in enumerate(comparison.figures["each"][: comparison.figures["worst"]], 1):
        name = f"note-{note_number}"
        note_captions = {
            file_name: caption for file_name, caption in captions.items() if file_name.startswith(f"{name}-")
        }
        parts += [subheading(title(note_row)), players(note_captions), name]
    return parts


def figures_section(note_figures: Figures | None) -> Markup:
    """Return the table of measures, with its explanation."""
    if note_figures is None:
        return paragraphs([NONE])
    table_note = (
        f"{basis(note_figures)} Each was played by key and velocity from the preset, and let go when the recording "
        "was. All recordings are tuned to their keys."
    )
    table_note += "".join(text.format_map(note_figures) for name, text in EXPLANATIONS.items() if note_figures[name])
    table_note += "".join(f" {line}." for line in telling_lines(note_figures))
    headings_and_figures = [
        (f"{SIDES[side][0]}{statistic}", side_figures)
        for (side, statistic), side_figures in _columns(note_figures).items()
    ]
    columns = {heading[0].upper() + heading[1:]: side_figures for heading, side_figures in headings_and_figures}
    course_lines = [f"{line}." for line in [*tuning_line(note_figures), *dynamics_line(note_figures)]]
    return measures_down(_measures(note_figures), columns, table_note) + paragraphs(course_lines)


def instrument_page(instrument: str, corpus: str, comparison: Comparison) -> str:
    """Return the page of an instrument's notes beside a corpus."""
    note_figures = comparison.figures
    assert note_figures is not None
    sections = {
        "Listen": parts_renderer(comparison.pictures)(notes_parts(comparison)),
        "Figures": based(basis(note_figures), "report.json") + figures_section(note_figures),
    }
    return document(f"{instrument} beside {corpus}", in_short(note_figures), "", sections)


def basis(note_figures: Figures) -> str:
    """Return a sentence on the compared notes and their splits."""
    split_names = {"test": "the test split", "val": "the validation split"}
    split_texts = [
        f"{note_count} of {split_names[split]}" for split, note_count in note_figures["splits"].items() if note_count
    ]
    return f"{note_figures['notes']} recorded notes that training never saw ({', '.join(split_texts)})."


def as_text(note_figures: Figures | None) -> str:
    """Return the measures for the terminal."""
    if note_figures is None:
        return NONE
    figures_by_column = _columns(note_figures)
    headings = [
        (SIDES[side][1] or statistic) if statistic == "median" else statistic for side, statistic in figures_by_column
    ]
    table_text = measures_as_text(_measures(note_figures), headings, list(figures_by_column.values()))
    return "\n".join(
        [
            basis(note_figures),
            table_text,
            *telling_lines(note_figures),
            *tuning_line(note_figures),
            *dynamics_line(note_figures),
        ]
    )


def _measures(note_figures: Figures) -> tuple[Measure, ...]:
    return MEASURES if note_figures["codes"] is None else MEASURES + CODES


def _columns(note_figures: Figures) -> dict[tuple[str, str], Figures]:
    """Return the medians and worst figures of each side; those of codes stand beside ours."""
    figures_by_column = {}
    for side in (side for side in SIDES if note_figures[side] is not None):
        side_figures = dict.fromkeys(str(measure.value) for measure in CODES) | note_figures[side]
        if side == "ours":
            side_figures |= note_figures["codes"] or {}
        for statistic in ("median", "worst"):
            figures_by_column[side, statistic] = {
                measure_name: side_figures[measure_name] and side_figures[measure_name][statistic]
                for measure_name in (str(m.value) for m in MEASURES + CODES)
            }
    return figures_by_column


def _told_texts(note_figures: Figures, ending: str) -> list[str]:
    """Return how often the zero points are told from recordings, by figures whose names have this ending."""
    zero_points = {"second takes": "told_take", "the recordings themselves as MP3 of 112 kbit/s": "told_mp3"}
    return [
        f"{name} in {_shares(note_figures[side + ending])}"
        for name, side in zero_points.items()
        if note_figures[side + ending] is not None
    ]


def telling_lines(note_figures: Figures) -> list[str]:
    """Return sentences on the second judge, on classifiers of renditions, and on differences of takes."""
    lines = []
    if not note_figures["judge"]:
        lines.append("Zimtohrli distances need timbrel[judge]: pip install 'timbrel[judge]'")
    if (accuracies := note_figures["told_apart"]) is not None:
        lines.append(
            f"Two classifiers tell ours from recordings below 6 kHz in {_shares(accuracies)} (50 % is luck): by "
            "statistics of bands, and a small network"
        )
        if told_texts := _told_texts(note_figures, ""):
            lines.append(f"They tell {', and '.join(told_texts)}")
        if (accuracies := note_figures["told_apart_sides"]) is not None:
            told_texts = [f"ours in {_shares(accuracies)}", *_told_texts(note_figures, "_sides")]
            lines.append(f"By the differences of left and right they tell {', '.join(told_texts)}")
        if note_figures["told_mp3"] is None:
            lines.append("No MP3 was compared: libsndfile writes none here, or none of this rate")
    if (take_figures := note_figures["takes_apart"]) is not None:
        recorded_takes, played_takes = take_figures["recorded"], take_figures["played"]
        lines.append(
            f"Two takes of a key and velocity differ by {recorded_takes['shape_db']:.1f} dB in the held part and by "
            f"{recorded_takes['level_db']:.1f} dB in level, two strikes of ours by {played_takes['shape_db']:.1f} and "
            f"{played_takes['level_db']:.1f} dB"
        )
    if (distance_figures := note_figures["frechet"]) is not None and distance_figures["ratio"] is not None:
        lines.append(
            f"All frames together, ours are {distance_figures['ratio']:.2f} times as far from recorded as a sampler's"
        )
    return lines


def _shares(accuracies: Figures) -> str:
    """Return the accuracies of both classifiers in words."""
    return f"{accuracies['statistics']:.0%} and {accuracies['network']:.0%}"


def tuning_line(note_figures: Figures) -> list[str]:
    """Return a line on recordings that lie off their keys, none if they are in tune."""
    most_cents, median_cents = note_figures["tuning"]["most_cents"], note_figures["tuning"]["median_cents"]
    if most_cents < OUT_OF_TUNE_CENTS:
        return []
    return [
        f"tuning: recordings lie up to {most_cents:.0f} cents off their keys, {median_cents:+.0f} in the median; notes "
        "are played in tune, and as recorded where [gesture] intonation = 1"
    ]


def dynamics_line(note_figures: Figures) -> list[str]:
    """Return a line on the dynamics of recordings and renditions, none if not measured."""
    return [] if note_figures["dynamics"] is None else [f"dynamics: {in_words(note_figures['dynamics'])}"]


def in_short(note_figures: Figures) -> str:
    """Return the medians of a few measures in one line."""
    medians, measure_texts = _columns(note_figures)["ours", "median"], []
    for measure in (measure for measure in MEASURES if measure.value in IN_SHORT):
        name, _, unit = measure.label.lower().replace("db", "dB").partition(", ")
        measure_texts.append(f"{name} {measure.cell(medians)}{' ' + unit if unit else ''}")
    return f"{', '.join(measure_texts)}; medians of {note_figures['notes']} notes it never heard"
