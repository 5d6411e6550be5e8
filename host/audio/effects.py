"""Audio effects and plugins by pedalboard, imported on first use."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Strict

from ..arrays import Array
from ..errors import UserError, nearest
from ..files import as_on_disk, check_regular
from .effect_ranges import NOT_IN_BLOCKS, RANGES, SETTINGS, Range
from .plugins import PLUGINS, may_run

QUANTUM = 128  # samples per plugin call: makes the result independent of block sizes
LARGEST_RESPONSE = 256 << 20  # bytes of an impulse response's file
LONGEST_RESPONSE_SECONDS = 60.0  # three times the longest halls
SETTLING_SECONDS = 1.0  # for a plugin's buffers to fill; MP3Compressor needs 0.08 s, linear-phase VST3s up to 0.5 s


class Effect(BaseModel):
    """A preset's effect, bypassed unless ``on``; extra keys are parameters.

    ``plugin``: a name in `RANGES` or a VST3's path.
    """

    model_config = ConfigDict(extra="allow")

    plugin: str
    on: Annotated[bool, Strict()] = True


class EffectChain:
    """Stereo effects for blocks of any size."""

    def __init__(
        self,
        effects: Sequence[Effect],
        sample_rate: int,
        folder: Path,
        files: Mapping[str, bytes] = MappingProxyType({}),
    ) -> None:
        """Paths are relative to ``folder``, except a `Draft`'s ``files``.

        Raises:
            UserError: names the effect and its first fault.
        """
        self._stages = [_load(index, effect, sample_rate, folder, files) for index, effect in enumerate(effects)]
        self._active_stages = [stage for stage, effect in zip(self._stages, effects, strict=True) if effect.on]
        self._knobs = {
            f"effects.{index}.{name}": (stage, name) for index, stage in enumerate(self._stages) for name in stage.knobs
        }

    def __len__(self) -> int:
        return len(self._stages)

    @property
    def latency_samples(self) -> int:
        return sum(stage.latency_samples for stage in self._active_stages)

    @property
    def pause_seconds(self) -> float:
        """Longest silence before an echo, at any setting so far; infinite with plugin files."""
        return sum(stage.pause_seconds for stage in self._active_stages)

    def process(self, audio: Array) -> Array:
        """[2, n]; n may be 0."""
        for stage in self._active_stages if audio.shape[1] else ():
            audio = stage.process(audio)
        return audio

    def reset(self) -> None:
        """Clear audio state; parameters stay."""
        for stage in self._stages:
            stage.reset()

    def targets(self) -> dict[str, Range]:
        """Ranges of ``effects.N.parameter``."""
        return {target: stage.knobs[name] for target, (stage, name) in self._knobs.items()}

    def values(self) -> dict[str, float]:
        """Values of `targets`, as the effects round them."""
        return {target: float(getattr(stage.plugins[0], name)) for target, (stage, name) in self._knobs.items()}

    def set(self, target: str, value: float) -> None:
        """Set a parameter from the next block on.

        Raises:
            UserError: unknown target, or value out of range.
        """
        if target not in self._knobs:
            raise UserError(f"effect parameter {target!r} does not exist{nearest(target, self._knobs)}")
        stage, name = self._knobs[target]
        stage.turn(name, _number(target, value, stage.knobs[name]))


@dataclass
class _Stage:
    """One effect, as one plugin or a mono instance per channel. Buffering plugins get whole quanta, after silence."""

    plugins: Sequence[Any]
    rate: int
    knobs: Mapping[str, Range]
    pause_seconds: float
    latency_samples: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        from pedalboard import Chain

        self._chains = [Chain([plugin]) for plugin in self.plugins]  # a Chain tells (2, 1) from (1, 2) for any plugin
        self.reset()
        if self._holds_back:
            for _ in range(round(SETTLING_SECONDS * self.rate / QUANTUM)):
                self._quantum(_silence(QUANTUM))
            self.latency_samples = QUANTUM + self._shortfall_samples
            self.reset()

    def reset(self) -> None:
        """Clear buffers, and find out whether the plugin holds sound back."""
        for chain in self._chains:
            chain.reset()
        self._holds_back = self._run(_silence(QUANTUM)).shape[1] < QUANTUM
        self._shortfall_samples = 0
        self._buffer = _silence(0)
        self._leftover = _silence(0)
        self._ready = _silence(QUANTUM)
        if self._holds_back:
            for chain in self._chains:
                chain.reset()

    def turn(self, name: str, value: float) -> None:
        """Set a parameter of all plugins."""
        for plugin in self.plugins:
            setattr(plugin, name, _below_nyquist(name, value, self.rate))
        if name == "delay_seconds":
            self.pause_seconds = max(self.pause_seconds, value)

    def process(self, audio: Array) -> Array:
        """Process [2, n]; [2, n] too, late where a plugin buffers."""
        if not self._holds_back:
            return _pad_start(self._run(audio), audio.shape[1])
        buffered_audio = np.concatenate([self._buffer, audio], axis=1)
        whole_length = buffered_audio.shape[1] // QUANTUM * QUANTUM
        processed_quanta = [
            self._quantum(buffered_audio[:, start : start + QUANTUM]) for start in range(0, whole_length, QUANTUM)
        ]
        ready_audio = np.concatenate([self._ready, *processed_quanta], axis=1)
        self._buffer, self._ready = buffered_audio[:, whole_length:], ready_audio[:, audio.shape[1] :]
        return ready_audio[:, : audio.shape[1]]

    def _quantum(self, audio: Array) -> Array:
        """Process [2, QUANTUM], to which a buffering plugin adds its leftover."""
        processed = np.concatenate([self._leftover, self._run(audio)], axis=1)
        self._shortfall_samples += max(0, QUANTUM - processed.shape[1])
        processed = _pad_start(processed, QUANTUM)
        self._leftover = processed[:, QUANTUM:]
        return processed[:, :QUANTUM]

    def _run(self, audio: Array) -> Array:
        """Run the plugins on their channels; the output may be shorter."""
        channel_groups = np.split(audio, len(self._chains))
        chain_outputs = [
            chain.process(channel_group, self.rate, buffer_size=QUANTUM, reset=False)
            for chain, channel_group in zip(self._chains, channel_groups, strict=True)
        ]
        return chain_outputs[0] if len(chain_outputs) == 1 else np.concatenate(chain_outputs)


def _silence(count: int) -> Array:
    return np.zeros((2, count), np.float32)


def _pad_start(audio: Array, count: int) -> Array:
    lacking_count = count - audio.shape[1]
    return audio if lacking_count <= 0 else np.concatenate([_silence(lacking_count), audio], axis=1)


def _below_nyquist(name: str, value: Any, rate: int) -> Any:
    """First-order filters become unstable at Nyquist."""
    return min(value, 0.49 * rate) if name == "cutoff_frequency_hz" else value


def effect_faults(effect: Effect) -> Iterator[tuple[str, str]]:
    """A built-in effect's faults: key, message."""
    plugin_name = effect.plugin
    if plugin_name.endswith(PLUGINS):
        return
    if plugin_name in NOT_IN_BLOCKS:
        yield "plugin", f"{plugin_name} gives no sound block by block in pedalboard; use another effect"
    elif plugin_name not in RANGES:
        yield "plugin", f"plugin {plugin_name!r} does not exist{nearest(plugin_name, RANGES)}"
    else:
        allowed_settings = {**RANGES[plugin_name], **SETTINGS.get(plugin_name, {})}
        for setting_key, setting_value in (effect.model_extra or {}).items():
            if setting_key not in allowed_settings:
                yield setting_key, f"parameter {setting_key!r} does not exist{nearest(setting_key, allowed_settings)}"
            elif isinstance(limits := allowed_settings[setting_key], tuple):
                try:
                    _number(setting_key, setting_value, limits)
                except UserError as error:
                    yield setting_key, str(error)


