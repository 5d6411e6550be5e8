"""Codes at places of a map, as the page finds them."""

import numpy as np
import numpy.typing as npt
from timbrel.host.arrays import Array
from timbrel.host.model.map import CodeMap


def code_at(plane: CodeMap, x: npt.ArrayLike, y: npt.ArrayLike) -> Array:
    """Interpolate codes bilinearly, [..., n_latents], at positions clamped to the plane."""
    last_index = len(plane.surface) - 1
    column_position, row_position = (
        np.clip(np.asarray(coordinate, np.float64), 0.0, 1.0) * last_index for coordinate in (x, y)
    )
    left_column, top_row = (
        np.minimum(node_position.astype(np.intp), last_index - 1) for node_position in (column_position, row_position)
    )
    u, v = (column_position - left_column)[..., None], (row_position - top_row)[..., None]
    top_codes, bottom_codes = (
        plane.surface[top_row + row_step, left_column] * (1 - u)
        + plane.surface[top_row + row_step, left_column + 1] * u
        for row_step in (0, 1)
    )
    codes: Array = (top_codes * (1 - v) + bottom_codes * v).astype(np.float32)
    return codes
