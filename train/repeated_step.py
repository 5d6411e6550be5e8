"""Replays training steps of fixed shapes as a CUDA graph: one launch in place of one for each of its kernels.

The rules of a capture are those of torch's notes on CUDA semantics ("CUDA Graphs"): steps before it on a side stream,
inputs in tensors that stay, no number read back, optimisers that are capturable, gradients allocated within.
"""

from collections.abc import Callable, Iterable, Sequence

import torch
from lightning_fabric import Fabric
from torch import Tensor

from ..host.errors import Failure
from .shared_random import ExampleGenerator, RepeatingGenerator

WARM_UP_STEPS = 3  # as in torch's notes: libraries allocate in the first ones, and optimisers make their state

Batch = tuple[list[Tensor], ExampleGenerator]  # examples on the device, and the generator of their random numbers


def replays(fabric: Fabric) -> bool:
    """Return whether a training can replay its steps: on one GPU, with which no process exchanges gradients."""
    return fabric.device.type == "cuda" and fabric.world_size == 1


class RepeatedStep:
    """A training step that a GPU repeats with new examples, random numbers and learning rates.

    Args:
        compute: moves the weights by batches and returns the loss. All its random numbers come from `shared_random`,
            and it reads no tensor back.
        optimizers: the moving ones; each step takes the learning rates of their groups.
    """

    def __init__(
        self,
        compute: Callable[[Sequence[Batch]], Tensor],
        optimizers: Iterable[torch.optim.Optimizer],
        device: torch.device,
    ) -> None:
        self._compute, self._device = compute, device
        self._groups = [group for optimizer in optimizers for group in optimizer.param_groups]
        self._rates = [torch.zeros((), device=device) for _ in self._groups]
        self._batches: list[tuple[list[Tensor], RepeatingGenerator]] = []
        self._warm_up_steps = 0
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._ended = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]
        self._graph: torch.cuda.CUDAGraph | None = None
        self._loss = torch.zeros(())

    def __call__(self, batches: Sequence[Batch]) -> Tensor:
        """Move the weights; return the loss, in a tensor that the next step overwrites.

        Raises:
            Failure: the step cannot be captured.
        """
        self._load(batches)
        if self._warm_up_steps < WARM_UP_STEPS:
            self._warm_up_steps += 1
            self._stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(self._stream):
                loss = self._compute(self._batches)
            torch.cuda.current_stream().wait_stream(self._stream)
            return loss
        if self._graph is None:
            self._graph = self._capture()
        self._graph.replay()
        self._ended.synchronize()  # of the step before: while a step runs, no more than the next one waits
        self._ended.record()
        return self._loss

    def _load(self, batches: Sequence[Batch]) -> None:
        """Put batches and learning rates into the tensors that the step reads."""
        if not self._batches:
            self._batches = [
                ([torch.empty_like(tensor) for tensor in examples], RepeatingGenerator(self._device))
                for examples, _ in batches
            ]
        for (inputs, input_generator), (examples, generator) in zip(self._batches, batches, strict=True):
            for input_tensor, tensor in zip(inputs, examples, strict=True):
                input_tensor.copy_(tensor)
            input_generator.restart(generator)
        for rate, group in zip(self._rates, self._groups, strict=True):
            rate.fill_(group["lr"])

    def _capture(self) -> torch.cuda.CUDAGraph:
        """Return the graph of a step, which this does not compute yet."""
        rates = [group["lr"] for group in self._groups]
        for group, rate in zip(self._groups, self._rates, strict=True):
            group.update(lr=rate, capturable=True)  # a number would stay that of this step
        graph = torch.cuda.CUDAGraph()
        try:
            # The thread that cuts batches allocates pinned memory meanwhile, which a global capture forbids.
            with torch.cuda.graph(graph, stream=self._stream, capture_error_mode="thread_local"):
                self._loss = self._compute(self._batches)
        except RuntimeError as error:
            first_error = error.__context__ or error  # the end of a capture that failed is another error
            reason = (str(first_error) or type(first_error).__name__).splitlines()[0]
            raise Failure(
                f"steps cannot be captured as a CUDA graph ({reason}); train without training.cuda_graphs"
            ) from error
        finally:
            for group, rate in zip(self._groups, rates, strict=True):
                group.update(lr=rate, capturable=False)  # as checkpoints keep them
        return graph
