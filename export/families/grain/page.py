"""HTML report page of a grain run."""

from collections.abc import Sequence

from markupsafe import Markup

from ...reports.number_format import minus, percent
from ...reports.page import faint, likeness, listening, measure_cell, noted, paragraphs, report_page, shown, table
from ...reports.picture import Picture
from ...reports.report import Figures

LEAST_DB = -40.0  # added power below this level is not distinguished
MEASURES = {
    "sample_mean_square": ("Mean square error of samples", "The post’s measure."),
    "sample_error_db": (
        "The same against the sound’s energy, dB",
        "0 is what silence has. Fresh noise of the right level has +3: of a network that decodes a filter for noise, "
        "both say nothing.",
    ),
    "spectral_convergence_db": (
        "Spectral convergence, dB",
        "Magnitudes: energy of the error against that of the sound. Perfect, but fresh, noise has about −3.",
    ),
    "log_spectral_distance_db": (
        "Log-spectral distance, dB",
        "How far levels of 40 mel bands are off on average: what counts for textures. Fresh noise of the right "
        "spectrum has 2 to 4.",
    ),
}
PARTS = {
    "held_out": "Ends of training clips",
    "test": "Test clips",
    "val": "Validation clips",
    "train": "Training windows",
}


def page(found: Figures, pictures: Sequence[Picture], heard: str | None = None) -> str:
    of = shown(pictures)
    return report_page(
        found,
        listening(heard, found["sounds"]),
        {
            "Sound": of("waveforms", "resynthesis"),
            "Bands": _bands(found) + of("average_spectrum", "grain_spectrum", "filtered"),
            "Texture": _texture(found),
            "Knobs": _latents(found) + of("correlation"),
        },
        {
            "Reconstruction": _sound(found),
            "Codes": _codes(found) + of("codes", "code_space"),
            "Phases": _phases(found) + of("phases"),
            "Training": of("loss"),
        },
    )


def _sound(found: Figures) -> Markup:
    rows = []
    for measure, (label, meaning) in MEASURES.items():
        cells = [measure_cell(found["reconstruction"][way][measure], measure) for way in ("unfiltered", "filtered")]
        rows.append([label, *cells, meaning])
    note = (
        "Below each figure: mean ± standard deviation of the clips’ own. Filtered: without the upper 85 % of the bins, "
        "as the post did."
    )
    error = f"Relative error on levels of 40 mel bands: {found['relative_error']:.2f}, where 1 has learned nothing. "
    return table(["", "As decoded", "Filtered", "What it says"], rows, 2, "told") + faint(error + note)


def _bands(found: Figures) -> Markup:
    rows = []
    for plain, shaped in zip(found["bands"]["unfiltered"], found["bands"]["filtered"], strict=True):
        cells = [signed(plain["level_db"]["mean"]), *(_least(band["excess_db"]) for band in (plain, shaped))]
        rows.append([_band_name(plain), *cells, _least(plain["noise_db"]) if plain["noise_db"] else "–"])
    rows[-1][0] = f"All above {rows[-1][0].split(' ')[0]}"
    note = (
        "Mean over clips, in dB. Level: against the sound’s own in the band. Added: power beyond the sound’s own, in "
        "pieces of 100 Hz. Noise: power that is no filtered copy of the sound’s waveform; networks that decode a "
        "filter for noise give nothing else, and have no figure."
    )
    return table(["kHz", "Level", "Added", "Added, filtered", "Noise"], rows, 4) + faint(note)


def _band_name(band: Figures) -> str:
    return f"{band['low_hz'] / 1000:g} – {band['high_hz'] / 1000:.3g}"


def signed(level: float) -> str:
    return minus(f"{level:+.1f}")


def _least(figure: dict[str, float]) -> str:
    return "≤ −40" if figure["mean"] <= LEAST_DB else signed(figure["mean"])


def _texture(found: Figures) -> Markup:
    distance = found["spectral_distance"]
    drawn = "the prior" if distance["drawn_from"] == "prior" else "a normal distribution fitted to training codes"
    names = {
        "train": "Training windows",
        "reconstruction": "Decoded windows of the split",
        "filtered": "The same, filtered",
        "generated": f"Random codes, drawn from {drawn}",
    }
    return likeness(distance, names, "windows")


def _codes(found: Figures) -> Markup:
    codes = found["codes"]
    parts = [part for part in PARTS if part in codes]
    normal = codes["normal"]
    figures = {
        "largest_mean": "Largest mean of a latent",
        "smallest_std": "Smallest deviation",
        "largest_std": "Largest deviation",
        "largest_correlation": "Largest correlation of two",
        "kolmogorov_smirnov": "Kolmogorov–Smirnov distance, worst latent",
        "energy": "Energy coefficient, jointly",
    }
    rows = []
    for name, label in figures.items():
        cells: list[str] = []
        for part in parts:
            by_chance = codes[part]["by_chance"]
            digits = 3 if name == "energy" else 2
            chance = f"{by_chance[name]:.{digits}f} by chance" if name in by_chance else ""
            cells.append(noted(_interval(codes[part][name], digits), chance))
        rows.append([label, *cells])
    deviations = [[f"{codes[part]['as_loud'][name]:.2f}" for name in ("smallest_std", "largest_std")] for part in parts]
    rows.append(["Deviations of training windows that are as loud", *(" to ".join(pair) for pair in deviations)])
    shares = table(["", *(PARTS[part] for part in parts)], rows, len(parts))
    clips = " and ".join(f"{codes[part]['clips']} {PARTS[part].lower()}" for part in parts)
    what = (
        f"the prior, mean 0 and deviation {normal['deviation'][0]:g}"
        if normal["prior"]
        else "a normal distribution fitted to training codes: no prior was trained toward"
    )
    return shares + faint(
        f"95 % intervals are a bootstrap over clips ({clips}). Distances are to {what}; 0 is the same, 1 is apart. "
        "By chance: the distance of truly normal codes, one a clip."
    )


def _interval(figure: dict[str, float], digits: int) -> str:
    value, low, high = (minus(f"{figure[name]:.{digits}f}") for name in ("value", "low", "high"))
    return f"{value} ({low} to {high})"


def _latents(found: Figures) -> Markup:
    latents, rows = found["latents"], []
    part = next(part for part in PARTS if part in found["codes"])
    distances = [dimension["kolmogorov_smirnov"]["value"] for dimension in found["codes"][part]["dimensions"]]
    for i, (dimension, distance) in enumerate(zip(latents["dimensions"], distances, strict=True)):
        cells = [dimension["low"], dimension["high"], dimension["mean"], dimension["std"], distance]
        rows.append([str(i), *(minus(f"{cell:.2f}") for cell in cells), "dead" if dimension["dead"] else ""])
    note = (
        f"Codes of {latents['codes']} training windows; a knob spans from low to high. Distance: Kolmogorov–Smirnov, "
        f"{PARTS[part].lower()}. Largest correlation of two: {latents['largest_correlation']:.2f}."
    )
    return table(["Latent", "Low (1 %)", "High (99 %)", "Mean", "Deviation", "Distance", ""], rows, 5) + faint(note)


def _phases(found: Figures) -> Markup:
    if found["phases"] is None:
        return Markup()
    share = found["phases"]["far_apart"]
    source, reconstruction = (percent(share[name]) for name in ("source", "reconstruction"))
    told = (
        f"After unwrapping, {source} of neighbouring phases of the sounds are more than π/2 apart, and "
        f"{reconstruction} of those that come out. The post wants none; multiples of 2π can only bring neighbours "
        "within π, and those of noise lie anywhere."
    )
    return paragraphs([told])
