"""The loops family: its ONNX graphs, and its report on loops that it plays on."""

import copy
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from ...host.arrays import Array
from ...host.engines.stream.side_filters import SideFilters
from ...host.errors import UserError
from ...host.kinds.card_fields import NormalPrior, RecurrentState, StreamLayout
from ...host.kinds.stream import PLACE, PREVIOUS_FRAME
from ...host.model.model import Model
from ...host.preset.preset import Preset
from ...train.corpus.clip_table import Clip
from ...train.corpus.store import Corpus
from ...train.families.loops.data import loops, sliced
from ...train.families.loops.network import LoopNetwork, harmonics
from ...train.families.loops.recipe import LoopRecipe
from ...train.metrics.clips import KnownFrames
from ...train.metrics.rhythm import beat_kept
from ...train.metrics.streams import constant_share, longest_verbatim, loudness_range, repeating_share, share_in_range
from ...train.sampling import evenly_spaced
from ..fidelity.images import SidesDistance, mean_image
from ..fidelity.textures import mean_sides_distance
from ..graphs import EncodedFrames, Graphs
from ..kinds.stream import HEAT
from ..measures.continuations import PairMeasure, continuation_floors
from ..measures.sounds import silence_message
from ..reports import clip_figures
from ..reports.floor_tables import above_floor, floors_table
from ..reports.measure import Measure, Verdict, measures_across, measures_down, verdict_of
from ..reports.page import report_page
from ..reports.report import SEED, Figures, Report, ReportRequest, ReportSound, evaluated_split, judged, listed, losses
from .family import ExportFamily
from .grain_tables import sides_table
from .loop_steering import STEERED_BARS, UNITS, SteeringRotation, effects, fit_rotation, played, steering
from .sequence import LEVELS, QUIETEST_DB

STRAYS = 0.02  # of steps: between two almost equally likely slices, rounding decides


