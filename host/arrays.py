"""Types of numpy arrays: `Array` for sound, codes and magnitudes."""

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Indices = npt.NDArray[np.intp]
Integers = npt.NDArray[np.int64]
Times = npt.NDArray[np.int64]
Spectrum = npt.NDArray[np.complex64]
