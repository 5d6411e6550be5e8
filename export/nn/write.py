"""Writes a model as an nn~ file, and verifies the file."""

import zipfile
from pathlib import Path

import numpy as np
import torch

from ...host.contract.card import METADATA_KEY
from ...host.contract.model import Model
from ...host.errors import Failure, UserError
from ...host.files import check_output, replacing
from ..kinds.player import script
from ..kinds.table import KINDS
from ..onnx_to_torch.decoder import RebuiltDecoder
from .backend import NnRefusal, quiet
from .parity import check_parity, condition_tensor

FOLDER = "timbrel"  # in the archive; any name works


def check_name(path: Path, overwrite: bool = False) -> None:
    """Raise `UserError` unless a name ends in .ts and can be written."""
    if path.suffix != ".ts":
        raise UserError(f"--nn {path} must end in .ts, such as {path.with_suffix('.ts').name}")
    check_output(path, overwrite)


def write(model: Model, path: Path, overwrite: bool = False) -> None:
    """Write ``path`` atomically.

    Raises:
        UserError: as `check_name`, or nn~ cannot play the model's kind.
        Failure: the file's output differs from the model's.
    """
    check_name(path, overwrite)
    card = model.card
    if (player := KINDS[card.kind].player) is None:
        known = ", ".join(name for name, kind in KINDS.items() if kind.player is not None)
        raise UserError(
            f"{model.path} is a model of kind {card.kind}, and nn~ plays {known} alone; "
            "render its notes to sound files, and play these there"
        )
    with replacing(path, overwrite) as file, torch.no_grad(), quiet():
        example = torch.zeros(3, len(card.latents)), condition_tensor(model, np.arange(3))
        decoder = torch.jit.trace(RebuiltDecoder(model).eval(), example)  # type: ignore[no-untyped-call]
        scripted = script(player(model, decoder).eval())
        torch.jit.save(scripted, str(file), _extra_files={METADATA_KEY: card.model_dump_json()})
        _pack_anew(file)
        try:
            check_parity(model, file)
        except NnRefusal as reason:
            raise Failure(f"nn~ would not play what was written of {model.path}: {reason}; no file was kept") from None


def _pack_anew(file: Path) -> None:
    """Remove this machine's source paths and the temporary name."""
    kept = {}
    with zipfile.ZipFile(file) as archive:
        for name in archive.namelist():
            if not name.endswith(".debug_pkl"):
                kept[name.partition("/")[2]] = archive.read(name)
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in kept.items():
            archive.writestr(zipfile.ZipInfo(f"{FOLDER}/{name}"), content)
