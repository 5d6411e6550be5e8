"""What is read of an exported file, and how it differs from what was trained."""

import json

import numpy as np
import onnxruntime
from timbrel.export.knobs.naming import arranged
from timbrel.train import checkpoint
from timbrel.train.families import FAMILIES

BATCHES = [1, 2, 7, 64]


def network_of(run, which="best"):
    network = FAMILIES["chroma"].network(run.recipe)
    checkpoint.restore(run.folder / f"{which}.ckpt", network)
    return network.eval()


def in_order(run):
    """The network of a run as a model has it: its latents in order, where keys choose the note."""
    network = network_of(run)
    knobs = arranged(network, run.recipe, run.corpus(), run.info.tonal)
    return network if knobs is None else knobs.network


def plain_session(path):
    """As anyone opens an ONNX file."""
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


def plain_card(path):
    return json.loads(plain_session(path).get_modelmeta().custom_metadata_map["timbrel.card"])


def one_hot(pitch_classes):
    return np.eye(12, dtype=np.float32)[pitch_classes]
