"""The page of the sequence study: the post's claims with verdicts, and a table of each experiment beside its floors."""

from collections.abc import Callable, Iterator, Mapping

from markupsafe import Markup

from ..families.sequence import LEARNED, RISES_DB
from ..measures.floors import best_floor, compare_row
from ..reports.floor_tables import FLOORS, answers_table, row_cell
from ..reports.measure import NONE, Measure, formatted, measures_across
from ..reports.page import document, figure, joined, players, run_link
from ..reports.report import Figures
from .sequence_measures import CONSTANT, FIRST, GROWN, HIGH_HZ, MEASURES, MEMORY_FRAMES, TRIMMED, TRIMMED_FRAMES
from .sequence_sounds import FORMANTS_HZ, KICKS, LOOP, VOWELS

FLOORS_NOTE = (
    "Floors know nothing of the recording. A row is better than its best floor if it is so by more than its deviation "
    "over trainings and the floor's over draws; else it says so, and no verdict is drawn from it."
)
LOOP_ERROR = 0.05  # mean square error at which the post stopped for its loop; for its kicks `LEARNED.most`
NOISY_DB = 3.0  # of high frequencies over the recording's: twice the energy
HOLDS, FAILS = "holds", "does not hold"


def claims(experiments: Mapping[str, Figures]) -> list[Figures]:
    """Return the post's claims about each network: claim, published figure, ours, and verdict."""
    return [
        {"claim": claim, "network": network["name"], "published": published, "ours": ours, "verdict": verdict}
        for role, experiment in experiments.items()
        for network in experiment["networks"]
        for claim, published, ours, verdict in _CLAIMS[role](network)
    ]


Claims = Iterator[tuple[str, str, str, str]]


def _loop_claims(network: Figures) -> Claims:
    restored, unrestored = (_row(network, restored=restored)["onsets"] for restored in (True, False))
    yield _error_claim(network, LOOP_ERROR)
    is_of_samples = network["domain"] == "samples"
    yield (
        "Leaving mean and variance out makes the break",
        "only without them" if is_of_samples else NONE,
        f"F {_text(unrestored)} without, {_text(restored)} with",
        scaling_verdict(restored, unrestored),
    )
    memories = [_row(network, memory=memory)["onsets"] for memory in (CONSTANT, TRIMMED)]
    if not is_of_samples:
        yield (
            "Fourier frames play no break, with any memory",
            "noise with traces of drums",
            f"F {_text(restored)}; constant {_text(memories[0])}, trimmed {_text(memories[1])}",
            HOLDS if all(_floored(figures) for figures in (restored, *memories)) else FAILS,
        )


def _kick_claims(network: Figures) -> Claims:
    row = _row(network)
    yield _error_claim(network, LEARNED.most)
    high_db, rise_db = row["high_db"][0], row["rise_db"]["value"]
    floored = _floored(row["envelope"])
    yield (
        "Kicks are noisy",
        "too much at high frequencies",
        f"{formatted(high_db, '+.1f')} dB above {HIGH_HZ / 1000:g} kHz",
        floored or (HOLDS if high_db > NOISY_DB else FAILS),
    )
    yield (
        "A tail rises after the end",
        "to an equilibrium",
        f"{formatted(rise_db, '+.1f')} dB, to {_text(row['tail_db'], '+.0f')} dB over the kick",
        floored or (HOLDS if rise_db > RISES_DB else FAILS),
    )


def _vowel_claims(network: Figures) -> Claims:
    for memory, published in ((FIRST, "1 of 4 vowels"), (GROWN, NONE)):
        row = _row(network, memory=memory)
        ours = f"{row['vowels'][0]:.1f} of {len(FORMANTS_HZ)} vowels, {_text(row['agreement'], 'percent')} agree"
        claim = "The vowel never changes" + (", taking first outputs" if memory == FIRST else ", taking last outputs")
        yield claim, published, ours, HOLDS if _floored(row["agreement"]) else FAILS


_CLAIMS: dict[str, Callable[[Figures], Claims]] = {
    LOOP: _loop_claims,
    KICKS: _kick_claims,
    VOWELS: _vowel_claims,
}


def scaling_verdict(restored: Figures, unrestored: Figures) -> str:
    """Return whether sound is better without scaling put back, by more than a deviation: of either, or of the floor.

    A single training has none of its own.
    """
    if floored := _floored(unrestored):
        return floored
    lead = unrestored["value"] - restored["value"]
    floor_deviation = restored["deviations"][best_floor(restored)]
    deviation = max(restored["deviation"], unrestored["deviation"], floor_deviation)
    return HOLDS if lead > deviation else FAILS


