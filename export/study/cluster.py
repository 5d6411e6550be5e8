"""Trains many runs at once as tasks of a Ray cluster."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ... import __version__
from ...host.errors import Failure, TimbrelError, UserError
from ...host.ray_cluster import RETRIES, connect, first_line, on_this_machine
from ...train.recipes.base import Recipe
from ...train.training_loop import Diverged, RunOptions

LOOK_SECONDS = 0.5  # between looks at the tasks: Ctrl-C is heard then
STOPPING_SECONDS = 120.0  # longest wait for stopped trainings to measure and save


class Training(NamedTuple):
    """A run to train: new, or resumed if its folder exists.

    ``trains(recipe, corpus, folder, options, course, share)`` returns whether it finished.
    """

    recipe: Recipe
    corpus: Path
    folder: Path
    trains: Callable[..., bool]


class _Unseen:
    def update(self, share: float, note: str) -> None: ...

    def say(self, message: str) -> None: ...


def train_on_cluster(
    trainings: Sequence[Training], address: str, accelerator: str, progress: Callable[[float, str], None]
) -> list[TimbrelError | None] | None:
    """Train runs, as many at once as the cluster has room for; return each run's error, or None.

    Machines need the same paths. Tasks of dead machines resume elsewhere from the last checkpoint. After Ctrl-C,
    trainings save, and None replaces the list.

    Raises:
        UserError: no Ray, or no cluster.
    """
    ray = connect(address)
    try:
        gpus = accelerator != "cpu" and ray.cluster_resources().get("GPU", 0) >= 1
        task = ray.remote(num_cpus=1, num_gpus=int(gpus), max_retries=RETRIES)(_train_on_node)
        waiting = {}
        for place, training in enumerate(trainings):
            whole = training._replace(corpus=training.corpus.resolve(), folder=training.folder.resolve())
            waiting[task.remote(whole, accelerator, __version__)] = place
        try:
            return _outcomes(ray, waiting, progress)
        except KeyboardInterrupt:
            for future in waiting:
                ray.cancel(future, recursive=False)
            ray.wait(list(waiting), num_returns=len(waiting), timeout=STOPPING_SECONDS)
            return None
    finally:
        ray.shutdown()


def _outcomes(
    ray: Any, waiting: dict[Any, int], progress: Callable[[float, str], None]
) -> list[TimbrelError | None] | None:
    found: dict[int, TimbrelError | None] = {}
    left, interrupted = list(waiting), False
    while left:
        ready, left = ray.wait(left, timeout=LOOK_SECONDS)
        for future in ready:
            try:
                stopped, error = ray.get(future)
            except ray.exceptions.RayError as trouble:
                stopped, error = False, Failure(f"the Ray cluster failed: {first_line(trouble)}; run it again to go on")
            interrupted |= stopped
            found[waiting[future]] = error
        progress(len(found) / len(waiting), f"{len(found)} of {len(waiting)} trainings are done")
    return None if interrupted else [found[place] for place in range(len(waiting))]


def _train_on_node(training: Training, accelerator: str, version: str) -> tuple[bool, TimbrelError | None]:
    """Errors are values, as Ray would wrap them."""
    for name in [name for name in os.environ if name.startswith("SLURM_")]:
        del os.environ[name]  # of the step that started Ray: it is no launcher of this training
    try:
        if version != __version__:
            raise UserError(f"timbrel {__version__} cannot train for {version}; install the same version")
        recipe, corpus, folder, trains = training
        finished = trains(recipe, corpus, folder, RunOptions(accelerator), _Unseen(), 1.0)
    except Diverged as error:
        return False, error
    except TimbrelError as error:
        return False, type(error)(*on_this_machine(error))
    return not finished, None
