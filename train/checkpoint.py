"""Saves and loads checkpoints: weights, optimisers, progress."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..host.errors import Failure, UserError

FORMAT = 1
PARTS = {"format", "model", "optimizer", "progress"}

Optimizers = Mapping[str, torch.optim.Optimizer]  # by their names


@dataclass
class Progress:
    """``stale``: validations since the best one; ``epoch_steps``: steps of an epoch, 0 in earlier files."""

    step: int = 0
    seconds: float = 0.0
    best: float = float("inf")
    stale: int = 0
    epoch_steps: int = 0


def contents(model: nn.Module, optimizers: Optimizers, progress: Progress) -> dict[str, Any]:
    """Return the contents of a checkpoint; tensors are those of the model and of its optimisers."""
    optimizer_states = {name: optimizer.state_dict() for name, optimizer in optimizers.items()}
    return {
        "format": FORMAT,
        "model": model.state_dict(),
        "optimizer": optimizer_states if len(optimizer_states) > 1 else next(iter(optimizer_states.values())),
        "progress": asdict(progress),
    }


def save(path: Path, model: nn.Module, optimizers: Optimizers, progress: Progress) -> None:
    """Write a checkpoint, whole or not at all; raise `Failure` if that fails."""
    write(path, contents(model, optimizers, progress))


def write(path: Path, content: Mapping[str, Any]) -> None:
    """Write `contents`, as `save` does."""
    partial_path = path.with_suffix(".partial")
    try:
        with partial_path.open("wb") as file:
            torch.save(content, file)
        partial_path.replace(path)
    except (OSError, RuntimeError) as error:  # torch's writer replaces the disk's error by its own
        cause = error if isinstance(error, OSError) else error.__context__ or error
        raise Failure(
            f"cannot write {path}: {getattr(cause, 'strerror', None) or cause}; "
            "what was saved before is kept: make room and go on with --resume"
        ) from error
    finally:
        partial_path.unlink(missing_ok=True)


def keep(folder: Path, model: nn.Module, optimizers: Optimizers, progress: Progress, count: int) -> None:
    """Save a checkpoint of this step, and remove all but the last ``count``."""
    folder.mkdir(exist_ok=True)
    save(folder / f"step-{progress.step:09d}.ckpt", model, optimizers, progress)
    for older_path in sorted(folder.glob("step-*.ckpt"))[:-count]:
        older_path.unlink()


def load(path: Path) -> dict[str, Any]:
    """Read a checkpoint; no code runs.

    Raises:
        UserError: it is missing, damaged, or of another format.
    """
    if not path.exists():
        raise UserError(f"run {path.parent} has no checkpoint {path.name} yet; train it first")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many classes for a broken zip of tensors
        reason = (str(error) or type(error).__name__).splitlines()[0][:80]
        raise UserError(f"checkpoint {path} is damaged ({reason}); train again") from None
    if not isinstance(content, dict) or content.get("format") != FORMAT or not content.keys() >= PARTS:
        raise UserError(f"checkpoint {path} is not of format {FORMAT}; train again with this timbrel")
    return content


def restore(path: Path, model: nn.Module, optimizers: Optimizers | None = None) -> Progress:
    """Load a checkpoint into a model and, to resume, its optimisers.

    Raises:
        UserError: as `load`, or another network.
    """
    content = load(path)
    try:
        model.load_state_dict(content["model"])
        if optimizers is not None:
            optimizer_states = (
                content["optimizer"] if len(optimizers) > 1 else dict.fromkeys(optimizers, content["optimizer"])
            )
            for name in {*optimizer_states, *optimizers}:  # a name in only one of them is an error
                optimizers[name].load_state_dict(optimizer_states[name])
        return progress_of(content)
    except (RuntimeError, ValueError, KeyError, TypeError, AttributeError):  # torch's errors for a mismatch
        raise UserError(
            f"checkpoint {path} does not fit the recipe beside it; put the right one back, or train again"
        ) from None


def progress_of(content: dict[str, Any]) -> Progress:
    """Return the progress that a loaded checkpoint holds."""
    saved = content["progress"]
    # earlier files lack the last two
    return Progress(saved["step"], saved["seconds"], saved["best"], saved.get("stale", 0), saved.get("epoch_steps", 0))
