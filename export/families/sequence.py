"""The sequence family: its ONNX graphs, and its report on recordings that it continues."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from markupsafe import Markup
from torch import Tensor, nn
from torch.nn import functional as F

from ...host.arrays import Array
from ...host.errors import UserError
from ...host.kinds.card_fields import RecurrentState, Scaling, StreamLayout
from ...host.kinds.stream import PREVIOUS_FRAME
from ...train.corpus.store import Corpus
from ...train.families.sequence.data import BATCH, Piece, cut, joined, padded, pieces
from ...train.families.sequence.network import UNKNOWN, RecurrentNetwork, delayed, following
from ...train.families.sequence.recipe import SequenceRecipe
from ...train.metrics.rhythm import envelope_correlation
from ...train.sampling import evenly_spaced
from ..graphs import CODES, EncodedFrames, Graphs
from ..measures.sounds import edges_db, onset_measure, rms_db
from ..reports import clip_figures
from ..reports.floor_tables import above_floor, floors_table
from ..reports.measure import Measure, Verdict, measures_across, measures_down, verdict_of
from ..reports.page import report_page
from ..reports.report import Figures, Picture, Report, ReportRequest, judged, listed, losses, peak_sounds
from .family import ExportFamily
from .sequence_floors import PART, TAIL, compare_rhythms, prediction_floors, rhythm_floors, tail_levels

LEVELS = (0.1, 99.9)  # percentiles of frames' levels: the range that the host's limiter passes
QUIETEST_DB = -120.0  # of full scale: the level of silence


class SequenceDecoder(nn.Module):
    """latent [voice, n], noise, previous [voice, width], h, c [voice, layers, size] → frame, and each next state.

    Half-complex frames have their zeros outside: hosts read real and imaginary parts. Without codes, a latent has no
    effect. The LSTM is written out gate by gate, with torch's weights: h is each layer's output, c its cell state.
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
        standard, latent_count = self.network.standard, self.network.settings.latents
        previous, noise = standard.drop_zero_parts(previous), standard.drop_zero_parts(noise)
        layer_inputs = torch.cat([previous, latent], 1) if latent_count else previous
        layer_activation = self.network.into(layer_inputs)
        hidden_states, cell_states = [], []
        for layer_index in range(memory.num_layers):
            layer_weights = (
                getattr(memory, f"{weight_name}_l{layer_index}")
                for weight_name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
            )
            input_weights, recurrent_weights, input_bias, recurrent_bias = layer_weights
            gates = (
                layer_activation @ input_weights.T
                + h[:, layer_index] @ recurrent_weights.T
                + (input_bias + recurrent_bias)
            )
            input_gate, forget_gate, cell_candidate, output_gate = gates.chunk(4, 1)
            cell_state = torch.sigmoid(forget_gate) * c[:, layer_index] + torch.sigmoid(input_gate) * torch.tanh(
                cell_candidate
            )
            layer_activation = torch.sigmoid(output_gate) * torch.tanh(cell_state)
            hidden_states.append(layer_activation)
            cell_states.append(cell_state)
        frame = standard.fill_zero_parts(self.network.out(layer_activation) + noise * self.residual)
        return frame, frame.clone(), torch.stack(hidden_states, 1), torch.stack(cell_states, 1)


class SequenceEncoder(nn.Module):
    """audio [batch, frame_length] → latent [batch, n], the mean of learned codes, and ``previous``."""

    def __init__(self, network: RecurrentNetwork) -> None:
        super().__init__()
        self.standard, self.latents = network.standard, latent_count(network)

    def forward(self, audio: Tensor) -> tuple[Tensor, Tensor]:
        return audio.new_zeros(audio.shape[0], self.latents), self.standard.fill_zero_parts(self.standard(audio))


def latent_count(network: RecurrentNetwork) -> int:
    """Return the number of a file's latents: hosts need one, also of networks without codes."""
    return max(1, network.settings.latents)


def residual_and_levels(
    network: RecurrentNetwork, recipe: SequenceRecipe, corpus: Corpus, training_pieces: Sequence[Piece]
) -> tuple[Tensor, tuple[float, float]]:
    """Return the prediction error's deviation, [width], and the range of frame levels in dB."""
    squared_error_sums, predicted_count, power_batches = torch.zeros(network.standard.width), 0, []
    for padded_sounds, frame_counts, squared_errors in predictions(network, recipe, corpus, training_pieces, CODES):
        is_followed = following(squared_errors, frame_counts)
        squared_error_sums = squared_error_sums + squared_errors[is_followed].sum(0)
        predicted_count += int(is_followed.sum())
        power_batches += [
            sound[:frame_count].square().mean(1)
            for sound, frame_count in zip(padded_sounds, frame_counts.tolist(), strict=True)
        ]
    levels_db = 10 * torch.cat(power_batches).clamp_min(10 ** (QUIETEST_DB / 10)).log10().numpy()
    low_db, high_db = np.percentile(levels_db, LEVELS)
    return (squared_error_sums / predicted_count).sqrt(), (round(float(low_db), 2), round(float(high_db), 2))


