"""Random numbers for a batch that several processes share: equal to those of one process."""

from collections.abc import Callable

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
    return _draw_examples(lambda batch_shape: torch.rand(batch_shape, generator=generator), shape, generator)


def randn_examples(*shape: int, generator: torch.Generator) -> Tensor:
    return _draw_examples(lambda batch_shape: torch.randn(batch_shape, generator=generator), shape, generator)


def randint_examples(low: int, high: int, *shape: int, generator: torch.Generator) -> Tensor:
    return _draw_examples(
        lambda batch_shape: torch.randint(low, high, batch_shape, generator=generator), shape, generator
    )


def all_examples(examples: Tensor, generator: torch.Generator) -> Tensor:
    """Return all processes' rows, [batch, ...]; gradients go back to each."""
    if _share(generator)[1] == 1:
        return examples
    return torch.cat(list(distributed.all_gather(examples)))


def _draw_examples(
    draw: Callable[[tuple[int, ...]], Tensor], shape: tuple[int, ...], generator: torch.Generator
) -> Tensor:
    """Draw numbers for all processes' examples; return this one's rows."""
    rank, process_count = _share(generator)
    return draw((shape[0] * process_count, *shape[1:]))[rank::process_count]


def _share(generator: torch.Generator) -> tuple[int, int]:
    """Return the rank of this process and the number of processes."""
    if isinstance(generator, ExampleGenerator):
        return generator.rank, generator.processes
    return 0, 1
