"""Maps by other methods beside timbrel's: dots placed by umap-learn and openTSNE, and a plane made of their places.

Needs both libraries: pip install umap-learn openTSNE. Rows of each shipped model of more than two latents: trust and
continuity of the dots as in map.py, and the reach of a plane whose nodes are means of the codes around, by a Gaussian
as wide as the mean distance of dots, with the largest step of timbrel's maps.
"""

import os

os.environ["OMP_NUM_THREADS"] = os.environ["NUMBA_NUM_THREADS"] = "1"

import time
import warnings
from dataclasses import replace

import numpy as np
import openTSNE
import umap
from map import NEIGHBOURS, reach, standing
from timbrel.host.model.map import CodeMap
from timbrel.host.model.map_layout import LARGEST_STEP, PIXELS, eased, map_of
from timbrel.host.model.model import Model
from timbrel.host.preset.shipped import shipped_models

PERPLEXITY = 30.0


def through(plane: CodeMap, places: np.ndarray) -> CodeMap:
    """Return a plane of as many nodes through codes at given places."""
    side, codes = len(plane.surface), plane.codes * plane.scale
    at = np.linspace(0, 1, side)
    nodes = np.stack(np.meshgrid(at, at), -1).reshape(-1, 1, 2)
    far = np.square(nodes - places).sum(-1)
    weight = np.exp((far.min(1, keepdims=True) - far) * len(places) / 2)
    surface = (weight @ codes / weight.sum(1, keepdims=True)).reshape(side, side, -1).astype(np.float32)
    scale = np.where(plane.scale > 0, plane.scale, 1)
    return replace(plane, surface=eased(surface, LARGEST_STEP * PIXELS / (side - 1)) / scale)


def main() -> None:
    warnings.filterwarnings("ignore")
    for name, path in sorted(shipped_models().items()):
        plane = map_of(Model(path))
        if plane is None or len(plane.scale) <= 2:
            continue
        codes = plane.codes * plane.scale
        few = len(codes) - 1
        methods = {
            "umap-learn": umap.UMAP(random_state=0, n_neighbors=min(NEIGHBOURS, few), n_jobs=1).fit_transform,
            "openTSNE": openTSNE.TSNE(random_state=0, perplexity=min(PERPLEXITY, few / 3), n_jobs=1).fit,
        }
        print(f"{name:<16}{'timbrel':<12}{standing(plane, plane.places)}, reach {reach(plane, plane.codes):.2f}")
        for method, fit in methods.items():
            began = time.process_time()
            found = np.asarray(fit(codes), np.float64)
            seconds = time.process_time() - began
            places = (found - found.min(0)) / np.ptp(found, axis=0)
            figures = f"{standing(plane, places)}, reach {reach(through(plane, places), plane.codes):.2f}"
            print(f"{'':<16}{method:<12}{figures}, {seconds:.1f} s", flush=True)


if __name__ == "__main__":
    main()
