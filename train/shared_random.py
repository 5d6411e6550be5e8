"""Random numbers of training steps: equal for one process and for several that share a batch, on any device."""

from collections.abc import Callable
from typing import Any, Self

import torch
import torch.distributed.nn.functional as distributed
from torch import Tensor


class ExampleGenerator(torch.Generator):
    """A generator of process ``rank``, which has every ``processes``-th example of a batch.

    All processes seed and draw alike; single numbers are common.
    """

    rank = 0
    processes = 1


class RepeatingGenerator(ExampleGenerator):
    """Draws numbers on the processor into tensors of a device, the same tensors after each `restart`.

    A graph of GPU operations reads fixed tensors, so its steps draw numbers of the same shapes in the same order.
    """

    def __new__(cls, device: torch.device) -> Self:
        return super().__new__(cls)  # on the processor: numbers are those of a run there

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._draws: list[tuple[Callable[..., Tensor], tuple[Any, ...], Tensor]] = []
        self._drawn_count = 0

    def restart(self, generator: torch.Generator) -> None:
        """Draw all numbers again, as ``generator`` would."""
        self.set_state(generator.get_state())
        self._drawn_count = 0
        for sample, arguments, numbers in self._draws:
            drawn_numbers = sample(*arguments, generator=self)
            if numbers.is_cuda:  # a copy from pinned memory does not wait for the last step
                drawn_numbers = drawn_numbers.pin_memory()
            numbers.copy_(drawn_numbers, non_blocking=True)

    def take(self, sample: Callable[..., Tensor], *arguments: Any) -> Tensor:
        """Return the next numbers: those of `restart`, in the first step new ones."""
        if self._drawn_count == len(self._draws):
            self._draws.append((sample, arguments, sample(*arguments, generator=self).to(self._device)))
        first_sample, first_arguments, numbers = self._draws[self._drawn_count]
        assert (first_sample, first_arguments) == (sample, arguments), "a step draws other numbers than the first"
        self._drawn_count += 1
        return numbers


def rand(*shape: int, generator: torch.Generator) -> Tensor:
    """As `torch.rand`; numbers that all processes have in common."""
    return _draw(generator, torch.rand, shape)


def randn(*shape: int, generator: torch.Generator) -> Tensor:
    return _draw(generator, torch.randn, shape)


def randint(low: int, high: int, *shape: int, generator: torch.Generator) -> Tensor:
    return _draw(generator, torch.randint, low, high, shape)


def rand_examples(*shape: int, generator: torch.Generator) -> Tensor:
    """As `torch.rand`; the first dimension counts this process's examples."""
    return rand(*_shape_of_all(shape, generator), generator=generator)[_own_rows(generator)]


def randn_examples(*shape: int, generator: torch.Generator) -> Tensor:
    return randn(*_shape_of_all(shape, generator), generator=generator)[_own_rows(generator)]


def randint_examples(low: int, high: int, *shape: int, generator: torch.Generator) -> Tensor:
    return randint(low, high, *_shape_of_all(shape, generator), generator=generator)[_own_rows(generator)]


def all_examples(examples: Tensor, generator: torch.Generator) -> Tensor:
    """Return all processes' rows, [batch, ...]; gradients go back to each."""
    return examples if _process_count(generator) == 1 else torch.cat(list(distributed.all_gather(examples)))


def _draw(generator: torch.Generator, sample: Callable[..., Tensor], *arguments: Any) -> Tensor:
    if isinstance(generator, RepeatingGenerator):
        return generator.take(sample, *arguments)
    return sample(*arguments, generator=generator)


def _process_count(generator: torch.Generator) -> int:
    return generator.processes if isinstance(generator, ExampleGenerator) else 1


def _shape_of_all(shape: tuple[int, ...], generator: torch.Generator) -> tuple[int, ...]:
    """Return the shape with the examples of all processes."""
    return (shape[0] * _process_count(generator), *shape[1:])


def _own_rows(generator: torch.Generator) -> slice:
    """Return the rows of this process's examples."""
    return slice(getattr(generator, "rank", 0), None, _process_count(generator))