def _error_claim(network: Figures, target: float) -> tuple[str, str, str, str]:
    mean, deviation = network["mean_square"]
    floor = compare_row({"rises": False, "floors": network["mean_square_floors"]}, mean, deviation)["not_better_than"]
    verdict = f"not better than {floor}" if floor else HOLDS if mean <= target else FAILS
    return "It learns to the post’s error", f"{target:g}", f"{mean:.2g}", verdict


def _floored(figures: Figures) -> str | None:
    floor = figures["not_better_than"]
    return None if floor is None else f"not better than {FLOORS[floor]}"


def _row(network: Figures, *, memory: str = GROWN, restored: bool = True) -> Figures:
    row: Figures = next(row for row in network["rows"] if (row["memory"], row["restored"]) == (memory, restored))
    return row


def _text(figures: Figures, form: str = ".2f") -> str:
    return formatted(figures["value"], form)


def page(figures: Figures) -> str:
    sections = {"Claims of the post": measures_across(CLAIM_COLUMNS, figures["claims"], texts=4)}
    for role, experiment in figures["experiments"].items():
        heading = f"{role}: {experiment['recordings']} of {experiment['frames']} frames"
        pictures = joined(figure(name, caption) for name, caption in experiment["pictures"].items())
        sections[heading] = joined(
            [
                _networks(experiment),
                _rows(role, experiment),
                answers_table(experiment["floors"], FLOORS_NOTE),
                pictures,
                players(experiment["sounds"]),
            ]
        )
    verdict_counts = dict.fromkeys((HOLDS, FAILS), 0)
    for claim in figures["claims"]:
        if claim["verdict"] in verdict_counts:
            verdict_counts[claim["verdict"]] += 1
    floored_count = len(figures["claims"]) - sum(verdict_counts.values())
    verdict = (
        f"{verdict_counts[HOLDS]} claims hold, {verdict_counts[FAILS]} do not, "
        f"{floored_count} are no better than a floor."
    )
    basis = "Means and deviations over trainings; medians over recordings."
    return document("sequences", verdict, basis, sections, "study.json")


CLAIM_COLUMNS = (
    Measure("Claim", "claim"),
    Measure("Network", "network"),
    Measure("Published", "published"),
    Measure("Ours", "ours"),
    Measure("Verdict", "verdict"),
)


def _networks(experiment: Figures) -> Markup:
    measures = (
        Measure("Network", lambda network: joined(run_link(name, "runs") for name in network["runs"][:1])),
        Measure("Width", "size", "d"),
        Measure("Frames", "domain"),
        Measure("Trainings", lambda network: len(network["runs"]), "d"),
        Measure("Steps", "steps", "d"),
        Measure("Weights", lambda network: f"{network['parameters'] / 1e6:.1f} M"),
        Measure("Error", lambda network: tuple(network["mean_square"]), "±.4f", "of standardised next frames."),
        *(
            Measure(f"Of {floor}", f"mean_square_floors.{floor}", ".2f")
            for floor in experiment["networks"][0]["mean_square_floors"]
        ),
    )
    return measures_across(measures, experiment["networks"], kind="narrow")


def _rows(role: str, experiment: Figures) -> Markup:
    named_rows = [row | {"name": network["name"]} for network in experiment["networks"] for row in network["rows"]]
    memory_note = (
        f"Memory: grown, all frames; constant, the last {MEMORY_FRAMES}; trimmed, it grows to {MEMORY_FRAMES} and "
        f"starts again from {TRIMMED_FRAMES}; first output, the wrong end of the network's outputs."
    )
    measures = (
        Measure("Network", "name"),
        Measure("Memory", "memory"),
        Measure("Scaling", lambda row: "put back" if row["restored"] else "not put back"),
        Measure("Read", "read_frames", ".1f", "frames that are read for a new one, without a state that is carried."),
        *(
            Measure(measure.label, _cell_of(name))
            if measure.rises is not None
            else Measure(measure.label, _row_spread(name), f"±{measure.form}")
            for name, measure in MEASURES[role].items()
        ),
        Measure("Tail, dB", _cell_of("tail_db"), "", "the last 100 of 600 frames after the end."),
        Measure("Rise, dB", _cell_of("rise_db"), "", "since the first 100."),
    )
    return measures_across(measures, named_rows, memory_note)


def _cell_of(name: str) -> Callable[[Figures], str | None]:
    return lambda row: None if row[name] is None else row_cell(row[name])


def _row_spread(name: str) -> Callable[[Figures], tuple[float, float] | None]:
    return lambda row: None if row[name] is None else (row[name][0], row[name][1])