def predicted_indices(split_pieces: Sequence[Piece], most_frames: int) -> list[int]:
    """Return the indices of evenly spaced pieces with about so many frames in all."""
    piece_count = max(1, most_frames * len(split_pieces) // sum(piece.frames for piece in split_pieces))
    indices: list[int] = evenly_spaced(len(split_pieces), piece_count).tolist()
    return indices


def predictions(
    network: RecurrentNetwork,
    recipe: SequenceRecipe,
    corpus: Corpus,
    split_pieces: Sequence[Piece],
    most_frames: int,
    *,
    with_codes: bool = True,
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Yield padded sounds, frame counts and squared errors of predicted frames, a batch of evenly spaced pieces a time.

    Without ``with_codes``, sequences use the mean code.
    """
    piece_indices = predicted_indices(split_pieces, most_frames)
    for batch_start in range(0, len(piece_indices), BATCH):
        batch_indices = piece_indices[batch_start : batch_start + BATCH]
        batch_pieces = [split_pieces[piece_index] for piece_index in batch_indices]
        padded_sounds, frame_counts = padded(corpus, batch_pieces, recipe.frames)
        standard_frames = network.standard(padded_sounds)
        codes = network.codes(torch.tensor(batch_indices if with_codes else [UNKNOWN] * len(batch_indices)))
        yield (
            padded_sounds,
            frame_counts,
            (network.predict(delayed(standard_frames), codes)[0] - standard_frames).square(),
        )


SHOWN = 4  # recordings to continue
SEEDS = (0, 1, 4, 16)  # frames given; 0: only the code
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
    recorded_frames = network.standard(torch.from_numpy(cut(corpus, piece, recipe.frames)))[None]
    return network.continued(recorded_frames[:, :seed], network.codes(torch.tensor([number])), piece.frames + tail)[0]


def recording(corpus: Corpus, piece: Piece, recipe: SequenceRecipe) -> Array:
    """Return a piece's recording, [samples]."""
    return joined(cut(corpus, piece, recipe.frames), recipe.frames.hop_length)


def compared(corpus: Corpus, piece: Piece, sound: Array, recipe: SequenceRecipe) -> Figures:
    """Compare a continuation with its recording, and measure its tail.

    ``edges_db``: the level at frame borders relative to inside frames, minus the recording's.
    """
    recorded_sound, rate, hop = recording(corpus, piece, recipe), recipe.frames.sample_rate, recipe.frames.hop_length
    continuation, tail = sound[: len(recorded_sound)], sound[len(recorded_sound) :]
    edge_levels_db = [
        edges_db(section, rate, hop, recipe.frames.frame_length - hop) for section in (continuation, recorded_sound)
    ]
    return {
        "correlation": envelope_correlation(recorded_sound, continuation, rate),
        "onsets": onset_measure(recorded_sound, continuation, rate),
        "edges_db": edge_levels_db[0] - edge_levels_db[1],
        "recording_db": rms_db(recorded_sound),
        "tail_db": list(tail_levels(tail, hop)),
    }


@torch.no_grad()
def mean_squares(
    network: RecurrentNetwork,
    recipe: SequenceRecipe,
    corpus: Corpus,
    split_pieces: Sequence[Piece],
    *,
    with_codes: bool,
) -> tuple[list[Array], Array]:
    """Return mean square errors of each sequence's next frames, given all before, [frames], and first frames.

    Sequences are those of `predicted_indices`. Without ``with_codes``, they use the mean code.
    """
    next_frame_errors, first_frame_errors = [], []
    for _, frame_counts, squared_errors in predictions(
        network, recipe, corpus, split_pieces, MEASURED, with_codes=with_codes
    ):
        frame_errors = squared_errors.mean(2).numpy()
        next_frame_errors += [
            errors[1:count] for errors, count in zip(frame_errors, frame_counts.tolist(), strict=True)
        ]
        first_frame_errors.append(frame_errors[:, 0])
    return next_frame_errors, np.concatenate(first_frame_errors)


def waveforms(
    corpus: Corpus, continued_pieces: Sequence[Piece], continuations: Sequence[Array], recipe: SequenceRecipe
) -> Picture:
    """Draw recordings above their continuations."""
    recorded_sounds = [recording(corpus, piece, recipe) for piece in continued_pieces]
    longest_samples = max(map(len, recorded_sounds))
    sounds_by_row = {
        "recording": np.stack([np.pad(sound, (0, longest_samples - len(sound))) for sound in recorded_sounds]),
        "continued": np.stack(
            [np.pad(sound, (0, max(0, longest_samples - len(sound))))[:longest_samples] for sound in continuations]
        ),
    }
    caption = "Recordings above, their continuations from the first frame below, in seconds."
    return clip_figures.waveforms(sounds_by_row, recipe.frames.sample_rate, caption=caption)


# The least correlation of continued envelopes: with less, a continuation has another rhythm.
ENVELOPE = Measure("Envelope", "correlation", ".3f", "correlation with the recording’s, in parts of 10 ms.", least=0.9)
EDGES = Measure(
    "Edges, dB",
    "edges_db",
    "+.1f",
    "how much louder above 10 kHz it is where frames meet than inside, less the same of the recording.",
)
CONTINUED = (
    Measure("Recording", "name"),
    Measure("Seed", "seed", "d", "frames that were given."),
    ENVELOPE,
    Measure("Onsets", "onsets", ".2f", "F-measure within 30 ms."),
    EDGES,
    Measure("Level, dB", "recording_db", ".0f", "the recording’s."),
    Measure("After, dB", lambda row: row["tail_db"][0], ".0f", f"of the first {PART} of {TAIL} frames after its end."),
    Measure("At last, dB", lambda row: row["tail_db"][1], ".0f", f"of the last {PART} of them."),
)
LEARNED = Measure("Sequences that were learned", "mean_square", ".4f", most=0.15)  # of next frames, as of the post
ERRORS = (
    LEARNED,
    Measure("Their first frames, of their codes alone", "first", ".4f"),
    Measure("Of the test split, with the mean code", "mean_square_unheard", ".4f"),
)


def _errors_table(figures: Figures) -> Markup:
    """Return the table of prediction errors."""
    error_measures = [measure for measure in ERRORS if measure.read(figures) is not None]
    table_note = "Of standard frames: 1 is what a network has that always predicts the mean."
    return measures_down(error_measures, {"Mean square error": figures}, table_note)


RISES_DB = 3.0  # rise within a tail, from its first to its last part


def verdict(figures: Figures) -> Verdict:
    """Return the verdict on predicted frames and continued recordings, and the shortcomings."""
    continuation_figures = [row_figures for row_figures in figures["continued"] if row_figures["seed"] == 1]
    median_correlation, median_onset_measure = (
        float(np.median([row_figures[figure_name] for row_figures in continuation_figures]))
        for figure_name in ("correlation", "onsets")
    )
    rising_lines = [
        f"After its end, {row_figures['name']} gets louder and louder; a host’s limiter holds it."
        for row_figures in continuation_figures
        if row_figures["tail_db"][1] > row_figures["tail_db"][0] + RISES_DB
    ]
    return verdict_of(
        [
            above_floor(
                figures,
                "mean_square",
                LEARNED.sentence(
                    figures["mean_square"],
                    "Told all before it, a frame is predicted with a mean square error of {:.3g}",
                    f", over {LEARNED.most:g}, where the post stopped: train longer",
                ),
            ),
            above_floor(
                figures,
                "correlation",
                ENVELOPE.sentence(
                    median_correlation,
                    "From one frame on, envelopes correlate {:.3f} with the recordings’, onsets agree by "
                    f"{median_onset_measure:.2f}",
                    ": it goes another way than they do. Train longer, or with noise",
                ),
            ),
        ],
        rising_lines[:1],
    )


class SequenceExport(ExportFamily[SequenceRecipe, RecurrentNetwork]):
    @torch.no_grad()
    def graphs(self, network: RecurrentNetwork, recipe: SequenceRecipe, corpus: Corpus, tonal: bool) -> Graphs:
        """Return the graphs, and the codes of the training recordings.

        Raises:
            UserError: the corpus is not the training corpus.
        """
        training_pieces, network_settings = pieces(corpus, "train", recipe.frames), recipe.network
        if len(training_pieces) != network_settings.clips:
            raise UserError(
                f"corpus {corpus.folder} has {len(training_pieces)} training sequences, and the run has codes for "
                f"{network_settings.clips}; put the corpus back that it was trained on"
            )
        standardiser = network.standard
        mean = standardiser.fill_zero_parts(standardiser.mean)
        # The mean deviation: hosts that restore no scaling multiply by the same number.
        deviation = standardiser.fill_zero_parts(
            standardiser.deviation, float(standardiser.deviation.square().mean().sqrt())
        )
        codes = network.codes(torch.arange(len(training_pieces)))
        codes = F.pad(codes, (0, latent_count(network) - codes.shape[1]))
        residual, level_range_db = residual_and_levels(network, recipe, corpus, training_pieces)
        state_shape = [network_settings.layers, network_settings.size]
        return Graphs(
            decoder=SequenceDecoder(network, residual),
            encoder=SequenceEncoder(network),
            codes=EncodedFrames(codes.numpy(), [piece.name for piece in training_pieces]),
            card={
                "kind": "stream",
                "domain": "samples" if recipe.frames.domain == "samples" else "real_imag",
                "hop_length": recipe.frames.hop_length,
                "window": "rectangular",
                "prior": None,
                "chroma": None,
                "scaling": Scaling(mean=mean.tolist(), deviation=deviation.tolist()),
                "stream": StreamLayout(step_length=recipe.frames.hop_length, noise=len(mean), levels_db=level_range_db),
            },
            state=[
                RecurrentState(name=PREVIOUS_FRAME, shape=[len(mean)]),
                RecurrentState(name="h", shape=state_shape),
                RecurrentState(name="c", shape=state_shape),
            ],
        )

    def report(self, request: ReportRequest) -> Report:
        """Report how a network continues recordings of its training."""
        run, network, progress = request.run, request.network, request.progress
        recipe, corpus = run.recipe, run.corpus()
        assert isinstance(recipe, SequenceRecipe)
        training_pieces, test_pieces = (pieces(corpus, split, recipe.frames) for split in ("train", "test"))
        progress(0.1, "reading on")
        continued_pieces = [
            training_pieces[spaced_index] for spaced_index in evenly_spaced(len(training_pieces), SHOWN)
        ]
        continuation_figures, continuations = [], []
        for continued_count, piece in enumerate(continued_pieces):
            progress(0.2 + 0.5 * continued_count / len(continued_pieces), f"continuing {piece.name}")
            piece_index = training_pieces.index(piece)
            for seed_frames in SEEDS:
                continued_frames = frames_after(network, recipe, corpus, piece, piece_index, seed_frames, TAIL)
                sound = joined(network.standard.to_samples(continued_frames).numpy(), recipe.frames.hop_length)
                continuation_figures.append(
                    {"name": piece.name, "seed": seed_frames, **compared(corpus, piece, sound, recipe)}
                )
                if seed_frames == 1:
                    continuations.append(sound)
        frame_errors, first_frame_errors = mean_squares(network, recipe, corpus, training_pieces, with_codes=True)
        progress(0.7, "comparing with floors")
        predicted_pieces = [training_pieces[index] for index in predicted_indices(training_pieces, MEASURED)]
        recorded_sounds = [recording(corpus, piece, recipe) for piece in continued_pieces]
        floor_figures = {
            **prediction_floors(network, recipe, corpus, predicted_pieces, frame_errors),
            **compare_rhythms(
                rhythm_floors(corpus, training_pieces, continued_pieces, recorded_sounds, recipe.frames),
                [row_figures for row_figures in continuation_figures if row_figures["seed"] == 1],
            ),
        }
        captioned_sounds = []
        for sound_number, (piece, sound) in enumerate(zip(continued_pieces, continuations, strict=True), 1):
            recorded_sound = recording(corpus, piece, recipe)
            following_sound, caption = (
                sound[: 2 * len(recorded_sound)],
                f"What follows from its first frame ({piece.name})",
            )
            captioned_sounds.append((f"recording-{sound_number}", f"Recording {piece.name}", recorded_sound))
            captioned_sounds.append((f"continued-{sound_number}", caption, following_sound))
        sounds = peak_sounds(captioned_sounds, recipe.frames.sample_rate)
        figures = judged(
            verdict,
            run=request.training_origin(sum(p.numel() for p in network.parameters())) | {"tonal": run.info.tonal},
            split="train",
            clips=len({piece.clip.name for piece in training_pieces}),
            frames=sum(piece.frames for piece in training_pieces),
            frames_in_split=sum(piece.frames for piece in training_pieces),
            mean_square=float(np.concatenate(frame_errors).mean()),
            first=float(first_frame_errors.mean()),
            mean_square_unheard=float(
                np.concatenate(mean_squares(network, recipe, corpus, test_pieces, with_codes=False)[0]).mean()
            )
            if test_pieces
            else None,
            floors=floor_figures,
            continued=continuation_figures,
            loss=losses(run, recipe.loss) | {"sides": {}, "health": {}},
            sounds=listed(sounds),
        )
        pictures = [
            waveforms(corpus, continued_pieces, continuations, recipe),
            *clip_figures.loss(figures["loss"], request.step),
        ]
        page = report_page(
            request,
            figures,
            pictures,
            {
                "Continued": ["waveforms", measures_across(CONTINUED, continuation_figures)],
                "Floors": [floors_table({"From one frame on": floor_figures})],
            },
            {"Training": ["loss", _errors_table(figures)]},
        )
        return Report(figures, pictures, sounds, page)
