"""Training runs on the processor."""

import torch
from timbrel.train.families.chroma.network import ChromaAutoencoder
from timbrel.train.loop import RunOptions

CPU = RunOptions(accelerator="cpu")


def broken_total(monkeypatch, at, value):
    """From the given training step on, the loss is not a number."""
    original, calls = ChromaAutoencoder.total, []

    def total(self, terms):
        if torch.is_grad_enabled():
            calls.append(1)
        loss = original(self, terms)
        return loss * value if len(calls) > at else loss

    monkeypatch.setattr(ChromaAutoencoder, "total", total)
