"""Registry of network families, and loading of trained networks."""

import importlib
from typing import Literal

from .. import checkpoint
from ..network import Network
from ..run import Run
from . import FOLDERS
from .family import Family

FAMILIES: dict[str, Family] = {
    name: family
    for folder in FOLDERS
    for name, family in importlib.import_module(f"{folder}.family", __package__).FAMILIES.items()
}


def trained_others(run: Run) -> dict[str, Network]:
    """Return the best networks that a run is built on, in evaluation mode, without gradients.

    Raises:
        UserError: a run or its checkpoint is missing.
    """
    return {name: trained(other, "best")[0].requires_grad_(False) for name, other in run.others().items()}


def trained(run: Run, which: Literal["best", "last"]) -> tuple[Network, str, int]:
    """Return a run's network in evaluation mode, its checkpoint's name and its step.

    Raises:
        UserError: no checkpoint, or as `trained_others`.
    """
    file = run.best if which == "best" and run.best.exists() else run.last
    network = FAMILIES[run.recipe.family].network(run.recipe, **trained_others(run))
    step = checkpoint.restore(file, network).step
    network.eval()
    return network, file.stem, step
