"""The loops family: its ONNX graphs, and its report on loops that it plays on."""

import copy
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from ...host.arrays import Array
from ...host.errors import UserError
from ...host.kinds.stream import FED, PLACE
from ...host.model.card import NormalPrior, RecurrentState, StreamLayout
from ...host.model.model import Model
from ...host.preset.preset import Preset
from ...train.corpus.store import Corpus
from ...train.families.loops.data import loops, sliced
from ...train.families.loops.network import LoopNetwork, harmonics
from ...train.families.loops.recipe import LoopRecipe
from ...train.metrics.clips import KnownFrames
from ...train.metrics.rhythm import beat_kept
from ...train.metrics.streams import constant_share, longest_verbatim, loudness_range, repeating_share, share_in_range
from ...train.sampling import evenly_spaced
from ..graphs import EncodedFrames, Graphs
from ..kinds.stream import HEAT
from ..measures.sounds import silence_message
from ..reports.figures import clips as clip_figures
from ..reports.measure import Measure, measures_across, measures_down
from ..reports.page import listening, report_page, shown
from ..reports.report import (
    SEED,
    Figures,
    Picture,
    Report,
    ReportRequest,
    ReportSound,
    evaluated_split,
    judged,
    listed,
    losses,
)
from ..reports.verdict import Sentence, Verdict, verdict_of
from .family import ExportFamily
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
        steered = self.middle + latent @ self.ways
        told = torch.cat([previous, harmonics(place[:, 0], network.bar // 2), steered], 1)
        ours, back, bias, more = network.memory.all_weights[0]
        gates = told @ ours.T + h[:, 0] @ back.T + (bias + more)
        enter, forget, cell, leave = gates.chunk(4, 1)
        kept = torch.sigmoid(forget) * c[:, 0] + torch.sigmoid(enter) * torch.tanh(cell)
        after = torch.sigmoid(leave) * torch.tanh(kept)
        codes = network.bent(after, network.drawn(after, noise, steered), steered)
        later = place + 1 / network.bar
        step = torch.round(place * network.bar)
        late = network.late(steered) * (step - 2 * torch.floor(step / 2))
        slices = network.features.delayed(network.decoded(codes), network.decoded(previous), late)
        frame = network.features.frames(slices)
        return frame, codes, later - torch.floor(later), after[:, None], kept[:, None]


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
        codes = self.network.coded(self.network.features.raw(audio))
        return (self.network.steering_codes(codes) - self.middle) @ self.back, codes


def rounded(network: LoopNetwork) -> LoopNetwork:
    copied = copy.deepcopy(network)
    for values in (*copied.parameters(), *copied.buffers()):
        if values.ndim > 1:
            values.copy_(values.half().float())
    return copied


def level_range(slices: Sequence[Tensor]) -> tuple[float, float]:
    """Return the RMS range of slices [steps, samples], in dB of full scale."""
    power = torch.cat([loop.square().mean(1) for loop in slices])
    low, high = np.percentile(10 * power.clamp_min(10 ** (QUIETEST_DB / 10)).log10().numpy(), LEVELS)
    return float(low), float(high)


SEED_BARS, BARS = 1, 8  # given as the seed, and generated
MOST = 8  # loops that are continued
MINUTES = 10.0  # of endless generation
HOP_SECONDS = 0.0232  # between frames whose nearest training frame is searched


@torch.no_grad()
def played_on(network: LoopNetwork, recipe: LoopRecipe, source: Array, seed: int) -> Array:
    """Continue a loop's first bars, at their steering code: [samples]."""
    cut = sliced(source, recipe)[: SEED_BARS * recipe.frames.bar]
    codes = network.coded(network.features.raw(torch.from_numpy(cut)))
    return played(network, recipe, codes, network.steering_codes(codes).mean(0), BARS, seed)


def _measure(sounds: list[Array], recipe: LoopRecipe) -> Callable[[Array, Array], Figures]:
    rate, beat = recipe.frames.sample_rate, recipe.frames.hop_length * recipe.frames.steps_per_beat
    known = KnownFrames(sounds, rate, round(HOP_SECONDS * rate)) if len(sounds) > 1 else None

    def measured(given: Array, source: Array) -> Figures:
        copied, own = (longest_verbatim(sound, sounds, rate, beat) for sound in (given, source))
        return {
            "within": known.share_within(given) if known else None,
            "source_within": known.share_within(source) if known else None,
            "beat": beat_kept(given, source, rate, beat / rate),
            "copied_beats": copied._asdict(),
            "source_copied_beats": own._asdict(),
        }

    return measured


@torch.no_grad()
def steady(network: LoopNetwork, recipe: LoopRecipe, sounds: list[Array]) -> Figures:
    """Measure ten minutes from an empty seed at the middle code, limited as by hosts."""
    step, rate = recipe.frames.hop_length, recipe.frames.sample_rate
    bars = MINUTES * 60 * rate / (step * recipe.frames.bar)
    nothing = torch.zeros(0, recipe.network.components)
    loudest = level_range([torch.from_numpy(sliced(sound, recipe)) for sound in sounds])[1]
    sound = played(network, recipe, nothing, torch.zeros(recipe.network.latents), bars, SEED, loudest)
    low, high = loudness_range(sounds, step)
    return {
        "minutes": MINUTES,
        "in_range": share_in_range(sound, step, low, high),
        "range_db": [low, high],
        "constant": constant_share(sound, rate, step),
        "repeating": repeating_share(sound, step),
    }


def page(found: Figures, pictures: list[Picture], heard: str | None = None) -> str:
    following = f"All of the {BARS} bars that follow the first of a loop, at a heat of {found['heat']:g}."
    return report_page(
        found,
        listening(heard, found["sounds"]),
        {
            "Played on": measures_across(PLAYED_ON, found["played_on"], following),
            "Ten minutes": measures_down(TEN_MINUTES, {"Share": found["endless"]}),
            "Knobs": measures_across(KNOBS, found["knobs"], KNOBS_NOTE) if found["knobs"] else "",
        },
        {"Training": shown(pictures)("loss")},
    )


PLAYED_ON = (
    Measure("Loop", "name"),
    Measure(
        "Alike",
        "within",
        ".1%",
        "share of frames no further from one of training than the rarest of a training loop from all others.",
    ),
    Measure("The loop's own", "source_within", ".1%"),
    Measure("Beat", "beat", ".2f", "how strong it is beside the loop’s."),
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


def _sounds(made: list[tuple[str, Array, Array]], rate: int) -> list[ReportSound]:
    rows = []
    for number, (name, source, given) in enumerate(made, 1):
        rows.append(ReportSound(f"loop-{number}", f"Loop {name}", source, rate))
        rows.append(ReportSound(f"played-on-{number}", f"What follows its first bar ({name})", given, rate))
    return rows


WITHIN, KEPT, COPIED_BEATS, STEADY = 0.95, 0.5, 2.0, 0.999  # of loops: frames alike, the beat, copies, ten minutes


def _moved(row: Figures) -> float:
    return float("nan") if None in (row["high"], row["low"]) else float(row["high"] - row["low"])


def verdict(found: Figures) -> Verdict:
    rows, endless, said, more = found["played_on"], found["endless"], [], []
    within = [row["within"] for row in rows if row["within"] is not None]
    kept = float(np.median([row["beat"] for row in rows]))
    if within:
        share = float(np.mean(within))
        said.append(Sentence(f"{share:.0%} of what follows is like training loops.", share >= WITHIN))
    said.append(Sentence(f"The beat is {kept:.2f} times as strong as in the loops that it was given.", kept >= KEPT))
    copied = max(max(row["copied_beats"].values()) for row in rows)  # phases are new, levels may be copied
    if copied >= COPIED_BEATS:
        more.append(f"{copied:.1f} beats of it are a copy of a training loop.")
    if endless["in_range"] < STEADY or endless["constant"] or endless["repeating"]:
        more.append("Within ten minutes it leaves the loudness of its loops, or stands still.")
    if weak := [row["name"] for row in found["knobs"] if _moved(row) <= 0]:
        more.append(f"Knobs that do not move what they are named for: {', '.join(weak)}.")
    return verdict_of(said, more)


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
        found = loops(corpus, "train", recipe)
        if not found:
            raise UserError(silence_message(corpus, "training loop", "add loops"))
        network = rounded(network)
        rotation = fit_rotation(network, recipe, corpus)
        encoder = LoopEncoder(network, rotation)
        slices = [torch.from_numpy(sliced(corpus.samples(clip), recipe)) for clip in found]
        codes = np.stack([encoder(loop)[0].mean(0).numpy() for loop in slices])
        low, high = level_range(slices)
        seen, settings, frames = network.features, recipe.network, recipe.frames
        size = [1, settings.size]
        return Graphs(
            decoder=LoopDecoder(network, rotation),
            encoder=encoder,
            strays=STRAYS,
            decoder_chroma=False,
            encoder_chroma=False,
            codes=EncodedFrames(
                codes,
                [clip.name for clip in found],
                span=(np.minimum(rotation.ends[0], codes.min(0)), np.maximum(rotation.ends[1], codes.max(0))),
                names=rotation.names,
                moves=effects(steering(network, recipe, rotation)),
            ),
            card={
                "kind": "stream",
                "domain": "magnitude",
                "hop_length": seen.hop,
                "transform_length": seen.transform,
                "envelope_points": seen.points,
                "window": "hann",
                "prior": NormalPrior(normal=(0.0, 1.0)),
                "chroma": None,
                "stream": StreamLayout(
                    step_length=frames.hop_length,
                    steps_per_beat=frames.steps_per_beat,
                    beats_per_bar=frames.beats_per_bar,
                    noise=settings.prototypes,
                    levels_db=(round(low, 2), round(high, 2)),
                ),
            },
            state=[
                RecurrentState(name=FED, shape=[settings.components]),
                RecurrentState(name=PLACE, shape=[1]),
                RecurrentState(name="h", shape=size),
                RecurrentState(name="c", shape=size),
            ],
        )

    def report(self, request: ReportRequest) -> Report:
        run, network, say = request.run, request.network, request.say
        recipe, corpus = run.recipe, run.corpus()
        assert isinstance(recipe, LoopRecipe)
        train = loops(corpus, "train", recipe)
        split, every = evaluated_split(
            lambda split: loops(corpus, split, recipe), silence_message(corpus, "loop", "add loops")
        )
        test = [every[place] for place in evenly_spaced(len(every), MOST)]
        sounds = [np.array(corpus.samples(clip)) for clip in train]
        rows, made = [], []
        measured = _measure(sounds, recipe)
        for number, clip in enumerate(test):
            say(0.1 + 0.4 * number / len(test), f"playing on from {clip.name}")
            source = np.array(corpus.samples(clip))
            given = played_on(network, recipe, source, SEED + number)
            rows.append({"name": clip.name, **measured(given, source)})
            made.append((clip.name, source, given))
        say(0.5, "playing for ten minutes")
        rotation = fit_rotation(network, recipe, corpus)
        endless = steady(network, recipe, sounds)
        say(0.65, "turning knobs")
        knobs = steering(network, recipe, rotation)
        found = judged(
            verdict,
            run=request.about(sum(p.numel() for p in network.parameters())) | {"tonal": run.info.tonal},
            split=split,
            clips=len(test),
            frames=sum(clip.length // recipe.frames.hop_length for clip in test),
            frames_in_split=sum(clip.length // recipe.frames.hop_length for clip in every),
            heat=HEAT,
            played_on=rows,
            endless=endless,
            knobs=[{"name": name, "correlation": rotation.correlations[name], **row} for name, row in knobs.items()],
            loss=losses(run, recipe.loss) | {"sides": {}, "health": {}},
        )
        pictures: list[Picture] = [clip_figures.loss(found["loss"], request.step)] if found["loss"]["steps"] else []
        played_sounds = _sounds(made, corpus.rate)
        found["sounds"] = listed(played_sounds)
        return Report(found, pictures, played_sounds, page(found, pictures, request.heard))

    def playing(self, preset: Preset, model: Model, tonal: bool) -> str:
        named = [latent.name for latent in model.card.latents if not latent.name.startswith("latent")]
        steers = f"; knobs steer its {', '.join(named)}" if named else ""
        return f"a held key plays on at {preset.tempo_bpm:g} BPM{steers}"

    def changes(self, corpus: Corpus) -> list[str]:
        return [f"frames.sample_rate={corpus.rate}"]
