"""Cuts batches in a thread, some steps ahead, so that reading sound delays no step."""

from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

from ..host.errors import Failure
from .example_order import ExampleOrder
from .training_data import Data

AHEAD = 4  # steps that are in memory

Batches = list[tuple[Tensor, ...]]


class BatchLoader:
    """Batches by data, seed and step: ``batches`` a step, of ``batch`` examples."""

    def __init__(self, data: Data, seed: int, batch: int, batches: int) -> None:
        self._data, self._seed, self._batches = data, seed, batches
        self.steps: int | None = None  # of the run, if they are known: none is cut ahead of the last
        self.step_examples = batch * batches
        self.epoch_steps = len(data) // self.step_examples
        self._order: tuple[int, ExampleOrder] | None = None  # an epoch and its order
        self._pool = ThreadPoolExecutor(1, "batches", torch.set_flush_denormal, (True,))  # as in the main thread
        self._ahead: dict[int, Future[Batches]] = {}  # by step

    def take(self, step: int) -> Batches:
        """Return a step's batches, and begin to cut the next ones; raise `Failure` for an unreadable corpus."""
        end = step + AHEAD if self.steps is None else min(step + AHEAD, max(self.steps, step + 1))
        self._ahead = {
            wanted: self._ahead.get(wanted) or self._pool.submit(self._cut, wanted) for wanted in range(step, end)
        }
        try:
            return self._ahead[step].result()
        except OSError as error:
            raise Failure(f"cannot read the corpus: {error.strerror or error}; go on with --resume") from error

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)

    def _cut(self, step: int) -> Batches:
        epoch, place = divmod(step, self.epoch_steps)
        if self._order is None or self._order[0] != epoch:
            self._order = epoch, ExampleOrder(len(self._data), np.random.default_rng([self._seed, epoch, 1]))
        indices = self._order[1][place * self.step_examples : (place + 1) * self.step_examples]
        return [
            self._data.batch(part, np.random.default_rng(self.seeds(step, number)))
            for number, part in enumerate(indices.reshape(self._batches, -1))
        ]

    def seeds(self, step: int, number: int) -> list[int]:
        return [self._seed, step, *([0, number] if number else [])]  # an order has another number in this place
