"""Tables and verdict of grain reports: errors, bands, distances, sides, codes."""

import functools

from markupsafe import Markup

from ..measures.grains import LEAST_DB
from ..reports.floor_tables import above_floor, floor_sentences
from ..reports.measure import (
    Measure,
    Sentence,
    Verdict,
    alive,
    dead,
    knobs_in_use,
    latents_table,
    learned,
    likeness,
    likeness_sentence,
    measures_across,
    measures_down,
    minus,
    percent,
    short_events,
    verdict_of,
)
from ..reports.page import noted, paragraphs
from ..reports.report import Figures

RECONSTRUCTION = (
    Measure("Mean square error of samples", "sample_mean_square", ".3g", "The post’s measure."),
    Measure(
        "The same against the sound’s energy, dB",
        "sample_error_db",
        ".1f",
        "Silence has 0, fresh noise of the right level +3: neither error measures a network that decodes a filter for "
        "noise.",
    ),
    Measure(
        "Spectral convergence, dB",
        "spectral_convergence_db",
        ".1f",
        "Magnitudes: energy of the error against that of the sound. Perfect, but fresh, noise has about −3.",
    ),
    Measure(
        "Log-spectral distance, dB",
        "log_spectral_distance_db",
        ".1f",
        "Mean error of levels in 40 mel bands: the measure for textures. Fresh noise of the right spectrum has 2 to 4.",
    ),
)
PARTS = {
    "held_out": "Ends of training clips",
    "test": "Test clips",
    "val": "Validation clips",
    "train": "Training windows",
}


def errors_table(figures: Figures) -> Markup:
    """Return the table of reconstruction errors."""
    errors_by_heading = {
        "As decoded": figures["reconstruction"]["unfiltered"],
        "Filtered": figures["reconstruction"]["filtered"],
    }
    table_note = (
        f"Relative error on levels of 40 mel bands: {figures['relative_error']:.2f}, where 1 has learned nothing. "
        "Below each figure: mean ± standard deviation of the clips’ own. Filtered: without the upper 85 % of the bins, "
        "as the post did."
    )
    return measures_down(RECONSTRUCTION, errors_by_heading, table_note)


def level_text(level_db: float) -> str:
    """Format a level; all levels below `LEAST_DB` read the same."""
    return "≤ −40" if level_db <= LEAST_DB else minus(f"{level_db:+.1f}")


BANDS = (
    Measure("kHz", "name"),
    Measure("Level", "level_db.mean", "+.1f", "against the sound’s own in the band."),
    Measure("Added", "excess_db.mean", level_text, "power beyond the sound’s own, in pieces of 100 Hz."),
    Measure("Added, filtered", "filtered.excess_db.mean", level_text),
    Measure(
        "Noise",
        "noise_db.mean",
        level_text,
        "power that is no filtered copy of the sound’s waveform; networks that decode a filter for noise give nothing "
        "else, and have no figure.",
    ),
)


def bands_table(figures_by_filter: Figures) -> Markup:
    """Return the table of levels by frequency band."""
    band_pairs = zip(figures_by_filter["unfiltered"], figures_by_filter["filtered"], strict=True)
    table_rows = [
        {
            **band,
            "name": f"{band['low_hz'] / 1000:g} – {band['high_hz'] / 1000:.3g}",
            "filtered": filtered_band,
        }
        for band, filtered_band in band_pairs
    ]
    table_rows[-1]["name"] = f"All above {table_rows[-1]['name'].split(' ')[0]}"
    return measures_across(BANDS, table_rows, "Mean over clips, in dB.")


def distances_table(distance_figures: Figures) -> Markup:
    """Return the table of spectral distances."""
    code_source = (
        "the prior" if distance_figures["drawn_from"] == "prior" else "a normal distribution fitted to training codes"
    )
    labels_by_set = {
        "train": "Training windows",
        "reconstruction": "Decoded windows of the split",
        "filtered": "The same, filtered",
        "generated": f"Random codes, drawn from {code_source}",
    }
    return likeness(distance_figures, labels_by_set, "windows")


def _code_cell(part_figures: Figures, name: str, digits: int) -> str:
    """Return a figure of codes with its interval, and below it the figure that chance gives."""
    value_text, low_text, high_text = (
        minus(f"{part_figures[name][end]:.{digits}f}") for end in ("value", "low", "high")
    )
    chance = part_figures["by_chance"].get(name)
    chance_text = "" if chance is None else f"{chance:.{digits}f} by chance"
    return noted(f"{value_text} ({low_text} to {high_text})", chance_text)


SIDES = (
    Measure("", "name"),
    *(Measure(f"{name.capitalize()}, dB", f"{name}_db", ".1f") for name in ("left", "right", "mid", "side")),
    Measure("Sides, dB", "sides_db", ".1f", "the mean of these."),
)


def sides_table(sides_figures: Figures, played_text: str) -> Markup:
    """Return the table of distances of the sides; ``played_text``: a sentence on the instrument's sounds."""
    table_rows = [
        {"name": name, **sides_figures[key]}
        for key, name in (("image", "In stereo"), ("mono", "In mono (play.image = 0)"))
    ]
    table_note = (
        f"{played_text} Mean spectra of both sides, and of their mid and side: root mean squares of differences over "
        "thirds of octaves."
    )
    return measures_across(SIDES, table_rows, table_note)


CODE_MEASURES = (
    *(
        Measure(label, functools.partial(_code_cell, name=name, digits=digits))
        for name, label, digits in (
            ("largest_mean", "Largest mean of a latent", 2),
            ("smallest_std", "Smallest deviation", 2),
            ("largest_std", "Largest deviation", 2),
            ("largest_correlation", "Largest correlation of two", 2),
            ("kolmogorov_smirnov", "Kolmogorov–Smirnov distance, worst latent", 2),
            ("energy", "Energy coefficient, jointly", 3),
        )
    ),
    Measure(
        "Deviations of training windows that are as loud",
        lambda part_figures: "{smallest_std:.2f} to {largest_std:.2f}".format(**part_figures["as_loud"]),
    ),
)


