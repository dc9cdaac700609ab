"""The samples of shards as rows of a table: members with one name are one sample, as webdataset has it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from lmd.data.decode.members import MOST_BYTES, places
from lmd.errors import DataError
from lmd.parallel import Steps
from lmd.reading import UnreadableError, json_of

IMAGES = frozenset("jpg jpeg png webp bmp tif tiff gif ppm pgm pbm pnm jp2".split())
_TOLD = ("cls", "json")
_MOST_TEXT = 2**16  # Bytes of a .cls or .json.
_MOST_ENTRIES = 200  # Columns in all.
_SPLIT = re.compile(r"(train|training|val|valid|validation|test)(?=[-_.]|$)", re.IGNORECASE)


class Sample(NamedTuple):
    """A sample of a shard: its key, its image, and what stands beside it."""

    key: str
    image: str
    told: dict[str, str]


def samples_of(shards: Sequence[Path], root: Path, file: str, progress: Steps) -> pd.DataFrame:
    """Returns a row for each sample: `id`, the image under the name `file`, `cls`, and the entries of .json.

    A `split` is there where each shard's name begins with one.

    Raises:
        DataError: a shard is damaged or unsafe, or a sample lacks its image or is there twice.
    """
    columns: dict[str, list[str]] = {"id": [], file: []}
    splits: list[str] = []
    for number, shard in enumerate(shards):
        below, before = shard.relative_to(root).as_posix(), len(splits)
        for sample in _samples(shard):
            _add(columns, {"id": sample.key, file: f"{below}/{sample.image}", **sample.told}, shard, file)
            splits.append(_split_of(shard))
        if len(splits) == before:
            raise DataError(f"shard {shard} has no sample: no member ends in .jpg or another image's ending")
        progress(number + 1, len(shards))
    for values in columns.values():
        values += [""] * (len(splits) - len(values))
    table = pd.DataFrame(columns)
    table["id"] = _ids(table, file)
    if all(splits) and "split" not in table.columns:
        table["split"] = splits
    return table


def _add(columns: dict[str, list[str]], row: dict[str, str], shard: Path, file: str) -> None:
    """Adds a row; what a column lacks before it is empty."""
    done = len(columns[file])
    for name, value in row.items():
        column = columns.setdefault(name, [])
        column += [""] * (done - len(column))
        column.append(value)
    if len(columns) > _MOST_ENTRIES:
        raise DataError(f"shard {shard}: its .json files have more than {_MOST_ENTRIES} different entries")


def _split_of(shard: Path) -> str:
    """The split that the name of a shard begins with, or nothing."""
    found = _SPLIT.match(shard.name)
    return {"tr": "train", "va": "val", "te": "test"}[found[1][:2].lower()] if found else ""


def _ids(table: pd.DataFrame, file: str) -> pd.Series:
    """The keys; with their shards where one key is in several."""
    return table[file] if table["id"].duplicated().any() else table["id"]


def _samples(shard: Path) -> Iterator[Sample]:
    where = places(shard)
    with shard.open("rb") as opened:
        for key, parts in _by_key(shard, where).items():
            images = [name for ending, name in parts.items() if ending.rpartition(".")[2] in IMAGES]
            if len(images) != 1:
                raise DataError(f"shard {shard}: sample '{key}' has {_told(images, parts)}; it needs one")
            texts = {}
            for ending in _TOLD:
                if ending in parts:
                    start, size = where[parts[ending]]
                    opened.seek(start)
                    texts[ending] = _text(opened.read(min(size, _MOST_TEXT + 1)), shard, parts[ending])
            yield Sample(key, images[0], _entries(texts, shard, key))


def _by_key(shard: Path, names: dict[str, tuple[int, int]]) -> dict[str, dict[str, str]]:
    """The members of each sample by their endings: a name goes up to the first dot after its folders.

    Members without an ending, hidden ones and those of webdataset itself (`__...__`) are none.
    """
    found: dict[str, dict[str, str]] = {}
    for name, (_, size) in names.items():
        folder, _, last = name.rpartition("/")
        stem, dot, ending = last.partition(".")
        if not stem or not dot or stem.startswith("__") or not 0 < size <= MOST_BYTES:
            continue
        parts = found.setdefault(f"{folder}/{stem}" if folder else stem, {})
        if ending.lower() in parts:
            raise DataError(f"shard {shard} has the member '{name}' twice, in capitals and without")
        parts[ending.lower()] = name
    return {key: parts for key, parts in found.items() if _is_sample(parts)}


def _is_sample(parts: dict[str, str]) -> bool:
    return any(ending in _TOLD or ending.rpartition(".")[2] in IMAGES for ending in parts)


def _told(images: list[str], parts: dict[str, str]) -> str:
    return (
        f"{len(images)} images ({', '.join(images[:3])})"
        if images
        else f"no image, but {', '.join(sorted(parts)[:5])}"
    )


def _text(data: bytes, shard: Path, name: str) -> str:
    if len(data) > _MOST_TEXT:
        raise DataError(f"shard {shard}: member '{name}' has more than {_MOST_TEXT:,} bytes")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise DataError(f"shard {shard}: member '{name}' is not a text (UTF-8)") from error


def _entries(texts: dict[str, str], shard: Path, key: str) -> dict[str, str]:
    """What .cls and .json say; of the latter the entries that are texts, numbers, true or false."""
    found = {"cls": texts["cls"].strip()} if "cls" in texts else {}
    if "json" not in texts:
        return found
    try:
        tree = json_of(texts["json"])
    except UnreadableError as error:
        raise DataError(f"shard {shard}: the .json of sample '{key}' {error}") from error
    if isinstance(tree, int | str) and not found:  # webdataset writes a bare number as well.
        return {"cls": str(tree)}
    if not isinstance(tree, dict):
        raise DataError(f"shard {shard}: the .json of sample '{key}' is no object with entries")
    plain = {str(name): str(value) for name, value in tree.items() if isinstance(value, str | int | float)}
    return {**plain, **found}
