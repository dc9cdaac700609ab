"""Makes the data set of the sweep: `python -m benchmarks.gpu.prepare WORK [FOLDER]`."""

from __future__ import annotations

import sys
from pathlib import Path

from benchmarks.gpu.data import TABLE, unpack
from lmd.data.dataset.sources import phantom

# Where `benchmarks.inference` looks for real images below LMD_SHARED.
IMAGES = "shared/data/isic2019/ISIC_2019_Training_Input"


def main(arguments: list[str]) -> int:
    """Unpacks and divides the images of the folder by group, or draws phantoms where none is given."""
    work = Path(arguments[0])
    if len(arguments) == 1:
        options = phantom.Options(images=40, imbalance=4, val_per_class=3, test_per_class=6, size=32)
        phantom.prepare(options, work / "data")
        return 0
    images = work / IMAGES
    unpack(Path(arguments[1]), images)
    from lmd.api.data import prepare

    prepare(
        "table", work / "data", table=images.parent / TABLE, root=images,
        image_column="file", label_column="label", group_column="group",
        ignore_column=("bytes",), seed=42,
    )  # fmt: skip
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
