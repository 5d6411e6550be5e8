"""Checkpoints: weights, optimiser and where the run stands, written whole or not at all."""

from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..host.errors import UserError

FORMAT = 1


@dataclass
class Progress:
    """Where a run stands. Batches and all randomness follow from the recipe's seed and ``step``, so this is enough to
    go on as if it had never stopped."""

    step: int = 0
    seconds: float = 0.0
    best: float = float("inf")


def save(path: Path, model: nn.Module, optimizer: torch.optim.Optimizer, progress: Progress) -> None:
    """Write a checkpoint under a temporary name, then rename it: whoever looks finds the old one or the new one."""
    temporary = path.with_suffix(".partial")
    content = {
        "format": FORMAT,
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "progress": asdict(progress),
    }
    try:
        torch.save(content, temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def load(path: Path) -> dict[str, Any]:
    """Read a checkpoint; tensors and plain values only, nothing in it is run.

    Raises:
        UserError: missing, damaged, or of another format.
    """
    if not path.exists():
        raise UserError(f"run {path.parent} has no checkpoint {path.name} yet; train it first")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many classes for the many ways a zip of tensors can be broken
        raise UserError(f"checkpoint {path} is damaged ({str(error).splitlines()[0][:80]}); train again") from None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise UserError(f"checkpoint {path} is not of format {FORMAT}; train again with this timbrel")
    return content


def progress_of(content: dict[str, Any]) -> Progress:
    """The `Progress` in a checkpoint."""
    return Progress(**{field.name: content["progress"][field.name] for field in fields(Progress)})
