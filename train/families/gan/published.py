"""Reads generators of the published WaveGAN: TensorFlow checkpoints, and their dumps for browsers.

Layout of Donahue et al.'s code (github.com/chrisdonahue/wavegan): units of the dense layer are [samples, channels],
kernels [1, 25, out, in], strides those of `LENGTHS`, padding "SAME". A transposed convolution is the gradient of a
convolution in both frameworks, so kernels are not reversed. A dump has ``manifest.json``, with a file name and a shape
for each variable, and a file of little-endian float32 for each.
"""

import importlib
import itertools
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from pydantic import ValidationError
from torch import Tensor

from ....host.arrays import Array
from ....host.errors import UserError
from ....host.files import read_regular
from ....host.model.card import first_complaint
from .recipe import FIRST, LENGTHS, GANRecipe
from .wavegan import KERNEL

MANIFEST = "manifest.json"
LARGEST_MANIFEST, LARGEST_VARIABLE = 1 << 20, 1 << 29  # bytes; the published generators' largest has 50 MB
DENSE, FILTER = "G/z_project/dense", "G/pp_filt/conv1d/kernel"
LAYER = "G/upconv_{}/conv2d_transpose"

RecipeT = TypeVar("RecipeT", bound=GANRecipe)


def read_generator(path: Path, recipe: RecipeT) -> tuple[RecipeT, dict[str, Tensor]]:
    """Read a checkpoint's or a dump's generator: the recipe with its settings, and the state of `Generator`.

    Args:
        path: a dump's folder or manifest, a folder with TensorFlow's file ``checkpoint``, a checkpoint's ``.index``, or
            its name without that suffix.
        recipe: its length of clips has as many layers as the checkpoint.

    Raises:
        UserError: it is missing, damaged, or no such generator; or TensorFlow is needed and not installed.
    """
    if recipe.network.labels:
        raise UserError(f"--pretrained {path} has no labels; train with --set network.labels=false")
    variables = _read_dump(path) if _is_dump(path) else _read_checkpoint(path)
    layer_count = next(index for index in itertools.count() if f"{LAYER.format(index)}/kernel" not in variables)
    frame_length = recipe.frames.frame_length
    if layer_count != len(LENGTHS[frame_length]):
        lengths = " or ".join(str(length) for length, strides in LENGTHS.items() if len(strides) == layer_count)
        raise UserError(
            f"--pretrained {path} has {layer_count} layers of convolution, clips of {frame_length} samples have "
            f"{len(LENGTHS[frame_length])}; "
            + (f"give frames.frame_length and frames.hop_length of {lengths}" if lengths else "give a WaveGAN")
        )
    _check_layers(path, variables, layer_count)
    model_size = variables[f"{LAYER.format(layer_count - 1)}/kernel"].shape[3]
    post_filter = variables.get(FILTER)
    settings = {
        "latents": variables[f"{DENSE}/kernel"].shape[0],
        "model_size": model_size,
        "tensorflow_padding": True,
        "post_filter": 0 if post_filter is None else len(post_filter) | 1,
    }
    try:
        network = type(recipe.network).model_validate(recipe.network.model_dump() | settings)
    except ValidationError as error:
        raise UserError(f"--pretrained {path} is no generator of a published size: {first_complaint(error)}") from None
    return recipe.model_copy(update={"network": network}), _state(variables, layer_count)


def _is_dump(path: Path) -> bool:
    return path.name == MANIFEST or (path / MANIFEST).exists()


def _read_dump(path: Path) -> dict[str, Array]:
    """Read the variables of a dump, by name."""
    manifest_path = path if path.name == MANIFEST else path / MANIFEST
    try:
        manifest = json.loads(read_regular(manifest_path, LARGEST_MANIFEST))
        entries = {name: (str(entry["filename"]), list(entry["shape"])) for name, entry in manifest.items()}
    except OSError as error:
        raise UserError(
            f"--pretrained {manifest_path} cannot be read: {error.strerror or error}; download it again"
        ) from None
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise UserError(
            f"--pretrained {manifest_path} lists no filename and shape for each variable; give a dump of a WaveGAN"
        ) from None
    return {
        name: _read_variable(manifest_path.parent, file_name, shape)
        for name, (file_name, shape) in entries.items()
        if name.startswith("G/")
    }


def _read_variable(folder: Path, file_name: str, shape: list[Any]) -> Array:
    """Read a variable's file, [shape]."""
    variable_path = folder / file_name
    is_shape = bool(shape) and all(type(size) is int and size > 0 for size in shape)
    if Path(file_name).name != file_name or not file_name.isprintable() or not is_shape:
        raise UserError(
            f"--pretrained {folder}: {file_name!r} of shape {shape} is no variable beside the manifest; "
            "download it again"
        )
    try:
        data = read_regular(variable_path, LARGEST_VARIABLE)
    except OSError as error:
        raise UserError(
            f"--pretrained {variable_path} cannot be read: {error.strerror or error}; download it again"
        ) from None
    if len(data) != 4 * math.prod(shape):
        raise UserError(
            f"--pretrained {variable_path} has {len(data)} bytes, shape {shape} needs {4 * math.prod(shape)}; "
            "download it again"
        )
    return np.frombuffer(data, "<f4").reshape(shape).astype(np.float32)