def _load(index: int, effect: Effect, rate: int, folder: Path, files: Mapping[str, bytes]) -> _Stage:
    """Load a preset's effect; ``index`` is its place in the chain."""
    plugin_name, effect_settings = effect.plugin, effect.model_extra or {}
    effect_label = f"[[effects]] {index + 1} ({plugin_name})"
    if plugin_name.endswith(PLUGINS):
        return _load_file(effect_label, folder / plugin_name, effect_settings, rate)
    for _, message in effect_faults(effect):
        raise UserError(f"{effect_label}: {message}")
    return _load_named(effect_label, plugin_name, effect_settings, rate, folder, files)


def _load_named(
    effect_label: str,
    plugin_name: str,
    effect_settings: Mapping[str, Any],
    rate: int,
    folder: Path,
    files: Mapping[str, bytes],
) -> _Stage:
    """Load a built-in effect of pedalboard."""
    import pedalboard

    plugin_class = getattr(pedalboard, plugin_name)
    allowed_settings = {**RANGES[plugin_name], **SETTINGS.get(plugin_name, {})}
    plugin_arguments: dict[str, Any] = {}
    for setting_key, setting_value in effect_settings.items():
        setting_label, limits = f"{effect_label}: {setting_key}", allowed_settings[setting_key]
        if isinstance(limits, tuple):
            plugin_arguments[setting_key] = _below_nyquist(
                setting_key, _number(setting_label, setting_value, limits), rate
            )
        elif isinstance(limits, str):
            plugin_arguments[setting_key] = _choice(
                setting_label, setting_value, getattr(plugin_class, limits).__members__
            )
        elif limits is bool:
            plugin_arguments[setting_key] = _choice(setting_label, setting_value, {False: False, True: True})
        else:
            response_name = _text(setting_label, setting_value)
            plugin_arguments[setting_key], plugin_arguments["sample_rate"] = _response(
                effect_label, as_on_disk(folder / response_name), files.get(response_name)
            )
    if plugin_name == "Convolution" and "sample_rate" not in plugin_arguments:
        raise UserError(f"{effect_label}: impulse_response_filename is missing; name a sound file")
    try:
        plugin = plugin_class(**plugin_arguments)
        return _Stage([plugin], rate, RANGES[plugin_name], _pause_seconds(plugin, plugin_arguments))
    except (ValueError, RuntimeError) as error:  # such as a sample rate that MP3 does not support
        raise UserError(f"{effect_label}: {_one_line(error)}") from error


