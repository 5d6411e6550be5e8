"""A CUDA graph on the processor: records the operations of a step, undoes them, and replays them on the same tensors.

As on a GPU, a capture leaves all tensors as they are, a replay reads and writes those that the capture saw, Python's
numbers stay those of the capture, and no operation reads a tensor back or draws a random number.
"""

import contextlib

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

FORBIDDEN = {  # in a capture: they wait for the GPU, or draw on the processor
    "aten::_local_scalar_dense",
    "aten::nonzero",
    "aten::masked_select",
    "aten::rand",
    "aten::randn",
    "aten::randint",
    "aten::uniform_",
    "aten::normal_",
    "aten::random_",
}


class CUDAGraph(TorchDispatchMode):
    """Records operations while it is entered."""

    capturing = False

    def __init__(self):
        super().__init__()
        self.operations, self.before, self.made = [], {}, set()

    def __torch_dispatch__(self, operation, types, arguments=(), names=None):
        names = names or {}
        if operation._schema.name in FORBIDDEN:
            raise RuntimeError(f"operation not permitted when stream is capturing: {operation}")
        for place, argument in enumerate(operation._schema.arguments):
            if argument.alias_info is not None and argument.alias_info.is_write:
                self.remember(arguments[place] if place < len(arguments) else names.get(argument.name))
        results = operation(*arguments, **names)
        sources = {storage(tensor) for tensor in tensors([arguments, names])}
        new = [tensor for tensor in tensors(results) if storage(tensor) not in sources]
        self.made |= {storage(tensor) for tensor in new}
        self.operations.append((operation, arguments, names, results, {id(tensor) for tensor in new}))
        return results

    def remember(self, written):
        """Keep the content of tensors from before the capture."""
        for tensor in tensors(written):
            if storage(tensor) not in self.made:
                self.before.setdefault(storage(tensor), (tensor, tensor.untyped_storage().clone()))

    def undo(self):
        for tensor, content in self.before.values():
            tensor.untyped_storage().copy_(content)

    @torch.no_grad()
    def replay(self):
        for operation, arguments, names, results, new in self.operations:
            again = operation(*arguments, **names)
            for result, value in zip(tensors(results), tensors(again), strict=True):
                if id(result) in new:
                    result.copy_(value)


def tensors(tree):
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, torch.Tensor)]


def storage(tensor):
    return tensor.untyped_storage()._cdata


@contextlib.contextmanager
def graph(recorder, stream, capture_error_mode):
    assert capture_error_mode == "thread_local"  # other threads pin memory
    CUDAGraph.capturing = True
    try:
        with recorder:
            yield
    finally:
        CUDAGraph.capturing = False
    recorder.undo()


def check_optimizer(optimizer):
    """As torch does on a GPU: raise if an optimiser is captured that is not capturable, or the other way about."""
    if CUDAGraph.capturing != all(group["capturable"] for group in optimizer.param_groups):
        raise RuntimeError(f"capturing is {CUDAGraph.capturing}, and param_groups' capturable is not")


class Stream:
    def __init__(self, device=None):
        pass

    def wait_stream(self, other):
        pass


class Event:
    def __init__(self, blocking):
        pass

    def synchronize(self):
        pass

    def record(self):
        pass


def emulate(monkeypatch):
    """Replace torch's graphs, streams and events by those of this module, and one-hot rows, whose range is checked on
    processors alone.
    """
    for name, value in {"CUDAGraph": CUDAGraph, "graph": graph, "Stream": Stream, "Event": Event}.items():
        monkeypatch.setattr(torch.cuda, name, value)
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: contextlib.nullcontext())
    monkeypatch.setattr(torch.cuda, "current_stream", Stream)
    monkeypatch.setattr(torch.optim.Optimizer, "_accelerator_graph_capture_health_check", check_optimizer)
    monkeypatch.setattr(
        torch.nn.functional, "one_hot", lambda indices, count: (indices[:, None] == torch.arange(count)).long()
    )
