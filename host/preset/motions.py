"""The [morph] and [[motion]] tables of a preset."""

import itertools
from collections.abc import Sequence
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import Field, model_validator

from ..settings import SettingsSection, Whole

Interpolation = Literal["linear", "spherical"]
LatentValue = Annotated[float, Field(ge=-1e6, le=1e6)]  # far beyond training codes; squares are finite in float32
TEMPO_BPM = 120.0  # of motion in beats without a MIDI clock
ONE_END = "give one of to (a preset's name or path) and values (one number a latent)"


class MorphSettings(SettingsSection):
    """The [morph] table: the code at ``morph`` 1, from ``values`` or the preset ``to``; starts at ``position``.

    Without either, keys of a kit lead from one recording to another.
    """

    to: str | None = None
    values: list[LatentValue] | None = None
    shape: Interpolation = "linear"
    position: Annotated[float, Field(ge=0, le=1)] = 0.0

    @model_validator(mode="after")
    def _one_end(self) -> "MorphSettings":
        if self.to is not None and self.values is not None:
            raise ValueError(ONE_END)
        return self

    @property
    def leads_to_a_code(self) -> bool:
        return self.to is not None or self.values is not None


class MorphTarget(NamedTuple):
    """``end``: one number a latent, None if latents stay; ``label`` None keeps the current one."""

    end: Sequence[float] | None
    shape: Interpolation
    label: str | None = None
    position: float = 0.0


class WalkSettings(SettingsSection):
    """A random walk, ``speed`` a second, within ``bound`` of the card's landmarks; both in standard deviations."""

    speed: Annotated[float, Field(gt=0, le=10)]
    bound: Annotated[float, Field(ge=0.05, le=100)]  # a smaller one needs more steps than run live
    seed: Annotated[Whole, Field(ge=0, le=9999)] = 0

    @model_validator(mode="before")
    @classmethod
    def _bounded(cls, fields: Any) -> Any:
        if isinstance(fields, dict) and "bound" not in fields:
            raise ValueError(
                "a walk needs a bound: the deviations that it may stray from training codes; give one, such as 1.0"
            )
        return fields


class LearnedPathSettings(SettingsSection):
    """A walk on the path that the model's file has learned, ``speed`` times as fast as the recordings."""

    speed: Annotated[float, Field(ge=0.01, le=4)] = 1.0  # a faster one needs more steps than run live
    seed: Annotated[Whole, Field(ge=0, le=9999)] = 0


_OF_CYCLES = {"rate_hz", "beats", "phase"}
_OF_MOTION = {  # allowed keys of each kind of motion
    "target": {"target", "shape", "depth", "low", "high"} | _OF_CYCLES,
    "path without times": {"path", "legs"} | _OF_CYCLES,
    "path with times": {"path", "legs", "times", "loop", "start"},
    "walk": {"walk"},
    "learned path": {"learned"},
}


class MotionSettings(SettingsSection):
    """A [[motion]] table: moves a latent or ``morph`` around its value, or all latents by a walk or a path.

    A path is closed, or reaches each code at one of ``times``, in seconds; with ``loop``, one more time closes it. A
    cycle lasts 1 / ``rate_hz`` seconds, or ``beats`` quarter notes.
    """

    target: str | None = None
    shape: Literal["sine", "triangle", "saw", "square", "random"] = "sine"
    depth: LatentValue | None = None
    low: LatentValue | None = None
    high: LatentValue | None = None
    path: Annotated[list[list[LatentValue]], Field(min_length=2)] | None = None
    legs: Interpolation = "linear"
    times: list[Annotated[float, Field(ge=0, le=1e6)]] | None = None  # more than eleven days
    loop: bool = False
    start: Literal["play", "note"] = "play"
    walk: WalkSettings | None = None
    learned: LearnedPathSettings | None = None
    rate_hz: Annotated[float, Field(gt=0, le=20)] | None = None  # latents are sampled about 43 times a second
    beats: Annotated[float, Field(ge=0.125, le=4096)] | None = None
    phase: Annotated[float, Field(ge=0, le=1)] = 0.0

    @property
    def offsets(self) -> tuple[float, float]:
        """Offsets at the shape's extremes."""
        if self.depth is not None:
            return -self.depth, self.depth
        return self.low or 0.0, self.high or 0.0

    @model_validator(mode="after")
    def _check_fields(self) -> "MotionSettings":
        """Check that the fields that are set go together."""
        set_fields = {name for name, value in self if name in self.model_fields_set and value is not None}
        set_kinds = set_fields & {"target", "path", "walk", "learned"}
        if len(set_kinds) != 1:
            raise ValueError(
                "give one of target (a latent), path (a list of codes), walk (its speed and bound) and learned (its "
                "speed)"
            )
        (kind,) = set_kinds
        if kind == "path":
            kind += " with times" if "times" in set_fields else " without times"
        elif kind == "learned":
            kind = "learned path"
        if foreign_fields := sorted(set_fields - _OF_MOTION[kind]):
            raise ValueError(f"a {kind} has no {' and no '.join(foreign_fields)}; leave it out")
        if "rate_hz" in _OF_MOTION[kind] and len(set_fields & {"rate_hz", "beats"}) != 1:
            times_hint = "" if self.path is None else ", or times (seconds, one a code)"
            raise ValueError(f"give one of rate_hz (cycles a second) and beats (quarter notes a cycle){times_hint}")
        if self.target is not None and set_fields & {"depth", "low", "high"} not in ({"depth"}, {"low", "high"}):
            raise ValueError("give depth, or low and high: what is added to the knob's value")
        return self

    @model_validator(mode="after")
    def _in_time(self) -> "MotionSettings":
        """Check that a path's times rise and are one a code."""
        if self.times is None or self.path is None:
            return self
        time_count = len(self.path) + self.loop
        if len(self.times) != time_count:
            loop_hint = ", and one when the loop is back at the first" if self.loop else ""
            raise ValueError(
                f"times has {len(self.times)} numbers, path has {len(self.path)} codes; "
                f"give {time_count}, one a code{loop_hint}"
            )
        for index, (previous_time, time) in enumerate(itertools.pairwise(self.times), 1):
            if time <= previous_time:
                raise ValueError(
                    f"number {index + 1} of times, {time:g}, does not come after the one before, {previous_time:g}; "
                    "give seconds that rise"
                )
        return self
