"""What kernels take and fill, by name. Numba reads fields of a named tuple as if they were arguments."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Clocked(NamedTuple):
    """Series none of whose samples is missing: `values[s]` at the times `times[clock_of[s]]`.

    The windows of clock c are `[lo[c, t], hi[c, t])`; both ascend along t.
    """

    times: NDArray[np.int64]
    clock_of: NDArray[np.int64]
    values: NDArray[np.float64]
    lo: NDArray[np.int64]
    hi: NDArray[np.int64]


class Points(NamedTuple):
    """A result, [S, T]: the value, and whether there is one."""

    values: NDArray[np.float64]
    present: NDArray[np.bool_]


class Sums(NamedTuple):
    """Of each group at each step, [G, T]: a sum, what rounding lost of it, and its terms' number."""

    total: NDArray[np.float64]
    carry: NDArray[np.float64]
    terms: NDArray[np.int64]
