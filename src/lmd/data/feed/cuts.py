"""How an epoch is cut into batches."""

from __future__ import annotations

import numpy as np


def batch_sizes(number: int, batch: int, last: str = "drop") -> list[int]:
    """Returns the sizes of an epoch's batches, in order.

    `last` says what becomes of images that do not fill a batch: "drop" leaves them out, unless there would
    be no batch at all; "even" makes all batches of nearly the same size, none larger than `batch`, so that
    no image is left out. A batch of one image is never made where there are two: BatchNorm cannot train on
    it. Three images and a batch of two are therefore one batch of three.

    >>> batch_sizes(243, 100), batch_sizes(243, 100, "even"), batch_sizes(3, 2, "even")
    ([100, 100], [81, 81, 81], [3])
    """
    if last == "drop" or number < 2:
        return [batch] * (number // batch) or [number]
    count = min(-(-number // batch), number // 2)
    each, more = divmod(number, count)
    return [each + 1] * more + [each] * (count - more)


def cut(order: np.ndarray, batch: int, last: str = "drop") -> list[np.ndarray]:
    """Returns the parts of an order, one for each batch; see `batch_sizes`.

    >>> [part.tolist() for part in cut(np.arange(5), 2, "even")]
    [[0, 1, 2], [3, 4]]
    """
    sizes = batch_sizes(len(order), batch, last)
    return np.split(order[: sum(sizes)], np.cumsum(sizes)[:-1])