def _read_checkpoint(path: Path) -> dict[str, Array]:
    """Read the generator's variables of a TensorFlow checkpoint, by name."""
    prefix = path.with_suffix("") if path.suffix == ".index" else path
    if not (prefix.is_dir() and (prefix / "checkpoint").exists()) and not Path(f"{prefix}.index").exists():
        raise UserError(
            f"--pretrained {path} is neither a TensorFlow checkpoint (a folder with a file named checkpoint, or the "
            f"name of files NAME.index and NAME.data-...) nor a folder with {MANIFEST}; give one of them"
        )
    try:
        tensorflow: Any = importlib.import_module("tensorflow")
    except ImportError:
        raise UserError(
            f"--pretrained {path} is a TensorFlow checkpoint, and tensorflow is not installed; install it, or give a "
            f"dump for browsers, a folder with {MANIFEST}"
        ) from None
    try:
        reader = tensorflow.train.load_checkpoint(str(prefix))
        names = [name for name in reader.get_variable_to_shape_map() if name.startswith("G/")]
        return {name: np.atleast_1d(np.asarray(reader.get_tensor(name), np.float32)) for name in names}
    except (tensorflow.errors.OpError, OSError, RuntimeError, TypeError, ValueError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0][:80]
        raise UserError(f"--pretrained {path} cannot be read by TensorFlow ({reason}); download it again") from None


def _check_layers(path: Path, variables: Mapping[str, Array], layer_count: int) -> None:
    """Raise UserError unless all variables are there, finite, and of the published shapes."""
    if normalised := next((name for name in variables if "batch_normalization" in name), None):
        raise UserError(f"--pretrained {path} has {normalised}, and the published generators no normalisation")
    model_size = variables[f"{LAYER.format(layer_count - 1)}/kernel"].shape[-1]
    widths = [*(model_size << layer for layer in reversed(range(layer_count))), 1]
    dense = variables.get(f"{DENSE}/kernel", np.zeros((0, 0)))
    shapes: dict[str, tuple[int, ...]] = {
        f"{DENSE}/kernel": (len(dense), FIRST * widths[0]),
        f"{DENSE}/bias": (FIRST * widths[0],),
    }
    for layer, (in_channels, out_channels) in enumerate(itertools.pairwise(widths)):
        shapes[f"{LAYER.format(layer)}/kernel"] = (1, KERNEL, out_channels, in_channels)
        shapes[f"{LAYER.format(layer)}/bias"] = (out_channels,)
    if FILTER in variables:
        shapes[FILTER] = (len(variables[FILTER]), 1, 1)
    for name, shape in shapes.items():
        if name not in variables:
            raise UserError(f"--pretrained {path} has no variable {name}; give a published WaveGAN's generator")
        if variables[name].shape != shape:
            raise UserError(
                f"--pretrained {path}: {name} has shape {list(variables[name].shape)}, a generator of size "
                f"{model_size} {list(shape)}; give a published WaveGAN's generator"
            )
        if not np.isfinite(variables[name]).all():
            raise UserError(f"--pretrained {path}: {name} has values that are not finite; download it again")


def _state(variables: Mapping[str, Array], layer_count: int) -> dict[str, Tensor]:
    """Return the state of `Generator`: its dense layer, a transposed convolution for each layer, and the filter."""
    latents, unit_count = variables[f"{DENSE}/kernel"].shape
    dense_kernel = variables[f"{DENSE}/kernel"].reshape(latents, FIRST, -1).transpose(2, 1, 0)
    dense_bias = variables[f"{DENSE}/bias"].reshape(FIRST, -1).T
    arrays = {"layers.0.weight": dense_kernel.reshape(unit_count, latents), "layers.0.bias": dense_bias.reshape(-1)}
    for layer in range(layer_count):
        place = 3 + 2 * layer  # after the dense layer, its reshaping and ReLUs
        arrays[f"layers.{place}.weight"] = variables[f"{LAYER.format(layer)}/kernel"][0].transpose(2, 1, 0)
        arrays[f"layers.{place}.bias"] = variables[f"{LAYER.format(layer)}/bias"]
    if FILTER in variables:
        # "SAME" pads an even kernel with one sample more at the end: as a kernel with a zero before it.
        kernel = variables[FILTER][:, 0, 0]
        arrays["post_filter.weight"] = np.pad(kernel, (1 - len(kernel) % 2, 0))[np.newaxis, np.newaxis]
    return {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in arrays.items()}
