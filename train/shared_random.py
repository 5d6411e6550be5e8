"""Random numbers for a batch that several processes share: equal to those of one process."""

import torch
import torch.distributed.nn.functional as distributed
from torch import Tensor


class ExampleGenerator(torch.Generator):
    """A generator of process ``rank``, which has every ``processes``-th example of a batch.

    All processes seed and draw alike; single numbers are common.
    """

    rank = 0
    processes = 1


def rand_examples(*shape: int, generator: torch.Generator) -> Tensor:
    """As `torch.rand`; the first dimension counts this process's examples."""
    return torch.rand(_shape_of_all(shape, generator), generator=generator)[_own_rows(generator)]


def randn_examples(*shape: int, generator: torch.Generator) -> Tensor:
    return torch.randn(_shape_of_all(shape, generator), generator=generator)[_own_rows(generator)]


def randint_examples(low: int, high: int, *shape: int, generator: torch.Generator) -> Tensor:
    return torch.randint(low, high, _shape_of_all(shape, generator), generator=generator)[_own_rows(generator)]


def all_examples(examples: Tensor, generator: torch.Generator) -> Tensor:
    """Return all processes' rows, [batch, ...]; gradients go back to each."""
    return examples if _process_count(generator) == 1 else torch.cat(list(distributed.all_gather(examples)))


def _process_count(generator: torch.Generator) -> int:
    return generator.processes if isinstance(generator, ExampleGenerator) else 1


def _shape_of_all(shape: tuple[int, ...], generator: torch.Generator) -> tuple[int, ...]:
    """Return the shape with the examples of all processes."""
    return (shape[0] * _process_count(generator), *shape[1:])


def _own_rows(generator: torch.Generator) -> slice:
    """Return the rows of this process's examples."""
    return slice(getattr(generator, "rank", 0), None, _process_count(generator))
