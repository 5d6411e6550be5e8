"""The sequence family: its ONNX graphs, and its report on recordings that it continues."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch
from markupsafe import Markup
from torch import Tensor, nn

from ...host.arrays import Array
from ...host.errors import UserError
from ...host.kinds.stream import PREVIOUS_FRAME
from ...host.model.card import RecurrentState, Scaling, StreamLayout
from ...train.corpus.store import Corpus
from ...train.families.sequence.data import BATCH, Piece, cut, joined, padded, pieces
from ...train.families.sequence.network import UNKNOWN, RecurrentNetwork, delayed, following
from ...train.families.sequence.recipe import SequenceRecipe
from ...train.metrics.rhythm import envelope_correlation
from ...train.sampling import evenly_spaced
from ..graphs import CODES, EncodedFrames, Graphs
from ..measures.sounds import edges_db, onset_measure, rms_db
from ..reports.figures import clips as clip_figures
from ..reports.measure import Measure, measures_across, measures_down
from ..reports.page import listening, picture_renderer, report_page
from ..reports.report import Figures, Picture, Report, ReportRequest, ReportSound, judged, listed, losses
from ..reports.verdict import Sentence, Verdict, verdict_of
from .family import ExportFamily

LEVELS = (0.1, 99.9)  # percentiles of frames' levels: the range that the host's limiter passes
QUIETEST_DB = -120.0  # of full scale: the level of silence


class SequenceDecoder(nn.Module):
    """latent [voice, n], noise, previous [voice, width], h, c [voice, layers, size] → frame, and each next state.

    The LSTM is written out gate by gate, with torch's weights: h is each layer's output, c its cell state.
    ``residual``, the deviation of the training error at each position, scales the noise.
    """

    residual: Tensor

    def __init__(self, network: RecurrentNetwork, residual: Tensor) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("residual", residual)

    def forward(
        self, latent: Tensor, noise: Tensor, previous: Tensor, h: Tensor, c: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        memory = self.network.memory
        activation = self.network.into(torch.cat([previous, latent], 1))
        hidden_states, cell_states = [], []
        for layer in range(memory.num_layers):
            weights = (getattr(memory, f"{name}_l{layer}") for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))
            input_weights, recurrent_weights, input_bias, recurrent_bias = weights
            gates = activation @ input_weights.T + h[:, layer] @ recurrent_weights.T + (input_bias + recurrent_bias)
            input_gate, forget_gate, candidate, output_gate = gates.chunk(4, 1)
            cell_state = torch.sigmoid(forget_gate) * c[:, layer] + torch.sigmoid(input_gate) * torch.tanh(candidate)
            activation = torch.sigmoid(output_gate) * torch.tanh(cell_state)
            hidden_states.append(activation)
            cell_states.append(cell_state)
        frame = self.network.out(activation) + noise * self.residual
        return frame, frame.clone(), torch.stack(hidden_states, 1), torch.stack(cell_states, 1)


class SequenceEncoder(nn.Module):
    """audio [batch, frame_length] → latent [batch, n], the mean of learned codes, and ``previous``."""

    def __init__(self, network: RecurrentNetwork) -> None:
        super().__init__()
        self.standard, self.latents = network.standard, network.settings.latents

    def forward(self, audio: Tensor) -> tuple[Tensor, Tensor]:
        return audio.new_zeros(audio.shape[0], self.latents), self.standard(audio)


def residual_and_levels(
    network: RecurrentNetwork, recipe: SequenceRecipe, corpus: Corpus, training_pieces: Sequence[Piece]
) -> tuple[Tensor, tuple[float, float]]:
    """Return the prediction error's deviation, [width], and the range of frame levels in dB."""
    squares, count, levels = torch.zeros(network.standard.width), 0, []
    for sounds, counts, numbers in _sampled_batches(corpus, recipe, training_pieces):
        frames = network.standard(sounds)
        error = (network.predict(delayed(frames), network.codes(numbers))[0] - frames).square()
        followed = following(error, counts)
        squares, count = squares + error[followed].sum(0), count + int(followed.sum())
        levels += [sound[:frames].square().mean(1) for sound, frames in zip(sounds, counts.tolist(), strict=True)]
    decibels = 10 * torch.cat(levels).clamp_min(10 ** (QUIETEST_DB / 10)).log10().numpy()
    low, high = np.percentile(decibels, LEVELS)
    return (squares / count).sqrt(), (round(float(low), 2), round(float(high), 2))


