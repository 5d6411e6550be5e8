"""nn~ emulator: loads and runs TorchScript files as nn~ does."""

import re
import warnings
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ...host.arrays import Array

BOOL, INT, FLOAT, STRING = range(4)  # type numbers of attribute values in ``NAME_params``
NUMBER = re.compile(r"\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")  # number at the start of a word, as C++ parses it


class NnRefusal(Exception):
    """nn~ would refuse a file or crash."""


class Backend:
    """A file opened in nn~; raises `NnRefusal` for files and messages that nn~ cannot use."""

    def __init__(self, path: Path) -> None:
        try:
            with quiet():
                self._module = torch.jit.load(str(path), map_location="cpu").eval()  # type: ignore[no-untyped-call]
        except RuntimeError as error:
            raise NnRefusal(f"it does not load ({str(error).splitlines()[0]})") from None
        if not self.methods():
            raise NnRefusal("it has no method with METHOD_params")

    def methods(self) -> list[str]:
        if self._has_method("get_methods"):
            return [str(name) for name in self._module.get_methods()]
        names: list[str] = self._module._c._method_names()
        return [name for name in names if hasattr(self._module, f"{name}_params")]

    def attributes(self) -> list[str]:
        if self._has_method("get_attributes"):
            return [str(name) for name in self._module.get_attributes()]
        names = {name for name, _ in (*self._module.named_buffers(), *self._module.named_parameters())}
        return sorted(name.removesuffix("_params") for name in names if name.endswith("_params"))

    def params(self, method: str) -> tuple[int, int, int, int]:
        """Return channels in, ratio in, channels out and ratio out."""
        if method not in self.methods():
            raise NnRefusal(f"it has no method {method!r}")
        channels_in, ratio_in, channels_out, ratio_out = self._numbers(f"{method}_params", 4)
        return channels_in, ratio_in, channels_out, ratio_out

    def labels(self, method: str) -> tuple[list[str], list[str]]:
        channels_in, _, channels_out, _ = self.params(method)
        label_lists = []
        for side, count in (("input", channels_in), ("output", channels_out)):
            custom_labels = getattr(self._module, f"{method}_{side}_labels", [])
            default_labels = [f"(signal) model {side} {place}" for place in range(count)]
            label_lists.append([*custom_labels[:count], *default_labels[len(custom_labels) :]])
        return label_lists[0], label_lists[1]

    def get(self, name: str) -> str:
        types = self._types(name)
        values = self._call(f"get_{name}")
        if not isinstance(values, list | tuple) or len(values) < len(types):
            raise NnRefusal(f"get_{name} gives {values!r}, no list of {len(types)}")
        return " ".join(_printed(value, kind) for value, kind in zip(values, types, strict=False))

    def set(self, name: str, *words: str) -> None:
        types = self._types(name)
        if len(words) != len(types):
            raise NnRefusal(f"{name} takes {len(types)} values, {len(words)} were given")
        status = self._call(f"set_{name}", *(_read(word, kind) for word, kind in zip(words, types, strict=True)))
        if isinstance(status, bool) or status != 0:
            raise NnRefusal(f"set_{name} gives {status!r} in place of 0")

    def set_sample_rate(self, rate: int) -> None:
        if self._has_method("set_sample_rate"):
            self._call("set_sample_rate", rate)

    def perform(self, signals: Array, method: str = "forward") -> Array:
        """Render [batch, channels in, samples] to [batch, channels out, samples]."""
        channels_in, ratio_in, channels_out, ratio_out = self.params(method)
        batch, _, count = signals.shape
        if count % ratio_in:
            raise NnRefusal(f"blocks of {count} samples are no multiple of its ratio {ratio_in}")
        with torch.inference_mode():
            model_input = torch.from_numpy(np.ascontiguousarray(signals[:, :channels_in], np.float32))
            # nn~ passes the last sample of each stretch of ratio_in samples on
            model_input = model_input.reshape(batch, channels_in, count // ratio_in, ratio_in)[..., -1]
            model_output = self._call(method, model_input)
            if (
                not isinstance(model_output, torch.Tensor)
                or model_output.numel() * ratio_out != batch * channels_out * count
            ):
                raise NnRefusal(f"{method} does not give {channels_out} channels of {count} samples")
            upsampled = model_output.repeat_interleave(ratio_out).reshape(batch, channels_out, count)
        rendered_signals: Array = upsampled.numpy()
        return rendered_signals

    def _has_method(self, method: str) -> bool:
        return method in self._module._c._method_names()

    def _call(self, method: str, *arguments: Any) -> Any:
        if not self._has_method(method):
            raise NnRefusal(f"it has no {method}")
        try:
            return getattr(self._module, method)(*arguments)
        except RuntimeError as error:
            raise NnRefusal(f"{method} fails ({str(error).strip().splitlines()[-1]})") from None

    def _types(self, name: str) -> list[int]:
        types = self._numbers(f"{name}_params")
        for kind in types:
            if kind not in (BOOL, INT, FLOAT, STRING):
                raise NnRefusal(f"{name}_params has the unknown type {kind}")
        return types

    def _numbers(self, name: str, count: int | None = None) -> list[int]:
        attribute = getattr(self._module, name, None)
        if not isinstance(attribute, torch.Tensor) or attribute.ndim != 1 or count not in (None, len(attribute)):
            raise NnRefusal(f"it has no {name}, or not as numbers in a row")
        return [int(number) for number in attribute]


def quiet() -> AbstractContextManager[object]:
    """nn~ requires TorchScript, which is deprecated."""
    return warnings.catch_warnings(action="ignore")


def _printed(value: Any, kind: int) -> str:
    python = (bool, int, float, str)[kind]
    if type(value) is not python:
        raise NnRefusal(f"a getter gives {value!r} where its type is {python.__name__}")
    return f"{value:.6f}" if kind == FLOAT else str(value).lower() if kind == BOOL else str(value)


def _read(word: str, kind: int) -> bool | int | float | str:
    if kind == STRING:
        return word
    if kind == BOOL:
        return word.lower() == "true"
    number = NUMBER.match(word)
    if number is None:
        raise NnRefusal(f"{word!r} is no number")
    return int(float(number[0])) if kind == INT else float(np.float32(number[0]))
