"""Maps of the shipped models, or `map.py MODEL...`: how steady they are under a hand, how near they come to real codes.

`step`: by how many deviations of the training codes neighbouring pixels differ at most, on a map of 600. `reach`: how
far the map's codes lie from the nearest point of the plane, in deviations, the median; `left out`: of every other code,
from a map that is made of the rest. `off`: how far nodes lie from the nearest of the codes. `bytes` as text in a file.
`on nodes`, `on the rim`: shares of dots, nearer to a node than 1 % are by chance, or within .15 % of the map's width of
its rim. `trust` and `continuity`: whether the 12 nearest dots are near in the codes, too, and the reverse. These are of
the points of the plane that are nearest to codes, and of the places that are shown; `apart`: the pixels between both.
Times are the processor's: to make the map, to find the places of 20 000 codes that are drawn around its own.
"""

import os

os.environ["OMP_NUM_THREADS"] = "1"

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np
from sklearn.manifold import trustworthiness
from timbrel.host.model.map import CodeMap
from timbrel.host.model.map_layout import PIXELS, make_code_map, map_of
from timbrel.host.model.model import Model
from timbrel.host.preset.shipped import shipped_models
from timbrel.host.resynthesis.codes import distances

sys.path.append(str(Path(__file__).parents[1] / "host" / "model"))
from planes import code_at

DOTS = 20_000
NODE_RADIUS = np.sqrt(0.01 / np.pi)  # of the distance of nodes
RIM = 0.0015  # of the map
NEIGHBOURS = 12
SPREAD = 0.1  # deviations: sounds of a corpus lie .3 from the nearest one of another clip

T = TypeVar("T")


def largest_step(plane: CodeMap) -> float:
    """Between neighbouring pixels of a picture of a plane, in standard deviations."""
    at = (np.arange(PIXELS) + 0.5) / PIXELS
    picture = code_at(plane, *np.meshgrid(at, at)) * plane.scale
    return max(float(np.sqrt(np.square(np.diff(picture, axis=axis)).sum(-1)).max()) for axis in (0, 1))


def timed(work: Callable[[], T]) -> tuple[T, float]:
    began = time.process_time()
    found = work()
    return found, time.process_time() - began


def reach(plane: CodeMap, codes: np.ndarray) -> float:
    away = code_at(plane, *plane.place_of(codes).T) - codes
    return float(np.median(np.sqrt(np.square(away * plane.scale).sum(1))))


def standing(plane: CodeMap, places: np.ndarray) -> str:
    """Describe places of dots: shares on nodes and the rim, trustworthiness, continuity."""
    nodes, codes = places * (len(plane.surface) - 1), plane.codes * plane.scale
    places = places + np.random.default_rng(0).uniform(-1e-6, 1e-6, places.shape)  # dots on one place have no order
    shares = (
        np.mean(np.hypot(*(nodes - np.round(nodes)).T) <= NODE_RADIUS),
        np.mean(np.minimum(places, 1 - places).min(1) <= RIM),
    )
    trust = trustworthiness(codes, places, n_neighbors=NEIGHBOURS)
    continuity = trustworthiness(places, codes, n_neighbors=NEIGHBOURS)
    return f"on nodes {shares[0]:4.1%}, on the rim {shares[1]:4.1%}, trust {trust:.3f}, continuity {continuity:.3f}"


def report(model: Model) -> None:
    plane = map_of(model)
    if plane is None:
        print(f"{model.path.stem:<16} no map: its card has no landmarks")
        return
    names = np.array([plane.labels[index] for index in plane.label])
    again, seconds = timed(lambda: make_code_map(model, plane.codes, names.tolist(), plane.notes))
    half = make_code_map(model, plane.codes[::2], names[::2].tolist(), plane.notes[::2])
    nodes = (plane.surface * plane.scale).reshape(-1, len(plane.scale)).astype(np.float64)
    off = np.median(distances(nodes, (plane.codes * plane.scale).astype(np.float64)))
    rng = np.random.default_rng(0)
    drawn = plane.codes[rng.integers(len(plane.codes), size=DOTS)]
    deviations = np.divide(SPREAD, plane.scale, out=np.zeros_like(plane.scale), where=plane.scale > 0)
    drawn = (drawn + deviations * rng.standard_normal(drawn.shape)).astype(np.float32)
    _, placing = timed(lambda: plane.place_of(drawn))
    print(
        f"{model.path.stem:<16}{'file' if model.map else 'landmarks':<10}{len(plane.surface):>3} nodes a side"
        f"{len(plane.codes):>6} dots   step {largest_step(plane):.3f}   reach {reach(plane, plane.codes):.2f}"
        f"   left out {reach(half, plane.codes[1::2]):.2f}   off {off:.2f}   {len(again.text().encode()):>6} bytes"
        f"   made {seconds:.2f} s   20 000 placed {placing:.2f} s"
    )
    exact = plane.place_of(plane.codes)
    print(f"{'':<16}nearest points: {standing(plane, exact)}")
    apart = np.median(np.hypot(*(PIXELS * (plane.places - exact)).T))
    print(f"{'':<16}as shown:       {standing(plane, plane.places)}, {apart:.0f} pixels apart")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", type=Path)
    for path in parser.parse_args().models or [path for _, path in sorted(shipped_models().items())]:
        report(Model(path))


if __name__ == "__main__":
    main()