class LoopDecoder(nn.Module):
    """latent, noise [voice, prototypes], previous [voice, components], place [voice, 1], h, c [voice, 1, size] → frame
    [voice, width] and each next state.

    The LSTM is written out as in `SequenceDecoder`.
    """

    middle: Tensor
    ways: Tensor

    def __init__(self, network: LoopNetwork, rotation: SteeringRotation) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("middle", torch.from_numpy(rotation.middle).float())
        self.register_buffer("ways", torch.from_numpy(rotation.directions).float())

    def forward(
        self, latent: Tensor, noise: Tensor, previous: Tensor, place: Tensor, h: Tensor, c: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        network = self.network
        steering_code = self.middle + latent @ self.ways
        lstm_inputs = torch.cat([previous, harmonics(place[:, 0], network.bar // 2), steering_code], 1)
        input_weights, recurrent_weights, input_bias, recurrent_bias = network.memory.all_weights[0]
        gates = lstm_inputs @ input_weights.T + h[:, 0] @ recurrent_weights.T + (input_bias + recurrent_bias)
        input_gate, forget_gate, cell_candidate, output_gate = gates.chunk(4, 1)
        cell_state = torch.sigmoid(forget_gate) * c[:, 0] + torch.sigmoid(input_gate) * torch.tanh(cell_candidate)
        hidden_state = torch.sigmoid(output_gate) * torch.tanh(cell_state)
        slice_codes = network.bent(
            hidden_state, network.sample_prototypes(hidden_state, noise, steering_code), steering_code
        )
        next_place = place + 1 / network.bar
        step_index = torch.round(place * network.bar)
        # odd steps alone are late
        late_steps = network.late(steering_code) * (step_index - 2 * torch.floor(step_index / 2))
        slices = network.features.delayed(network.decoded(slice_codes), network.decoded(previous), late_steps)
        frame = network.features.frames(slices)
        return frame, slice_codes, next_place - torch.floor(next_place), hidden_state[:, None], cell_state[:, None]


class LoopEncoder(nn.Module):
    """audio [batch, frame_length] → latent [batch, n], to average over a loop, and ``previous``."""

    middle: Tensor
    back: Tensor

    def __init__(self, network: LoopNetwork, rotation: SteeringRotation) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("middle", torch.from_numpy(rotation.middle).float())
        self.register_buffer("back", torch.from_numpy(rotation.inverse).float())

    def forward(self, audio: Tensor) -> tuple[Tensor, Tensor]:
        slice_codes = self.network.coded(self.network.features.raw(audio))
        return (self.network.steering(slice_codes) - self.middle) @ self.back, slice_codes


def rounded(network: LoopNetwork) -> LoopNetwork:
    """Return a copy whose matrices are rounded to half precision."""
    network_copy = copy.deepcopy(network)
    for tensor in (*network_copy.parameters(), *network_copy.buffers()):
        if tensor.ndim > 1:
            tensor.copy_(tensor.half().float())
    return network_copy


def level_range(slices: Sequence[Tensor]) -> tuple[float, float]:
    """Return the RMS range of slices [steps, samples], in dB of full scale."""
    slice_powers = torch.cat([loop.square().mean(1) for loop in slices])
    low_db, high_db = np.percentile(10 * slice_powers.clamp_min(10 ** (QUIETEST_DB / 10)).log10().numpy(), LEVELS)
    return float(low_db), float(high_db)


SEED_BARS, BARS = 1, 8  # given as the seed, and generated
CONTINUED_LOOPS = 8  # loops that are continued
MINUTES = 10.0  # of endless generation
MOST_OTHER_LOOPS = 16  # whose sides are floors: 90 MB at 120 beats a minute
HOP_SECONDS = 0.0232  # between frames whose nearest training frame is searched


@torch.no_grad()
def played_on(network: LoopNetwork, recipe: LoopRecipe, source: Array, seed: int) -> Array:
    """Continue a loop's first bars, at their steering code: [samples]."""
    seed_slices = sliced(source, recipe)[: SEED_BARS * recipe.frames.bar]
    seed_codes = network.coded(network.features.raw(torch.from_numpy(seed_slices)))
    return played(network, recipe, seed_codes, network.steering(seed_codes).mean(0), BARS, seed)


def _measure(sounds: list[Array], recipe: LoopRecipe) -> Callable[[Array, Array], Figures]:
    """Return a function that compares a continuation with its source loop; ``sounds`` are the training loops."""
    rate, beat_samples = recipe.frames.sample_rate, recipe.frames.hop_length * recipe.frames.steps_per_beat
    training_frames = KnownFrames(sounds, rate, round(HOP_SECONDS * rate)) if len(sounds) > 1 else None

    def measure(continuation: Array, source: Array) -> Figures:
        continuation_copy, source_copy = (
            longest_verbatim(sound, sounds, rate, beat_samples) for sound in (continuation, source)
        )
        return {
            "within": training_frames.share_within(continuation) if training_frames else None,
            "source_within": training_frames.share_within(source) if training_frames else None,
            "beat": beat_kept(continuation, source, rate, beat_samples / rate),
            "copied_beats": continuation_copy._asdict(),
            "source_copied_beats": source_copy._asdict(),
        }

    return measure


def _floors(
    corpus: Corpus,
    training_loops: Sequence[Clip],
    test_loops: Sequence[Clip],
    continuations: Sequence[Array],
    recipe: LoopRecipe,
) -> Figures:
    """Return floors of continuations: how alike training frames their frames are, and how strong their beat."""
    rate, beat_samples = recipe.frames.sample_rate, recipe.frames.hop_length * recipe.frames.steps_per_beat
    training_sounds = [np.array(corpus.samples(clip)) for clip in training_loops]
    measures = {
        "beat": PairMeasure("Beat", ".2f", lambda sound, source: beat_kept(sound, source, rate, beat_samples / rate))
    }
    if len(training_sounds) > 1:
        training_frames = KnownFrames(training_sounds, rate, round(HOP_SECONDS * rate))
        measures["within"] = PairMeasure(
            "Alike", ".1%", lambda sound, source: training_frames.share_within(sound), mean=True
        )
    return continuation_floors(
        [np.array(corpus.samples(clip)) for clip in test_loops],
        np.array([clip.row for clip in test_loops]),
        training_sounds,
        np.array([clip.row for clip in training_loops]),
        continuations,
        measures,
    )


def _sides(
    corpus: Corpus, training_loops: Sequence[Clip], test_loops: Sequence[Clip], continuations: Sequence[Array]
) -> tuple[Figures | None, Figures]:
    """Return distances of continuations' sides to their loops', in stereo and in mono, and floors of the former.

    Nothing of a mono corpus, or without stereo test loops.
    """
    pairs = [pair for pair in zip(test_loops, continuations, strict=True) if corpus.channels(pair[0]) == 2]
    image, rate = mean_image(corpus), corpus.rate
    if image is None or not pairs:
        return None, {}
    filters, clips = SideFilters(np.array(image), 1.0, rate), [clip for clip, _ in pairs]
    recordings = [np.array(corpus.sides(clip)) for clip in clips]
    stereo, mono = [filters(sound) for _, sound in pairs], [np.tile(sound, (2, 1)) for _, sound in pairs]
    figures: Figures = {}
    for name, renditions in (("image", stereo), ("mono", mono)):
        distances = [mean_sides_distance(*pair, rate) for pair in zip(recordings, renditions, strict=True)]
        figures[name] = SidesDistance(*np.mean(distances, axis=0).tolist())._asdict()
    others = [training_loops[index] for index in evenly_spaced(len(training_loops), MOST_OTHER_LOOPS)]
    floor_figures = continuation_floors(
        recordings,
        np.array([clip.row for clip in clips]),
        [np.array(corpus.sides(clip)) for clip in others],
        np.array([clip.row for clip in others]),
        stereo,
        {
            "sides": PairMeasure(
                "Sides, dB",
                ".1f",
                lambda sides, recording: mean_sides_distance(recording, sides, rate).sides_db,
                mean=True,
                rises=False,
            )
        },
    )
    return figures, floor_figures


@torch.no_grad()
def steady(network: LoopNetwork, recipe: LoopRecipe, sounds: list[Array]) -> Figures:
    """Measure ten minutes from an empty seed at the middle code, limited as by hosts."""
    step_samples, rate = recipe.frames.hop_length, recipe.frames.sample_rate
    bar_count = MINUTES * 60 * rate / (step_samples * recipe.frames.bar)
    empty_seed = torch.zeros(0, recipe.network.components)
    loudest_db = level_range([torch.from_numpy(sliced(sound, recipe)) for sound in sounds])[1]
    sound = played(network, recipe, empty_seed, torch.zeros(recipe.network.latents), bar_count, SEED, loudest_db)
    low_db, high_db = loudness_range(sounds, step_samples)
    return {
        "minutes": MINUTES,
        "in_range": share_in_range(sound, step_samples, low_db, high_db),
        "range_db": [low_db, high_db],
        "constant": constant_share(sound, rate, step_samples),
        "repeating": repeating_share(sound, step_samples),
    }


ALIKE = Measure(
    "Alike",
    "within",
    ".1%",
    "share of frames no further from one of training than the rarest of a training loop from all others.",
    least=0.95,
)
BEAT = Measure("Beat", "beat", ".2f", "how strong it is beside the loop’s.", least=0.5)
PLAYED_ON = (
    Measure("Loop", "name"),
    ALIKE,
    Measure("The loop's own", "source_within", ".1%"),
    BEAT,
    Measure(
        "Copied",
        "copied_beats.waveform",
        ".2f",
        "the longest stretch that correlates .95 with a training loop, in beats, as a wave and by levels of bands; the "
        "loop’s own beside it, of which none was trained on.",
    ),
    Measure("By levels", "copied_beats.levels", ".2f"),
    Measure("The loop's own", "source_copied_beats.waveform", ".2f"),
    Measure("By levels", "source_copied_beats.levels", ".2f"),
)
TEN_MINUTES = (
    Measure("As loud as training loops", "in_range", ".2%"),
    Measure("Standing still", "constant", ".2%"),
    Measure("One slice again and again", "repeating", ".2%"),
)
KNOBS = (
    Measure("Knob", "name"),
    Measure("Correlation", "correlation", ".2f", "between the knob and the named quality of the sound played."),
    *(Measure(end.capitalize(), end, ".2f") for end in ("low", "middle", "high")),
)
KNOBS_NOTE = (
    f"Low, middle and high: that quality in {STEERED_BARS} bars at the knob's ends and middle, at a heat of {HEAT:g}, "
    "in "
    + "; ".join(f"{name}: {unit}" for name, unit in UNITS.items())
    + ". Swing is how much later off-beat sixteenths come."
)
COPIED_BEATS, LEAST_STEADY = 2.0, 0.999  # of a loop's copies, and of ten minutes


def verdict(figures: Figures) -> Verdict:
    """Return the verdict on continuations beside training loops, and the shortcomings."""
    continuation_figures, endless_figures, sentences, shortcomings = figures["played_on"], figures["endless"], [], []
    alike_shares = [row_figures["within"] for row_figures in continuation_figures if row_figures["within"] is not None]
    if alike_shares:
        alike_sentence = ALIKE.sentence(float(np.mean(alike_shares)), "{:.0%} of what follows is like training loops")
        sentences.append(above_floor(figures, "within", alike_sentence))
    beat_ratio = float(np.median([row_figures["beat"] for row_figures in continuation_figures]))
    beat_sentence = BEAT.sentence(beat_ratio, "The beat is {:.2f} times as strong as in the loops that it was given")
    sentences.append(above_floor(figures, "beat", beat_sentence))
    # phases are new, levels may be copied
    copied_beats = max(max(row_figures["copied_beats"].values()) for row_figures in continuation_figures)
    if copied_beats >= COPIED_BEATS:
        shortcomings.append(f"{copied_beats:.1f} beats of it are a copy of a training loop.")
    if endless_figures["in_range"] < LEAST_STEADY or endless_figures["constant"] or endless_figures["repeating"]:
        shortcomings.append("Within ten minutes it leaves the loudness of its loops, or stands still.")
    if weak_knobs := [
        row_figures["name"]
        for row_figures in figures["knobs"]
        if None not in (row_figures["high"], row_figures["low"]) and row_figures["high"] <= row_figures["low"]
    ]:
        shortcomings.append(f"Knobs that do not move what they are named for: {', '.join(weak_knobs)}.")
    return verdict_of(sentences, shortcomings)


class LoopExport(ExportFamily[LoopRecipe, LoopNetwork]):
    recipe = "tuned-sequence"
    purpose = "a held key plays on in their manner and in time, knobs steer it"
    demo = "loop.wav"
    gridded = True

    @torch.no_grad()
    def graphs(self, network: LoopNetwork, recipe: LoopRecipe, corpus: Corpus, tonal: bool) -> Graphs:
        """Return the graphs, with weights rounded to half precision.

        Later rounding could choose another slice than torch.
        """
        training_loops = loops(corpus, "train", recipe)
        if not training_loops:
            raise UserError(silence_message(corpus, "training loop", "add loops"))
        network = rounded(network)
        rotation = fit_rotation(network, recipe, corpus)
        encoder = LoopEncoder(network, rotation)
        loop_slices = [torch.from_numpy(sliced(corpus.samples(clip), recipe)) for clip in training_loops]
        loop_codes = np.stack([encoder(loop)[0].mean(0).numpy() for loop in loop_slices])
        low_db, high_db = level_range(loop_slices)
        features, network_settings, frame_settings = network.features, recipe.network, recipe.frames
        state_shape = [1, network_settings.size]
        return Graphs(
            decoder=LoopDecoder(network, rotation),
            encoder=encoder,
            strays=STRAYS,
            codes=EncodedFrames(
                loop_codes,
                [clip.name for clip in training_loops],
                span=(np.minimum(rotation.ends[0], loop_codes.min(0)), np.maximum(rotation.ends[1], loop_codes.max(0))),
                names=rotation.names,
                moves=effects(steering(network, recipe, rotation)),
            ),
            card={
                "kind": "stream",
                "domain": "magnitude",
                "hop_length": features.hop,
                "transform_length": features.transform,
                "envelope_points": features.points,
                "window": "hann",
                "prior": NormalPrior(normal=(0.0, 1.0)),
                "chroma": None,
                "image": mean_image(corpus),
                "stream": StreamLayout(
                    step_length=frame_settings.hop_length,
                    steps_per_beat=frame_settings.steps_per_beat,
                    beats_per_bar=frame_settings.beats_per_bar,
                    noise=network_settings.prototypes,
                    levels_db=(round(low_db, 2), round(high_db, 2)),
                ),
            },
            state=[
                RecurrentState(name=PREVIOUS_FRAME, shape=[network_settings.components]),
                RecurrentState(name=PLACE, shape=[1]),
                RecurrentState(name="h", shape=state_shape),
                RecurrentState(name="c", shape=state_shape),
            ],
        )

    def playing(self, preset: Preset, model: Model, tonal: bool) -> str:
        knob_names = [latent.name for latent in model.card.latents if not latent.name.startswith("latent")]
        steering_text = f"; knobs steer its {', '.join(knob_names)}" if knob_names else ""
        return f"a held key plays on at {preset.tempo_bpm:g} BPM{steering_text}"

    def changes(self, corpus: Corpus) -> list[str]:
        return [f"frames.sample_rate={corpus.rate}"]

    def report(self, request: ReportRequest) -> Report:
        """Report how a network plays loops on, for ten minutes, and with its knobs turned."""
        run, network, progress = request.run, request.network, request.progress
        recipe, corpus = run.recipe, run.corpus()
        assert isinstance(recipe, LoopRecipe)
        training_loops = loops(corpus, "train", recipe)
        split, split_loops = evaluated_split(
            lambda split: loops(corpus, split, recipe), silence_message(corpus, "loop", "add loops")
        )
        test_loops = [split_loops[spaced_index] for spaced_index in evenly_spaced(len(split_loops), CONTINUED_LOOPS)]
        training_sounds = [np.array(corpus.samples(clip)) for clip in training_loops]
        continuation_figures, sounds, continuations = [], [], []
        measure_continuation = _measure(training_sounds, recipe)
        for loop_index, clip in enumerate(test_loops):
            progress(0.1 + 0.4 * loop_index / len(test_loops), f"playing on from {clip.name}")
            loop_sound = np.array(corpus.samples(clip))
            continuation = played_on(network, recipe, loop_sound, SEED + loop_index)
            continuations.append(continuation)
            continuation_figures.append({"name": clip.name, **measure_continuation(continuation, loop_sound)})
            number, caption = loop_index + 1, f"What follows its first bar ({clip.name})"
            sounds.append(ReportSound(f"loop-{number}", f"Loop {clip.name}", loop_sound, corpus.rate))
            sounds.append(ReportSound(f"played-on-{number}", caption, continuation, corpus.rate))
        sides_figures, sides_floors = _sides(corpus, training_loops, test_loops, continuations)
        floor_figures = _floors(corpus, training_loops, test_loops, continuations, recipe) | sides_floors
        progress(0.5, "playing for ten minutes")
        rotation = fit_rotation(network, recipe, corpus)
        endless_figures = steady(network, recipe, training_sounds)
        progress(0.65, "turning knobs")
        measures_by_knob = steering(network, recipe, rotation)
        figures = judged(
            verdict,
            run=request.training_origin(sum(p.numel() for p in network.parameters())) | {"tonal": run.info.tonal},
            split=split,
            clips=len(test_loops),
            frames=sum(clip.length // recipe.frames.hop_length for clip in test_loops),
            frames_in_split=sum(clip.length // recipe.frames.hop_length for clip in split_loops),
            heat=HEAT,
            floors=floor_figures,
            played_on=continuation_figures,
            endless=endless_figures,
            sides=sides_figures,
            knobs=[
                {"name": knob_name, "correlation": rotation.correlations[knob_name], **measure_by_end}
                for knob_name, measure_by_end in measures_by_knob.items()
            ],
            loss=losses(run, recipe.loss) | {"sides": {}, "health": {}},
            sounds=listed(sounds),
        )
        pictures = clip_figures.loss(figures["loss"], request.step)
        table_note = f"All of the {BARS} bars that follow the first of a loop, at a heat of {HEAT:g}."
        page = report_page(
            request,
            figures,
            pictures,
            {
                "Played on": [
                    measures_across(PLAYED_ON, continuation_figures, table_note),
                    floors_table({"This network": floor_figures}),
                ],
                "Sides": [sides_table(sides_figures, "The instrument continues the loops.")] if sides_figures else [],
                "Ten minutes": [measures_down(TEN_MINUTES, {"Share": endless_figures})],
                "Knobs": [measures_across(KNOBS, figures["knobs"], KNOBS_NOTE)] if figures["knobs"] else [],
            },
            {"Training": ["loss"]},
        )
        return Report(figures, pictures, sounds, page)
