"""What is read of an exported file, and how it differs from what was trained."""

import json

import numpy as np
import onnxruntime
from timbrel.train import checkpoint
from timbrel.train.families import FAMILIES

BATCHES = [1, 2, 7, 64]


def network_of(run, which="best"):
    network = FAMILIES["chroma"].network(run.recipe)
    checkpoint.restore(run.folder / f"{which}.ckpt", network)
    return network.eval()


def plain_session(path):
    """As anyone opens an ONNX file."""
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


def plain_card(path):
    return json.loads(plain_session(path).get_modelmeta().custom_metadata_map["timbrel.card"])


def one_hot(pitch_classes):
    return np.eye(12, dtype=np.float32)[pitch_classes]