def _sampled_batches(
    corpus: Corpus, recipe: SequenceRecipe, training_pieces: Sequence[Piece]
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    count = max(1, CODES * len(training_pieces) // sum(piece.frames for piece in training_pieces))
    indices = np.unique(evenly_spaced(len(training_pieces), count))
    for first in range(0, len(indices), BATCH):
        batch = indices[first : first + BATCH]
        yield *padded(corpus, [training_pieces[number] for number in batch], recipe.frames), torch.from_numpy(batch)


SHOWN = 4  # recordings to continue
SEEDS = (0, 1, 4, 16)  # frames given; 0: only the code
TAIL = 600  # frames after a recording's end: the post's author waited that long
PART = 100  # frames at each end of the tail, for comparison
MEASURED = 4096  # frames of a split for the error


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
    source, rate, hop = recording(corpus, piece, recipe), recipe.frames.sample_rate, recipe.frames.hop_length
    continuation, tail = sound[: len(source)], sound[len(source) :]
    edges = [edges_db(part, rate, hop, recipe.frames.frame_length - hop) for part in (continuation, source)]
    parts = tail[: PART * hop], tail[-PART * hop :]
    return {
        "correlation": envelope_correlation(source, continuation, rate),
        "onsets": onset_measure(source, continuation, rate),
        "edges_db": edges[0] - edges[1],
        "recording_db": rms_db(source),
        "tail_db": [rms_db(part) for part in parts],
    }


@torch.no_grad()
def mean_squares(
    network: RecurrentNetwork,
    recipe: SequenceRecipe,
    corpus: Corpus,
    split_pieces: Sequence[Piece],
    *,
    with_codes: bool,
) -> tuple[float, float]:
    """Return mean square errors of next frames, given all before, and of first frames.

    Without ``with_codes``, sequences use the mean code.
    """
    count = max(1, MEASURED * len(split_pieces) // sum(piece.frames for piece in split_pieces))
    indices, errors, firsts = evenly_spaced(len(split_pieces), count).tolist(), [], []
    for first in range(0, len(indices), BATCH):
        numbers = indices[first : first + BATCH]
        sounds, counts = padded(corpus, [split_pieces[number] for number in numbers], recipe.frames)
        frames = network.standard(sounds)
        codes = network.codes(torch.tensor(numbers if with_codes else [UNKNOWN] * len(numbers)))
        error = (network.predict(delayed(frames), codes)[0] - frames).square().mean(2)
        errors.append(error[following(error, counts)])
        firsts.append(error[:, 0])
    return float(torch.cat(errors).mean()), float(torch.cat(firsts).mean())


def waveforms(
    corpus: Corpus, continued_pieces: Sequence[Piece], continuations: Sequence[Array], recipe: SequenceRecipe
) -> Picture:
    sources = [recording(corpus, piece, recipe) for piece in continued_pieces]
    length = max(map(len, sources))
    pairs = {
        "recording": np.stack([np.pad(sound, (0, length - len(sound))) for sound in sources]),
        "continued": np.stack([sound[:length] for sound in continuations]),
    }
    picture = clip_figures.waveforms(pairs, recipe.frames.sample_rate)
    return replace(picture, caption="Recordings above, what follows from the first frame of each below, in seconds.")


def page(figures: Figures, pictures: Sequence[Picture]) -> str:
    render_pictures = picture_renderer(pictures)
    return report_page(
        figures,
        listening(None, figures["sounds"]),
        {"Continued": render_pictures("waveforms") + measures_across(CONTINUED, figures["continued"])},
        {"Training": render_pictures("loss") + _errors(figures)},
    )


CONTINUED = (
    Measure("Recording", "name"),
    Measure("Seed", "seed", "d", "frames that were given."),
    Measure("Envelope", "correlation", ".3f", "correlation with the recording’s, in parts of 10 ms."),
    Measure("Onsets", "onsets", ".2f", "F-measure within 30 ms."),
    Measure(
        "Edges, dB",
        "edges_db",
        "+.1f",
        "how much louder above 10 kHz it is where frames meet than inside, less what the recording is.",
    ),
    Measure("Level, dB", "recording_db", ".0f", "the recording’s."),
    Measure("After, dB", lambda row: row["tail_db"][0], ".0f", f"of the first {PART} of {TAIL} frames after its end."),
    Measure("At last, dB", lambda row: row["tail_db"][1], ".0f", f"of the last {PART} of them."),
)
ERRORS = (
    Measure("Sequences that were learned", "mean_square", ".4f"),
    Measure("Their first frames, of their codes alone", "first", ".4f"),
    Measure("Of the test split, with the mean code", "mean_square_unheard", ".4f"),
)


def _errors(figures: Figures) -> Markup:
    errors = [measure for measure in ERRORS if measure.read(figures) is not None]
    note = "Of standard frames: 1 is what a network has that always predicts the mean."
    return measures_down(errors, {"Mean square error": figures}, note)


def _sounds(
    corpus: Corpus, continued_pieces: Sequence[Piece], continuations: Sequence[Array], recipe: SequenceRecipe
) -> list[ReportSound]:
    rows, rate = [], recipe.frames.sample_rate
    for number, (piece, sound) in enumerate(zip(continued_pieces, continuations, strict=True), 1):
        source = recording(corpus, piece, recipe)
        rows.append((f"recording-{number}", f"Recording {piece.name}", source))
        rows.append(
            (f"continued-{number}", f"What follows from its first frame ({piece.name})", sound[: 2 * len(source)])
        )
    return [
        ReportSound(file, caption, clip / max(float(np.abs(clip).max()), 1e-9), rate) for file, caption, clip in rows
    ]


PREDICTED = 0.15  # mean square error of next frames where the post stopped
FOLLOWED = 0.9  # correlation of continued envelopes: less is another rhythm
RISES_DB = 3.0  # rise within a tail, from its first to its last part


def verdict(figures: Figures) -> Verdict:
    rows, more = [row for row in figures["continued"] if row["seed"] == 1], []
    envelope_match, onset_match = (float(np.median([row[name] for row in rows])) for name in ("correlation", "onsets"))
    if rising := [row["name"] for row in rows if row["tail_db"][1] > row["tail_db"][0] + RISES_DB]:
        more.append(f"After its end, {rising[0]} gets louder and louder; a host’s limiter holds it.")
    error = figures["mean_square"]
    predicts = f"Told all before it, a frame is predicted with a mean square error of {error:.3g}"
    follows = (
        f"From one frame on, envelopes correlate {envelope_match:.3f} with the recordings’, onsets agree by "
        f"{onset_match:.2f}"
    )
    return verdict_of(
        [
            Sentence(f"{predicts}.")
            if error <= PREDICTED
            else Sentence(f"{predicts}, over {PREDICTED:g}, where the post stopped: train longer.", False),
            Sentence(f"{follows}.")
            if envelope_match >= FOLLOWED
            else Sentence(f"{follows}: it goes another way than they do. Train longer, or with noise.", False),
        ],
        more,
    )


class SequenceExport(ExportFamily[SequenceRecipe, RecurrentNetwork]):
    @torch.no_grad()
    def graphs(self, network: RecurrentNetwork, recipe: SequenceRecipe, corpus: Corpus, tonal: bool) -> Graphs:
        """Return the graphs, and the codes of the training recordings.

        Raises:
            UserError: the corpus is not the training corpus.
        """
        training_pieces, settings = pieces(corpus, "train", recipe.frames), recipe.network
        if len(training_pieces) != settings.clips:
            raise UserError(
                f"corpus {corpus.folder} has {len(training_pieces)} training sequences, and the run has codes for "
                f"{settings.clips}; put the corpus back that it was trained on"
            )
        standard, width = network.standard, network.standard.width
        residual, levels = residual_and_levels(network, recipe, corpus, training_pieces)
        shape = [settings.layers, settings.size]
        return Graphs(
            decoder=SequenceDecoder(network, residual),
            encoder=SequenceEncoder(network),
            decoder_chroma=False,
            encoder_chroma=False,
            codes=EncodedFrames(
                network.codes(torch.arange(len(training_pieces))).numpy(), [piece.name for piece in training_pieces]
            ),
            card={
                "kind": "stream",
                "domain": recipe.frames.domain,
                "hop_length": recipe.frames.hop_length,
                "window": "rectangular",
                "prior": None,
                "chroma": None,
                "scaling": Scaling(mean=standard.mean.tolist(), deviation=standard.deviation.tolist()),
                "stream": StreamLayout(step_length=recipe.frames.hop_length, noise=width, levels_db=levels),
            },
            state=[
                RecurrentState(name=PREVIOUS_FRAME, shape=[width]),
                RecurrentState(name="h", shape=shape),
                RecurrentState(name="c", shape=shape),
            ],
        )

    def report(self, request: ReportRequest) -> Report:
        run, network, progress = request.run, request.network, request.progress
        recipe, corpus = run.recipe, run.corpus()
        assert isinstance(recipe, SequenceRecipe)
        train, test = (pieces(corpus, split, recipe.frames) for split in ("train", "test"))
        progress(0.1, "reading on")
        continued_pieces = [train[number] for number in evenly_spaced(len(train), SHOWN)]
        rows, continuations = [], []
        for place, piece in enumerate(continued_pieces):
            progress(0.2 + 0.5 * place / len(continued_pieces), f"continuing {piece.name}")
            for seed in SEEDS:
                frames = frames_after(network, recipe, corpus, piece, train.index(piece), seed, TAIL)
                sound = joined(network.standard.to_samples(frames).numpy(), recipe.frames.hop_length)
                rows.append({"name": piece.name, "seed": seed, **compared(corpus, piece, sound, recipe)})
                if seed == 1:
                    continuations.append(sound)
        error, first = mean_squares(network, recipe, corpus, train, with_codes=True)
        figures = judged(
            verdict,
            run=request.training_origin(sum(p.numel() for p in network.parameters())) | {"tonal": run.info.tonal},
            split="train",
            clips=len({piece.clip.name for piece in train}),
            frames=sum(piece.frames for piece in train),
            frames_in_split=sum(piece.frames for piece in train),
            mean_square=error,
            first=first,
            mean_square_unheard=mean_squares(network, recipe, corpus, test, with_codes=False)[0] if test else None,
            continued=rows,
            loss=losses(run, recipe.loss) | {"sides": {}, "health": {}},
        )
        pictures = [waveforms(corpus, continued_pieces, continuations, recipe)]
        if figures["loss"]["steps"]:
            pictures.append(clip_figures.loss(figures["loss"], request.step))
        sounds = _sounds(corpus, continued_pieces, continuations, recipe)
        figures["sounds"] = listed(sounds)
        return Report(figures, pictures, sounds, page(figures, pictures))
