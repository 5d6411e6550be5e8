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
                self.module = torch.jit.load(str(path), map_location="cpu").eval()  # type: ignore[no-untyped-call]
        except RuntimeError as error:
            raise NnRefusal(f"it does not load ({str(error).splitlines()[0]})") from None
        if not self.methods():
            raise NnRefusal("it has no method with METHOD_params")

    def methods(self) -> list[str]:
        if self._has_method("get_methods"):
            return [str(name) for name in self.module.get_methods()]
        names: list[str] = self.module._c._method_names()
        return [name for name in names if hasattr(self.module, f"{name}_params")]

    def attributes(self) -> list[str]:
        if self._has_method("get_attributes"):
            return [str(name) for name in self.module.get_attributes()]
        names = {name for name, _ in (*self.module.named_buffers(), *self.module.named_parameters())}
        return sorted(name.removesuffix("_params") for name in names if name.endswith("_params"))

    def params(self, method: str) -> tuple[int, int, int, int]:
        """Return channels in, ratio in, channels out and ratio out."""
        if method not in self.methods():
            raise NnRefusal(f"it has no method {method!r}")
        channels_in, ratio_in, channels_out, ratio_out = self._numbers(f"{method}_params", 4)
        return channels_in, ratio_in, channels_out, ratio_out

    def get(self, name: str) -> str:
        """Return an attribute's values as text."""
        type_numbers = self._types(name)
        values = self._call(f"get_{name}")
        if not isinstance(values, list | tuple) or len(values) < len(type_numbers):
            raise NnRefusal(f"get_{name} gives {values!r}, no list of {len(type_numbers)}")
        return " ".join(_printed(value, type_number) for value, type_number in zip(values, type_numbers, strict=False))

    def set(self, name: str, *words: str) -> None:
        """Set an attribute to values in text."""
        type_numbers = self._types(name)
        if len(words) != len(type_numbers):
            raise NnRefusal(f"{name} takes {len(type_numbers)} values, {len(words)} were given")
        status_code = self._call(
            f"set_{name}", *(_read(word, type_number) for word, type_number in zip(words, type_numbers, strict=True))
        )
        if isinstance(status_code, bool) or status_code != 0:
            raise NnRefusal(f"set_{name} gives {status_code!r} in place of 0")

    def perform(self, signals: Array, method: str = "forward") -> Array:
        """Render [batch, channels in, samples] to [batch, channels out, samples]."""
        channels_in, ratio_in, channels_out, ratio_out = self.params(method)
        batch_size, _, sample_count = signals.shape
        if sample_count % ratio_in:
            raise NnRefusal(f"blocks of {sample_count} samples are no multiple of its ratio {ratio_in}")
        with torch.inference_mode():
            model_input = torch.from_numpy(np.ascontiguousarray(signals[:, :channels_in], np.float32))
            # nn~ passes the last sample of each stretch of ratio_in samples on
            model_input = model_input.reshape(batch_size, channels_in, sample_count // ratio_in, ratio_in)[..., -1]
            model_output = self._call(method, model_input)
            if (
                not isinstance(model_output, torch.Tensor)
                or model_output.numel() * ratio_out != batch_size * channels_out * sample_count
            ):
                raise NnRefusal(f"{method} does not give {channels_out} channels of {sample_count} samples")
            upsampled = model_output.repeat_interleave(ratio_out).reshape(batch_size, channels_out, sample_count)
        rendered_signals: Array = upsampled.numpy()
        return rendered_signals

    def _has_method(self, method: str) -> bool:
        return method in self.module._c._method_names()

    def _call(self, method: str, *arguments: Any) -> Any:
        if not self._has_method(method):
            raise NnRefusal(f"it has no {method}")
        try:
            return getattr(self.module, method)(*arguments)
        except RuntimeError as error:
            raise NnRefusal(f"{method} fails ({str(error).strip().splitlines()[-1]})") from None

    def _types(self, name: str) -> list[int]:
        """Return the type number of each of an attribute's values."""
        type_numbers = self._numbers(f"{name}_params")
        for type_number in type_numbers:
            if type_number not in (BOOL, INT, FLOAT, STRING):
                raise NnRefusal(f"{name}_params has the unknown type {type_number}")
        return type_numbers

    def _numbers(self, name: str, count: int | None = None) -> list[int]:
        """Return a tensor of the module as integers."""
        number_tensor = getattr(self.module, name, None)
        if (
            not isinstance(number_tensor, torch.Tensor)
            or number_tensor.ndim != 1
            or count not in (None, len(number_tensor))
        ):
            raise NnRefusal(f"it has no {name}, or not as numbers in a row")
        return [int(number) for number in number_tensor]


def quiet() -> AbstractContextManager[object]:
    """nn~ requires TorchScript, which is deprecated."""
    return warnings.catch_warnings(action="ignore")


def _printed(value: Any, type_number: int) -> str:
    """Return a value as nn~ prints it."""
    python_type = (bool, int, float, str)[type_number]
    if type(value) is not python_type:
        raise NnRefusal(f"a getter gives {value!r} where its type is {python_type.__name__}")
    return f"{value:.6f}" if type_number == FLOAT else str(value).lower() if type_number == BOOL else str(value)


def _read(word: str, type_number: int) -> bool | int | float | str:
    """Parse a value as nn~ does."""
    if type_number == STRING:
        return word
    if type_number == BOOL:
        return word.lower() == "true"
    number_match = NUMBER.match(word)
    if number_match is None:
        raise NnRefusal(f"{word!r} is no number")
    return int(float(number_match[0])) if type_number == INT else float(np.float32(number_match[0]))
