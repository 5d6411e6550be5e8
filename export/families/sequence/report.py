"""Evaluates networks that continue sound: prediction errors and continuations."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from ....host.arrays import Array
from ....train.corpus.store import Corpus
from ....train.families.sequence.network import (
    BATCH,
    UNKNOWN,
    Piece,
    RecurrentNetwork,
    cut,
    delayed,
    following,
    joined,
    padded,
    pieces,
)
from ....train.families.sequence.recipe import SequenceRecipe
from ....train.metrics.rhythm import envelope_correlation
from ....train.run import Run
from ....train.sampling import evenly_spaced
from ...measures.sounds import edges_db, onset_measure, rms_db
from ...reports.figures import clips as clip_figures
from ...reports.page import faint, listening, report_page, shown, table
from ...reports.report import Figures, Picture, Progress, Report, ReportSound, about, judged, listed, losses
from ...reports.verdict import sequence as verdict

SHOWN = 4  # recordings to continue
SEEDS = (0, 1, 4, 16)  # frames given; 0: only the code
TAIL = 600  # frames after a recording's end: the post's author waited that long
PART = 100  # frames at each end of the tail, for comparison
MEASURED = 4096  # frames of a split for the error


def report(run: Run, network: RecurrentNetwork, checkpoint: str, step: int, say: Progress) -> Report:
    recipe, corpus = run.recipe, run.corpus()
    assert isinstance(recipe, SequenceRecipe)
    train, test = (pieces(corpus, split, recipe.frames) for split in ("train", "test"))
    say(0.1, "reading on")
    chosen = [train[number] for number in evenly_spaced(len(train), SHOWN)]
    rows, made = [], []
    for place, piece in enumerate(chosen):
        say(0.2 + 0.5 * place / len(chosen), f"continuing {piece.name}")
        for seed in SEEDS:
            frames = frames_after(network, recipe, corpus, piece, train.index(piece), seed, TAIL)
            sound = joined(network.standard.back(frames).numpy(), recipe.frames.hop_length)
            rows.append({"name": piece.name, "seed": seed, **compared(corpus, piece, sound, recipe)})
            if seed == 1:
                made.append(sound)
    error, first = mean_squares(network, recipe, corpus, train, known=True)
    found = judged(
        verdict,
        run=about(run, checkpoint, step, sum(p.numel() for p in network.parameters())) | {"tonal": run.info.tonal},
        split="train",
        clips=len({piece.clip.name for piece in train}),
        frames=sum(piece.frames for piece in train),
        frames_in_split=sum(piece.frames for piece in train),
        mean_square=error,
        first=first,
        mean_square_unheard=mean_squares(network, recipe, corpus, test, known=False)[0] if test else None,
        continued=rows,
        loss=losses(run, recipe.loss) | {"sides": {}, "health": {}},
    )
    pictures = [waveforms(corpus, chosen, made, recipe)]
    if found["loss"]["steps"]:
        pictures.append(clip_figures.loss(found["loss"], step))
    sounds = _sounds(corpus, chosen, made, recipe)
    found["sounds"] = listed(sounds)
    return Report(found, pictures, sounds, page(found, pictures))


@torch.no_grad()
def frames_after(
    network: RecurrentNetwork, recipe: SequenceRecipe, corpus: Corpus, piece: Piece, number: int, seed: int, tail: int
) -> torch.Tensor:
    """Return standardised frames, [frames, width]: seed, continuation to the sequence's end, and tail.

    Args:
        number: index of the sequence, for its code.
        seed, tail: in frames.
    """
    frames = network.standard(torch.from_numpy(cut(corpus, piece, recipe.frames)))[None]
    return network.continued(frames[:, :seed], network.codes(torch.tensor([number])), piece.frames + tail)[0]


def recording(corpus: Corpus, piece: Piece, recipe: SequenceRecipe) -> Array:
    return joined(cut(corpus, piece, recipe.frames), recipe.frames.hop_length)


def compared(corpus: Corpus, piece: Piece, sound: Array, recipe: SequenceRecipe) -> Figures:
    """Compare a continuation with its recording, and measure its tail.

    ``edges_db``: the level at frame borders relative to inside frames, minus the recording's.
    """
    asked, rate, hop = recording(corpus, piece, recipe), recipe.frames.sample_rate, recipe.frames.hop_length
    given, tail = sound[: len(asked)], sound[len(asked) :]
    edges = [edges_db(part, rate, hop, recipe.frames.frame_length - hop) for part in (given, asked)]
    parts = tail[: PART * hop], tail[-PART * hop :]
    return {
        "correlation": envelope_correlation(asked, given, rate),
        "onsets": onset_measure(asked, given, rate),
        "edges_db": edges[0] - edges[1],
        "recording_db": rms_db(asked),
        "tail_db": [rms_db(part) for part in parts],
    }


@torch.no_grad()
def mean_squares(
    network: RecurrentNetwork, recipe: SequenceRecipe, corpus: Corpus, found: Sequence[Piece], *, known: bool
) -> tuple[float, float]:
    """Return mean square errors of next frames, given all before, and of first frames.

    Sequences that are not ``known`` use the mean code.
    """
    most = max(1, MEASURED * len(found) // sum(piece.frames for piece in found))
    chosen, errors, firsts = evenly_spaced(len(found), most).tolist(), [], []
    for first in range(0, len(chosen), BATCH):
        numbers = chosen[first : first + BATCH]
        sounds, counts = padded(corpus, [found[number] for number in numbers], recipe.frames)
        frames = network.standard(sounds)
        codes = network.codes(torch.tensor(numbers if known else [UNKNOWN] * len(numbers)))
        error = (network.predict(delayed(frames), codes)[0] - frames).square().mean(2)
        errors.append(error[following(error, counts)])
        firsts.append(error[:, 0])
    return float(torch.cat(errors).mean()), float(torch.cat(firsts).mean())


def waveforms(corpus: Corpus, chosen: Sequence[Piece], made: Sequence[Array], recipe: SequenceRecipe) -> Picture:
    asked = [recording(corpus, piece, recipe) for piece in chosen]
    length = max(map(len, asked))
    pairs = {
        "recording": np.stack([np.pad(sound, (0, length - len(sound))) for sound in asked]),
        "continued": np.stack([sound[:length] for sound in made]),
    }
    drawn = clip_figures.waveforms(pairs, recipe.frames.sample_rate)
    return replace(drawn, caption="Recordings above, what follows from the first frame of each below, in seconds.")


def page(found: Figures, pictures: Sequence[Picture]) -> str:
    of = shown(pictures)
    return report_page(
        found,
        listening(None, found["sounds"]),
        {"Continued": of("waveforms") + rows_of(found["continued"])},
        {"Training": of("loss") + _errors(found)},
    )


def rows_of(rows: Sequence[Figures]) -> str:
    cells = [
        [
            row["name"],
            str(row["seed"]),
            f"{row['correlation']:.3f}",
            f"{row['onsets']:.2f}",
            f"{row['edges_db']:+.1f}",
            f"{row['recording_db']:.0f}",
            f"{row['tail_db'][0]:.0f}",
            f"{row['tail_db'][1]:.0f}",
        ]
        for row in rows
    ]
    header = ["Recording", "Seed", "Envelope", "Onsets", "Edges, dB", "Level, dB", "After", "At last"]
    note = (
        "Seed: frames that were given. Envelope: correlation with the recording’s, in parts of 10 ms. Onsets: "
        "F-measure within 30 ms. Edges: how much louder above 10 kHz it is where frames meet than inside, less what "
        f"the recording is. Level: the recording’s; After and At last: of the first and the last {PART} of {TAIL} "
        "frames after its end."
    )
    return table(header, cells, 7) + faint(note)


def _errors(found: Figures) -> str:
    rows = [["Sequences that were learned", f"{found['mean_square']:.4f}"]]
    rows.append(["Their first frames, of their codes alone", f"{found['first']:.4f}"])
    if found["mean_square_unheard"] is not None:
        rows.append(["Of the test split, with the mean code", f"{found['mean_square_unheard']:.4f}"])
    note = "Of standard frames: 1 is what a network has that always predicts the mean."
    return table(["", "Mean square error"], rows, 1) + faint(note)


def _sounds(
    corpus: Corpus, chosen: Sequence[Piece], made: Sequence[Array], recipe: SequenceRecipe
) -> list[ReportSound]:
    rows, rate = [], recipe.frames.sample_rate
    for number, (piece, sound) in enumerate(zip(chosen, made, strict=True), 1):
        asked = recording(corpus, piece, recipe)
        rows.append((f"recording-{number}", f"Recording {piece.name}", asked))
        rows.append(
            (f"continued-{number}", f"What follows from its first frame ({piece.name})", sound[: 2 * len(asked)])
        )
    return [
        ReportSound(file, caption, clip / max(float(np.abs(clip).max()), 1e-9), rate) for file, caption, clip in rows
    ]
