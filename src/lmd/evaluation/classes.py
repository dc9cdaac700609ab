"""Whether a model can be measured on the classes of a data set."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

from lmd.data.dataset.manifest import Dataset
from lmd.errors import DataError, suggest


def refuse_other_classes(dataset: Dataset, known: Sequence[str]) -> None:
    """Refuses a data set with a class that the model does not know; it may lack classes that the model knows.

    Raises:
        DataError: the first such class, with the nearest that the model knows, and the way out.
    """
    unknown = [name for name in dataset.classes if name not in known]
    if not unknown:
        return
    name, more = unknown[0], f" ({len(unknown)} such classes)" if len(unknown) > 1 else ""
    twin = next((other for other in known if _plain(other) == _plain(name)), None)
    if twin is not None:
        raise DataError(
            f"class '{name}' of {dataset.folder} and class '{twin}' of the model differ only by case or "
            f"spacing{more}: write '{twin}' for it and prepare the data set again"
        )
    raise DataError(
        f"{dataset.folder} has the class '{name}', which the model does not know{more}"
        f"{suggest(name, known)}; write the model's names into the label column, or leave these images out, "
        "and prepare the data set again with 'lmd prepare table'"
    )


def _plain(name: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", name).casefold().replace("_", " ").split())
