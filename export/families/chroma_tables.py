"""Tables and verdict of chroma reports: errors, keys that are obeyed, octaves, knobs."""

from markupsafe import Markup

from ...host.units import PITCH_CLASSES, midi_to_hz, note_name, octave_of
from ..reports.floor_tables import floor_sentences
from ..reports.measure import (
    Measure,
    Sentence,
    Verdict,
    alive,
    dead,
    knobs_in_use,
    learned,
    left_out,
    measures_across,
    measures_down,
    percent,
    short_events,
    unlike,
    verdict_of,
)
from ..reports.page import paragraphs
from ..reports.report import Figures

RECONSTRUCTION = (
    Measure(
        "Mean square error",
        "mean_square",
        ".3g",
        "The publication’s measure, over all bins of frames whose maximum is 1.",
    ),
    Measure(
        "Relative error",
        "relative_error",
        ".3g",
        "Squared error against that of always answering the mean spectrum of the pitch class: 1 has learned nothing.",
    ),
    Measure(
        "Spectral convergence, dB",
        "spectral_convergence_db",
        ".1f",
        "Energy of the error against that of the sound; every −6 dB halves the error.",
    ),
    Measure(
        "Log-spectral distance, dB",
        "log_spectral_distance_db",
        ".1f",
        "How far levels are off on average, over all bins down to −80 dB: quiet partials and noise count as well.",
    ),
)
SETS = {
    "train": "Training frames",
    "reconstruction": "Decoded frames of the split",
    "generated": "Random codes of the knobs’ spans, on the keys of the training frames above",
}


def errors_table(errors_by_set: Figures) -> Markup:
    """Return the table of reconstruction errors."""
    headings_by_set = {"same_key": "Same key", "another_key": "Another key"}
    errors_by_heading = {headings_by_set[set_name]: set_errors for set_name, set_errors in errors_by_set.items()}
    table_note = "Below each figure: mean ± standard deviation of the clips’ own."
    if len(errors_by_heading) > 1:
        table_note += " Another key: the sound is encoded on its own key and must come out on another one."
    return measures_down(RECONSTRUCTION, errors_by_heading, table_note)


KEYS = (
    Measure("", lambda row: row["label"]),
    Measure("Codes", "codes", "d"),
    Measure("Strongest pitch class", "strongest.overall", "percent"),
    Measure("Note heard", "sounding.pitch_class", "percent"),
    Measure("Note and octave heard", "sounding.octave", "percent"),
)
KEYS_BY_CLASS = (
    Measure("Strongest, %", lambda row: row["label"]),
    *(Measure(name, f"strongest.by_pitch_class.{name}", "bare percent") for name in PITCH_CLASSES),
)


def key_tables(key_figures: Figures | None) -> Markup:
    """Return the tables on how keys are obeyed."""
    if key_figures is None:
        return paragraphs(["The decoder has no chroma input, so there is nothing to ask for."])
    labels_by_code_set = {"training_codes": "Sounds of the corpus", "mesh": "Wherever the knobs stand"}
    table_rows = [{"label": label} | key_figures[code_set] for code_set, label in labels_by_code_set.items()]
    sounding_figures = key_figures["mesh"]["sounding"]
    pitch_basis = (
        f"the pitch found in {sounding_figures['notes']} notes as they are played"
        if sounding_figures
        else "not asked without clear pitch"
    )
    table_note = (
        "Every code is decoded on every pitch class heard in training. Strongest pitch class: the publication’s "
        f"measure, on the decoded frame alone. Note heard: {pitch_basis}."
    )
    return measures_across(KEYS, table_rows, table_note) + measures_across(KEYS_BY_CLASS, table_rows, kind="narrow")


SHIFT_SEMITONES = 3  # semitones from an octave: a shift this small keeps the timbre
# Of the notes: one wrong in twenty is noticed now and then, one in five all the time.
SHARE_OBEYED, SHARE_MOSTLY_OBEYED = 0.95, 0.8


def _keys_obeyed(figures: Figures) -> Sentence:
    """Return a sentence on the share of notes that have the pitch of their keys."""
    if not figures["run"]["tonal"]:
        return Sentence("The recordings have no clear pitch: keys choose colour, not pitch.")
    if figures["keys"] is None:
        return Sentence(
            "Keys do nothing here: this network decodes without a chroma, so the knobs alone choose pitch and colour."
        )
    corpus_sounding, mesh_sounding = (figures["keys"][code_set]["sounding"] for code_set in ("training_codes", "mesh"))
    shares = [
        sounding_figures[share_name]
        for sounding_figures in (corpus_sounding, mesh_sounding)
        for share_name in ("pitch_class", "octave")
    ]
    smallest_share = min(share for share in shares if share is not None)
    obedience_text = "mostly obeyed" if smallest_share >= SHARE_MOSTLY_OBEYED else "not obeyed"
    if smallest_share >= SHARE_OBEYED:
        obedience_text = "obeyed"
    help_text = "" if smallest_share >= SHARE_OBEYED else " Train longer, or give recordings of single notes."
    return Sentence(
        f"Keys are {obedience_text}: the note is the key's in {_share_in_words(corpus_sounding)} on sounds of the "
        f"corpus, and in {_share_in_words(mesh_sounding)} wherever the knobs stand.{help_text}",
        smallest_share >= SHARE_OBEYED,
    )


def _octave(figures: Figures) -> list[str]:
    """Return a line on recordings that were moved up by octaves; a shift down loses nothing."""
    trained_octave, median_note = figures["run"]["octave"], figures["recordings"]["note"]
    if trained_octave is None or median_note is None:
        return []
    lowest_note, median_octave = 12 * (trained_octave + 1), octave_of(round(median_note))
    if median_note >= lowest_note - SHIFT_SEMITONES:
        return []
    octaves_up = trained_octave - median_octave
    return [
        f"The recordings lie around {note_name(round(median_note))} ({midi_to_hz(median_note):.0f} Hz), and were moved "
        f"{'an octave' if octaves_up == 1 else f'{octaves_up} octaves'} up, into {note_name(lowest_note)} to "
        f"{note_name(lowest_note + 11)}, where "
        f"{'their highest octave has' if octaves_up == 1 else f'their {octaves_up} highest octaves have'} no room; "
        f"'timbrel train' with --set frames.octave={median_octave} leaves them where they are."
    ]


def _share_in_words(sounding: Figures) -> str:
    """Word the share of notes with the right pitch class, and that with the right octave too."""
    pitch_class_share, octave_share = sounding["pitch_class"], sounding["octave"]
    if octave_share is None:
        return f"{percent(pitch_class_share)} of cases"
    return (
        f"{percent(pitch_class_share)} of cases "
        f"({'' if octave_share == pitch_class_share else f'{percent(octave_share)} '}octave included)"
    )


def verdict(figures: Figures) -> Verdict:
    """Return the verdict on keys and knobs, and the shortcomings."""
    if not alive(figures):
        return verdict_of([dead(figures)])
    return verdict_of(
        [_keys_obeyed(figures), knobs_in_use(figures)],
        [
            *unlike(figures),
            *short_events(figures, "a key holds one moment of a sound, and knobs go from colour to colour"),
            *_octave(figures),
            *(left_out(figures) if figures["run"]["tonal"] else []),
        ],
        [
            *learned(
                figures["reconstruction"]["same_key"]["relative_error"]["value"],
                "spectra of the recordings are no nearer than their mean would be",
            ),
            *floor_sentences(figures["floors"]),
        ],
    )
