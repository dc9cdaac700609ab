"""The paper's three data sets: the columns that belong to each, and the training counts it is known by."""

from __future__ import annotations

from lmd.experiments.base import Block

# In the order of the class names.
_HYPER_KVASIR = (33, 43, 516, 918, 807, 802, 791, 323, 208, 4, 7, 105, 822, 799, 313, 610, 27, 161, 9, 355)
_HYPER_KVASIR += (22, 107, 746)
# By falling count.
_ISIC_ARCHIVE = (9012, 3165, 2375, 1024, 608, 459, 268, 189, 177, 172, 22, 18, 10, 9)
_ISIC_2019 = {
    "100": (9012, 2898, 1949, 1409, 426, 282, 104, 90),
    "300": (9012, 2477, 1424, 880, 227, 129, 41, 30),
    "500": (9012, 2303, 1231, 707, 170, 89, 26, 18),
}

HYPER_KVASIR = (Block("data", "Hyper-Kvasir", _HYPER_KVASIR),)
ISIC_ARCHIVE_LT = (Block("data", "ISIC-Archive-LT", _ISIC_ARCHIVE),)
ISIC_2019_LT = tuple(Block(r, f"r = {r}", counts) for r, counts in _ISIC_2019.items())
ISIC_2019_LT_500 = (Block("data", "ISIC-2019-LT, r = 500", _ISIC_2019["500"]),)
