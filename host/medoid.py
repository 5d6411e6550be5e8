"""The medoid of a set of rows."""

import numpy as np
import numpy.typing as npt


def medoid(rows: npt.NDArray[np.float64]) -> int:
    """Index of the row nearest to the rows' median, [n, length]."""
    return int(np.square(rows - np.median(rows, axis=0)).sum(axis=1).argmin())
