"""Checkpoints: weights, optimisers and the progress of a run, written whole or not at all."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
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
    """The progress of a run.

    Batches and all random numbers follow from the recipe's seed and ``step``, so this is enough to go on as if the run
    had never stopped.
    """

    step: int = 0
    seconds: float = 0.0
    best: float = float("inf")


def save(path: Path, model: nn.Module, optimizers: Optimizers, progress: Progress) -> None:
    """Write a checkpoint under a temporary name, then rename it: whoever looks finds the old one or the new one.

    The state of several optimisers is kept by their names, that of a single one as it is.

    Raises:
        Failure: the disk is full, or the file cannot be written for another reason.
    """
    temporary = path.with_suffix(".partial")
    states = {name: optimizer.state_dict() for name, optimizer in optimizers.items()}
    content = {
        "format": FORMAT,
        "model": model.state_dict(),
        "optimizer": states if len(states) > 1 else next(iter(states.values())),
        "progress": asdict(progress),
    }
    try:
        with temporary.open("wb") as file:
            torch.save(content, file)
        temporary.replace(path)
    except (OSError, RuntimeError) as error:  # torch's writer covers what the disk says with an error of its own
        reason = error if isinstance(error, OSError) else error.__context__ or error
        raise Failure(
            f"cannot write {path}: {getattr(reason, 'strerror', None) or reason}; "
            "what was saved before is kept: make room and go on with --resume"
        ) from error
    finally:
        temporary.unlink(missing_ok=True)


def keep(folder: Path, model: nn.Module, optimizers: Optimizers, progress: Progress, count: int) -> None:
    """Write ``step-N.ckpt`` into a folder, and remove those before the last ``count``.

    Raises:
        Failure: as `save`.
    """
    folder.mkdir(exist_ok=True)
    save(folder / f"step-{progress.step:09d}.ckpt", model, optimizers, progress)
    for older in sorted(folder.glob("step-*.ckpt"))[:-count]:
        older.unlink()


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
        reason = (str(error) or type(error).__name__).splitlines()[0][:80]
        raise UserError(f"checkpoint {path} is damaged ({reason}); train again") from None
    if not isinstance(content, dict) or content.get("format") != FORMAT or not content.keys() >= PARTS:
        raise UserError(f"checkpoint {path} is not of format {FORMAT}; train again with this timbrel")
    return content


def restore(path: Path, model: nn.Module, optimizers: Optimizers | None = None) -> Progress:
    """Load a checkpoint into a model, and into the optimisers that go on with it.

    Raises:
        UserError: as `load`, or it is of another network.
    """
    content = load(path)
    try:
        model.load_state_dict(content["model"])
        if optimizers is not None:
            states = content["optimizer"] if len(optimizers) > 1 else dict.fromkeys(optimizers, content["optimizer"])
            for name in {*states, *optimizers}:  # a name that only one of them has is an error
                optimizers[name].load_state_dict(states[name])
        return progress_of(content)
    except (RuntimeError, ValueError, KeyError, TypeError, AttributeError):  # torch has one for each way not to fit
        raise UserError(
            f"checkpoint {path} does not fit the recipe beside it; put the right one back, or train again"
        ) from None


def progress_of(content: dict[str, Any]) -> Progress:
    """Return the `Progress` in a checkpoint."""
    return Progress(**{field.name: content["progress"][field.name] for field in fields(Progress)})
