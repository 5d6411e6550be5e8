"""Places of codes on the map, and on the screen."""

import numpy as np
import pytest

from .conftest import LATENTS, SIDE

EDGE = 12  # pixels around the plane


def on_map(page):
    box = page.locator("#point").bounding_box()
    return lambda x, y: (
        box["x"] + EDGE + (box["width"] - 2 * EDGE) * float(x),
        box["y"] + EDGE + (box["height"] - 2 * EDGE) * float(y),
    )


def code(word):
    return [word["values"][f"latent.{i}"] for i in range(LATENTS)]


def read(plane, x, y):
    """The surface at a place, by scipy."""
    interpolate = pytest.importorskip("scipy.interpolate")
    axis = np.linspace(0, 1, SIDE)
    return interpolate.RegularGridInterpolator((axis, axis), plane.surface)([[y, x]])[0]
