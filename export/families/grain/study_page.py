"""HTML page of the study of grains."""

from pathlib import Path
from typing import NamedTuple

from markupsafe import Markup

from ...reports.number_format import minus
from ...reports.page import basis, document, faint, figure, joined, noted, players, run_link, table
from ...reports.report import Figures
from .page import LEAST_DB, signed


class Shown(NamedTuple):
    number: int
    recipe: str
    picture: str
    caption: str


FIGURES = (
    Shown(2, "grain-plain", "waveforms", "windows that went in, and came out of the plain autoencoder"),
    Shown(4, "grain-adversarial", "loss", "losses of the adversarial autoencoder"),
    Shown(5, "grain-adversarial", "codes", "codes, against the prior that they are trained toward"),
    Shown(6, "grain-adversarial", "code_space", "the space of codes; the post’s is hypothetical, this one measured"),
    Shown(7, "grain-adversarial", "waveforms", "windows that went in, and came out of the adversarial autoencoder"),
    Shown(8, "grain-adversarial", "resynthesis", "ten seconds, in windows without overlap (Example 1)"),
    Shown(9, "grain-adversarial", "grain_spectrum", "spectrum of a grain, in and out"),
    Shown(10, "grain-adversarial", "filtered", "windows without the upper 85 % of the bins of what came out"),
    Shown(11, "grain-spectral", "phases", "magnitudes, phases and waveform of the spectral autoencoder"),
)


def page(found: Figures, report: Figures, folder: Path) -> str:
    sections = {
        "Networks": _networks(found),
        "Codes": _codes(found),
        "Sounds": players(found["sounds"]),
        **{f"Figure {shown.number}": html for shown in FIGURES if (html := _figure(found, shown, folder))},
    }
    return document(f"grains on {found['corpus']}", _verdict(found), basis(report), sections, "study.json")


def _verdict(found: Figures) -> str:
    by_name = {network["name"]: network for network in found["networks"]}
    best, post = by_name[found["best"]], by_name[found["post"]]
    text = f"Random codes of {best['name']} come nearest to the recordings"
    if best["spectral_distance_ratio"] is None:
        return f"{text}."
    text += f": {best['spectral_distance_ratio']:.1f} times as far from unheard ones as training’s"
    if best is not post:
        text += f", where those of {post['name']} are {post['spectral_distance_ratio']:.1f} times"
    return f"{text}."


def _networks(found: Figures) -> Markup:
    header = ["Network", "Mean square", "Convergence", "Distance", "Level", "Added", "Random", "Seconds", "Weights"]
    rows = []
    for network in found["networks"]:
        ratio, seconds = network["spectral_distance_ratio"], network["seconds"]
        rows.append(
            [
                run_link(network["name"]),
                f"{network['sample_mean_square']:.3g}",
                minus(f"{network['spectral_convergence_db']:.1f}"),
                f"{network['log_spectral_distance_db']:.1f}",
                signed(network["level_above_3_khz_db"]),
                noted(_least(network["excess_above_3_khz_db"]), _least(network["excess_above_3_khz_filtered_db"])),
                f"{network['spectral_distance']:.0f}" if ratio is None else f"{ratio:.2f} ×",
                "–" if seconds is None else f"{seconds:.0f}",
                f"{network['parameters'] / 1e6:.2f} M",
            ]
        )
    note = (
        "Mean square: of samples; networks that decode a filter for noise have about twice the sound’s energy, which "
        "says nothing. Convergence: spectral, in dB. Distance: of levels in mel bands, in dB. Level and Added: above "
        "3 kHz, in dB against the sound’s own, mean over clips; Added is power beyond it, below it that without the "
        "upper 85 % of the bins. Random: Fréchet distance of random codes from unheard sounds, against that of "
        "training’s; they are drawn from the prior, or without one from a normal distribution fitted to training’s. "
        "Seconds: of training. Each name leads to its report, which says more."
    )
    return table(header, rows, len(header) - 1, "narrow") + faint(note)


def _codes(found: Figures) -> Markup:
    columns = ("Mean", "Deviations", "Correlation")
    parts = list(found["networks"][0]["codes"])
    names = {"held_out": "ends", "test": "test", "val": "validation", "train": "training"}
    header = ["Network", *(f"{column}, {names[part]}" for part in parts for column in columns)]
    rows = []
    for network in found["networks"]:
        cells: list[str] = []
        for codes in network["codes"].values():
            mean, low, high, correlation = (
                codes[name] for name in ("largest_mean", "smallest_std", "largest_std", "largest_correlation")
            )
            cells += [
                _with_interval(mean),
                noted(f"{low['value']:.2f} to {high['value']:.2f}", f"{low['low']:.2f} to {high['high']:.2f}"),
                _with_interval(correlation),
            ]
        rows.append([run_link(network["name"]) + ("" if network["adversarial"] else " (no prior)"), *cells])
    note = (
        "The largest mean of a latent, the smallest and largest deviation, the largest correlation of two: of codes at "
        "the ends of training clips, which were not trained on, and of other clips. Below each: 95 % of a bootstrap "
        "over clips."
    )
    return table(header, rows, len(header) - 1, "narrow") + faint(note)


def _with_interval(found: dict[str, float]) -> Markup:
    return noted(f"{found['value']:.2f}", f"{found['low']:.2f} to {found['high']:.2f}")


def _least(level: float) -> str:
    return "≤ −40" if level <= LEAST_DB else signed(level)


def _figure(found: Figures, shown: Shown, folder: Path) -> Markup:
    names = [network["name"] for network in found["networks"]]
    if shown.recipe not in names:
        return Markup()
    found_pictures = []
    for name in dict.fromkeys((shown.recipe, found["best"])):
        path = f"runs/{name}/report/{shown.picture}"
        if (folder / f"{path}.png").exists():
            caption = shown.caption if name == shown.recipe else "the same of the best network"
            found_pictures.append(figure(path, f"{name}: {caption}."))
    return joined(found_pictures)
