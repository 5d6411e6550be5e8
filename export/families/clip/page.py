"""HTML report page of a run that generates clips."""

from collections.abc import Callable, Sequence

from ...reports.page import faint, listening, report_page, shown, table
from ...reports.picture import Picture
from ...reports.report import Figures

MEASURES = {
    "log_mel_db": ("Log-mel distance, dB", "Levels of 64 mel bands, where the recording is above −40 dB."),
    "attack_ms": ("Attack, ms", "How far the moment is off at which a clip comes within 3 dB of its loudest."),
    "envelope_db": ("Loudness, dB", "How far the loudness of 10 ms is off from moment to moment, over 50 dB."),
}


def page(found: Figures, pictures: Sequence[Picture], heard: str | None = None) -> str:
    of = shown(pictures)
    return report_page(
        found,
        listening(heard, found["sounds"]),
        {
            "Recordings come back": _came_back(found, of),
            "Clips": "" if found["reconstruction"] else of("waveforms", "spectrograms"),
            "Random codes": _generated(found["generated"], found["drawn"]),
        },
        {"Training": of("loss")},
    )


def _came_back(found: Figures, of: Callable[..., str]) -> str:
    again = found["reconstruction"]
    if again is None:
        return ""
    rows = [
        [label, f"{again[name]['median']:.2f}", f"{again[name]['ninth_decile']:.2f}", meaning]
        for name, (label, meaning) in MEASURES.items()
    ]
    if "relative_error" in again:
        told = "Of samples, all clips together; 1 is what silence has."
        rows.append(["Relative error", f"{again['relative_error']:.3f}", "", told])
    return table(["", "Median", "Nine of ten", "What it says"], rows, 2, "told") + of(
        "waveforms", "spectrograms", "zoom"
    )


def _generated(made: Figures, drawn: str) -> str:
    likeness, nearest, test_nearest = made["likeness"], made["nearest"], made["test_nearest"]
    rows = [
        ["Fréchet distance on log-mel frames, dB²", f"{likeness['made']:.0f}", f"{likeness['train']:.0f}"],
        ["Nearest training clip, median dB", f"{nearest['median']:.2f}", f"{test_nearest['median']:.2f}"],
        ["Nearest training clip, the nearest tenth, dB", f"{nearest['closest']:.2f}", f"{test_nearest['closest']:.2f}"],
        ["Diversity, dB", f"{made['diversity_db']:.2f}", f"{made['test_diversity_db']:.2f}"],
    ]
    own, real = made["label_diversity_db"], made["test_label_diversity_db"]
    if own is not None and real is not None:
        rows.append(["Diversity within a label, dB", f"{own:.2f}", f"{real:.2f}"])
    if told := made["told"]:
        own, real = told["score"], told["real_score"]
        rows.append(["Inception score", f"{own[0]:.2f} ± {own[1]:.2f}", f"{real[0]:.2f} ± {real[1]:.2f}"])
        judged = told["likeness"]
        rows.append(["Fréchet distance on a classifier’s features", f"{judged['made']:.1f}", f"{judged['train']:.1f}"])
        if told["accuracy"] is not None:
            rows.append(["Heard as their label", f"{100 * told['accuracy']:.0f} %", "–"])
    note = (
        "Beside each figure, that of recordings: of as many training clips for the Fréchet distances, and of the clips "
        "of the split for the others. A nearest clip nearer than theirs would be one that is remembered."
    )
    return table(["", "Random codes", "Recordings"], rows, 2) + faint(f"{note} {drawn}".strip())