def _response(effect_label: str, path: Path, data: bytes | None) -> tuple[Array, int]:
    """Samples, [channels, n], and rate of an impulse response."""
    if data is None:
        check_regular(path, LARGEST_RESPONSE)
    from .sound_files import sound_reader  # lazy: few presets name an impulse response

    with sound_reader(path, data) as reader:
        blocks, response_length = list[Array](), 0
        for block in reader:
            blocks.append(block)
            response_length += block.shape[1]
            if response_length > LONGEST_RESPONSE_SECONDS * reader.sample_rate:
                raise UserError(
                    f"{effect_label}: impulse response {path} is longer than {LONGEST_RESPONSE_SECONDS:g} seconds; "
                    "give a shorter one"
                )
    return np.concatenate(blocks, axis=1), reader.sample_rate


def _pause_seconds(plugin: Any, plugin_arguments: Mapping[str, Any]) -> float:
    """A convolution's response may contain gaps."""
    response = plugin_arguments.get("impulse_response_filename")
    return (
        getattr(plugin, "delay_seconds", 0.0)
        if response is None
        else response.shape[1] / plugin_arguments["sample_rate"]
    )


def _load_file(effect_label: str, path: Path, effect_settings: Mapping[str, Any], rate: int) -> _Stage:
    """Load a plugin's file, if it may run."""
    if not path.exists():
        raise UserError(f"{effect_label}: there is no plugin at {path}")
    if not may_run(path):
        raise UserError(
            f"{effect_label}: it is native code that has not run here before; if you know where it is from, begin "
            "again with 'timbrel play' or 'render', which ask, or give them --trust"
        )
    from .plugins import overheard

    with overheard(effect_label):
        return _load_trusted(effect_label, path, effect_settings, rate)


def _load_trusted(effect_label: str, path: Path, effect_settings: Mapping[str, Any], rate: int) -> _Stage:
    """Load a plugin's file in stereo, else as two mono instances."""
    complaints = []
    for instance_count in (1, 2):
        plugins = [_load_instance(effect_label, path, effect_settings) for _ in range(instance_count)]
        parameter_ranges = {
            name: (float(parameter.min_value), float(parameter.max_value))
            for name, parameter in plugins[0].parameters.items()
            if parameter.type is float and parameter.is_automatable
        }
        try:
            return _Stage(plugins, rate, parameter_ranges, math.inf)
        except (ValueError, RuntimeError) as error:
            complaints.append(_one_line(error))
    raise UserError(f"{effect_label}: it takes neither stereo nor mono: {'; '.join(complaints)}")


def _load_instance(effect_label: str, path: Path, effect_settings: Mapping[str, Any]) -> Any:
    from pedalboard import load_plugin  # type: ignore[attr-defined]  # exported by a star import

    try:
        plugin: Any = load_plugin(str(path))
    except (ImportError, ValueError, RuntimeError) as error:
        raise UserError(f"{effect_label}: cannot load {path}: {_one_line(error)}") from error
    if not plugin.is_effect:
        raise UserError(f"{effect_label}: {path} is an instrument; give an effect")
    for setting_key, setting_value in effect_settings.items():
        if setting_key not in plugin.parameters:
            raise UserError(
                f"{effect_label}: parameter {setting_key!r} does not exist{nearest(setting_key, plugin.parameters)}"
            )
        parameter, setting_label = plugin.parameters[setting_key], f"{effect_label}: {setting_key}"
        if parameter.type is float:
            setting_value = _number(setting_label, setting_value, (parameter.min_value, parameter.max_value))
        else:
            setting_value = _choice(setting_label, setting_value, {choice: choice for choice in parameter.valid_values})
        setattr(plugin, setting_key, setting_value)
    return plugin


def _number(label: str, value: Any, limits: Range) -> float:
    """Return a number within its limits; UserError otherwise."""
    low, high = limits
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise UserError(f"{label} = {value!r} must be a number from {low:g} to {high:g}")
    if not low <= value <= high:
        raise UserError(f"{label} = {value:g} is out of range [{low:g}, {high:g}]")
    return float(value)


def _choice(label: str, value: Any, choices: Mapping[Any, Any]) -> Any:
    """Return the chosen value of ``choices``; UserError otherwise."""
    if type(value) not in (bool, str) or value not in choices:
        raise UserError(f"{label} = {value!r} must be one of {', '.join(map(json.dumps, choices))}")
    return choices[value]


def _text(label: str, value: Any) -> str:
    """Return a path's text; UserError otherwise."""
    if not isinstance(value, str):
        raise UserError(f"{label} = {value!r} must be the path of a sound file")
    return value


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