def codes_table(code_figures: Figures) -> Markup:
    """Return the table on the distribution of codes, with its explanation."""
    part_names = [part_name for part_name in PARTS if part_name in code_figures]
    clips_text = " and ".join(
        f"{code_figures[part_name]['clips']} {PARTS[part_name].lower()}" for part_name in part_names
    )
    reference_text = (
        f"the prior, mean 0 and deviation {code_figures['normal']['deviation'][0]:g}"
        if code_figures["normal"]["prior"]
        else "a normal distribution fitted to training codes: no prior was trained toward"
    )
    table_note = (
        f"95 % intervals are a bootstrap over clips ({clips_text}). Distances are to {reference_text}; 0 is the same, "
        "1 is apart. By chance: the distance of truly normal codes, one a clip."
    )
    return measures_down(
        CODE_MEASURES, {PARTS[part_name]: code_figures[part_name] for part_name in part_names}, table_note
    )


def latent_distances_table(latent_figures: Figures, code_figures: Figures) -> Markup:
    """Return the table of latents, with the distance of each to the normal distribution."""
    part_name = next(part_name for part_name in PARTS if part_name in code_figures)
    latent_distances = [dimension["kolmogorov_smirnov"]["value"] for dimension in code_figures[part_name]["dimensions"]]
    meaning = f"Kolmogorov–Smirnov, {PARTS[part_name].lower()}."
    distance_measure = Measure("Distance", lambda latent: latent_distances[int(latent["number"])], ".3f", meaning)
    return latents_table(latent_figures, "windows", [distance_measure])


def phases_text(phase_figures: Figures) -> Markup:
    """Return a sentence on neighbouring phases that are far apart."""
    far_apart_shares = phase_figures["far_apart"]
    source_percent, reconstruction_percent = (
        percent(far_apart_shares[sound_name]) for sound_name in ("source", "reconstruction")
    )
    text = (
        f"After unwrapping, {source_percent} of neighbouring phases of the sounds are more than π/2 apart, and "
        f"{reconstruction_percent} of the reconstruction’s. The post wants none; multiples of 2π can only bring "
        "neighbours within π, and those of noise lie anywhere."
    )
    return paragraphs([text])


LEVELS = "log_spectral_distance_db"  # the measure that applies to noise, too
DULL_DB = 6.0  # half of the amplitude missing is clearly audible
NOISY_DB = 6.0  # noise at this level below the sound is audible
# Of the prior's deviation, and of two latents: a walk then reaches every trained sound.
DEVIATION_TOLERANCE, LARGEST_CORRELATION = 0.05, 0.15


def _faults(figures: Figures) -> list[str]:
    """Return the faults above 3 kHz."""
    high_band, faults = figures["bands"]["unfiltered"][-1], []
    level_db, excess_db = high_band["level_db"]["mean"], high_band["excess_db"]["mean"]
    if level_db <= -DULL_DB:
        faults.append(f"dull ({-level_db:.0f} dB too quiet above 3 kHz)")
    if excess_db >= -NOISY_DB:
        side = "over" if excess_db >= 0 else "under"
        faults.append(f"noisy (added power {abs(excess_db):.0f} dB {side} the sound’s own above 3 kHz)")
    return faults


def _prior_sentence(figures: Figures) -> Sentence:
    """Return a sentence on the codes' spread in the prior."""
    if not figures["run"]["adversarial"]:
        return Sentence("Codes were trained toward no prior: play those of sounds, as drawn ones may lie between them.")
    code_figures = figures["codes"]
    part_figures, prior_deviation = code_figures.get("held_out"), code_figures["normal"]["deviation"][0]
    largest_mean, smallest_deviation, largest_deviation, largest_correlation = (
        (part_figures or code_figures[figures["split"]])[figure_name]["value"]
        for figure_name in ("largest_mean", "smallest_std", "largest_std", "largest_correlation")
    )
    is_good = (
        largest_mean <= DEVIATION_TOLERANCE * prior_deviation
        and smallest_deviation >= (1 - DEVIATION_TOLERANCE) * prior_deviation
        and largest_deviation <= (1 + DEVIATION_TOLERANCE) * prior_deviation
        and largest_correlation <= LARGEST_CORRELATION
    )
    opening_text = "Codes fill" if is_good else "Codes do not quite fill"
    return Sentence(
        f"{opening_text} the prior: deviations of {smallest_deviation:.2f} to {largest_deviation:.2f} where "
        f"{prior_deviation:g} is wanted.",
        is_good,
    )


def verdict(figures: Figures) -> Verdict:
    """Return the verdict on random grains beside recordings, and the shortcomings."""
    if not alive(figures):
        return verdict_of([dead(figures)])
    shortcomings = short_events(figures, "grains keep the colour of a sound and scatter its moments")
    if figures["run"]["tonal"]:
        pitched_percent = percent(figures["recordings"]["pitched"])
        shortcomings.append(
            f"Melodies are lost: {pitched_percent} of the sound has a pitch, and keys do not choose it."
        )
    return verdict_of(
        [
            above_floor(
                figures, "generated", likeness_sentence(figures["spectral_distance"]["ratio"], _faults(figures))
            ),
            _prior_sentence(figures),
            knobs_in_use(figures),
        ],
        shortcomings,
        [
            *learned(figures["relative_error"], "grains of the recordings are no nearer than their mean would be"),
            *floor_sentences(figures["floors"], [LEVELS]),
        ],
    )
