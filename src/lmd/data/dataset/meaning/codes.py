"""Ids that may be a code for "unknown", so that images of many people would count as those of one."""

from __future__ import annotations

import re
from collections import Counter

import numpy as np
import pandas as pd

from lmd.text import shortened

_CODE = re.compile(r"-?(0+|9{2,})(\.0)?")  # What tables write for "not known", beside words and -1.
_FEW_IMAGES, _MANY = 5, 10  # Images of a code at least; ids beside which one may stand out.


def code_lines(level: str, groups: pd.Series) -> list[str]:
    """Returns a line for each id that may be a code: it says the id, and its share of the images."""
    return [
        f"{level} '{shortened(name)}' has {share:.0%} of the images: is it a code for unknown? then empty it "
        "in the table, so that each of its images is a group of its own"
        for name, share in may_be_codes(groups)
    ]


def may_be_codes(groups: pd.Series) -> list[tuple[str, float]]:
    """Returns ids that may be a code for "unknown", each with its share of the images.

    That is 0, 99, 999 and the like with more images than three times the usual, or any id that has a fifth of
    all images and three times as many as the next.

    >>> may_be_codes(pd.Series(["999"] * 8 + [f"p{number}" for number in range(12)]))
    [('999', 0.4)]
    """
    counts = dict(Counter(groups.astype(str)).most_common())
    sizes = list(counts.values())
    many = max(_FEW_IMAGES, 3 * float(np.median(sizes)))
    codes = [name for name, n in counts.items() if _CODE.fullmatch(name) and n >= many]
    if len(counts) >= _MANY and sizes[0] >= max(len(groups) / 5, 3 * sizes[1], _FEW_IMAGES):
        codes = list(dict.fromkeys([*codes, next(iter(counts))]))
    return [(name, counts[name] / len(groups)) for name in codes]
