"""Sound bytes made hostile: flipped, cut, spliced, and changed by somebody who knows the format.

Every change is drawn from a seeded generator, so that an input is known by its reader, its seed and its number.
"""

from __future__ import annotations

import csv
import io
import json
import random
import struct
import zlib
from collections.abc import Callable, Sequence
from typing import Any

Change = Callable[[random.Random, bytes], bytes]

NUMBERS = (
    0,
    1,
    2,
    127,
    128,
    255,
    256,
    32767,
    32768,
    65535,
    2**31 - 1,
    2**31,
    2**32 - 1,
    2**63 - 1,
    2**64 - 1,
)
# Raw JSON and YAML in the place of a value.
VALUES = (
    "null", "true", "-1", "0", "1", "2", "1e999", "-1e999", "1.0e+999", "NaN", "Infinity", ".inf", ".nan", "1e308",
    "9" * 30, "9" * 400, "9" * 5000, "0x" + "f" * 5000, '""', '" "', '"\\u0000"', '"\\ud800"', '"\\ud83d\\ude00"',
    '"../../etc/passwd"', '"/etc/passwd"', '"' + "A" * 100_000 + '"', '"\\n\\r\\t"', '"=cmd()"', "[]", "{}", "[[]]", "[null]",
    "[1, 2, 3]", '{"a": 1}', '{"a": 1, "a": 2}', "[" * 100_000, "[" * 60 + "]" * 60, '{"a":' * 3000 + "1" + "}" * 3000,
    '"x.py"', '"train"', "'", '"', "\\", "\0", "\x1b[2J", "é", "\u2028", "2001-01-01", "2001-99-99 00:00:00", "12:30:45",
    "1:1:1:1:1:1:1:1:1:1:1:1", "0o7", "0b_", "0x_", "1_000", "._", "+", "~", "yes", "<<", "=", "!!python/object/apply:os.system [ls]",
    "!!binary x", "!!set {a}", "!!int foo", "!!bool foo", "!!float x", "!!null 1", "!!timestamp x", "!!map [a]", "!!str [a]", "!x y",
    "&a [*a]", "*a", "&a {<<: *a}", "? a", "- - - a", "{a: b, c}", "%YAML 9.9", "---", "...", '"\\UFFFFFFFF"', '"\\xff"',
)  # fmt: skip
TOKENS = tuple(
    token.encode("utf-8", "surrogatepass")
    for token in (*VALUES, "\r", "\n", ",", ";", "\t", "|", '""', "\ufeff", "\ud800", "\r\n\r\n", "|" * 3000, "\0" * 8)
)  # fmt: skip


def hostile(random_: random.Random, seeds: Sequence[bytes], changes: Sequence[Change]) -> bytes:
    """Returns one of the sound inputs after one to four changes."""
    data = random_.choice(seeds)
    for _ in range(random_.choice((1, 1, 1, 2, 3, 4))):
        data = random_.choice((*changes, *BYTES))(random_, data) if data else random_.choice(seeds)
    if random_.random() < 0.03:
        data = spliced(random_, data, random_.choice(seeds))
    return data


def place(random_: random.Random, data: bytes) -> int:
    """A place in the bytes; the first of them, where headers are, as often as all others."""
    most = len(data) if random_.random() < 0.5 else min(len(data), 400)
    return random_.randrange(most) if most else 0


def flipped(random_: random.Random, data: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(random_.choice((1, 1, 2, 4, 16))):
        changed[place(random_, data)] ^= 1 << random_.randrange(8)
    return bytes(changed)


def cut(random_: random.Random, data: bytes) -> bytes:
    return data[: place(random_, data)]


def without_part(random_: random.Random, data: bytes) -> bytes:
    start = place(random_, data)
    return data[:start] + data[start + random_.choice((1, 2, 4, 8, 64, 1000)) :]


def part_again(random_: random.Random, data: bytes) -> bytes:
    start = place(random_, data)
    part = data[start : start + random_.choice((1, 2, 8, 64))]
    return data[:start] + part * random_.choice((2, 3, 500)) + data[start:]


def with_number(random_: random.Random, data: bytes) -> bytes:
    start, width = place(random_, data), random_.choice((1, 2, 4, 8))
    value = random_.choice(NUMBERS) % 2 ** (8 * width)
    return data[:start] + value.to_bytes(width, random_.choice(("little", "big"))) + data[start + width :]


def with_token(random_: random.Random, data: bytes) -> bytes:
    start = place(random_, data)
    return data[:start] + random_.choice(TOKENS) + data[start + random_.choice((0, 0, 1, 4)) :]


def random_bytes(random_: random.Random, data: bytes) -> bytes:
    start = place(random_, data)
    part = random_.randbytes(random_.choice((1, 4, 32, 300)))
    return data[:start] + part + data[start + len(part) :]


def spliced(random_: random.Random, data: bytes, other: bytes) -> bytes:
    return data[: place(random_, data)] + other[place(random_, other) :]


BYTES: tuple[Change, ...] = (flipped, cut, without_part, part_again, with_number, with_token, random_bytes)


# Trees of JSON and YAML.


def tree_changed(tree: Any, random_: random.Random) -> str:
    """Returns a tree as JSON, one of its values or names replaced by something else."""
    places = list(_places(tree))
    if not places:
        return random_.choice(VALUES)
    holder, key = random_.choice(places)
    what = random_.random()
    if what < 0.6:
        raw, holder[key] = random_.choice(VALUES), "\x01"
    elif what < 0.7 and isinstance(holder, dict):
        raw = ""
        del holder[key]
    elif what < 0.8 and isinstance(holder, dict):
        raw, holder[random_.choice(("", "x", "a.b", "size", "9" * 300, "\u00e9"))] = "", holder[key]
    elif what < 0.9:
        raw, (other, at) = "", random_.choice(places)
        holder[key] = json.loads(json.dumps(other[at] if _has(other, at) else None))
    else:
        raw, holder[key] = "", [holder[key]] * random_.choice((0, 1, 2, 1000))
    return json.dumps(tree).replace('"\\u0001"', raw)


def _has(holder: Any, key: Any) -> bool:
    return key in holder if isinstance(holder, dict) else key < len(holder)


def _places(tree: Any) -> Any:
    """Every value inside of a tree, as what holds it and where."""
    pairs = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, value in list(pairs):
        yield tree, key
        yield from _places(value)


def json_changed(random_: random.Random, data: bytes) -> bytes:
    try:
        tree = json.loads(data)
    except (ValueError, RecursionError):
        return with_token(random_, data)
    return tree_changed(tree, random_).encode("utf-8", "surrogatepass")


def line_changed(random_: random.Random, data: bytes) -> bytes:
    """A line of JSON objects, one of them changed."""
    lines = data.split(b"\n")
    number = random_.randrange(len(lines))
    lines[number] = json_changed(random_, lines[number] or b"{}")
    return b"\n".join(lines)


def yaml_changed(random_: random.Random, data: bytes) -> bytes:
    """A line `name: value`, its value another one."""
    lines = data.split(b"\n")
    number = random_.randrange(len(lines))
    name = lines[number].split(b":")[0]
    lines[number] = name + b": " + random_.choice(VALUES).encode("utf-8", "surrogatepass")
    return b"\n".join(lines)


# Tables.

CELLS = ("", " ", "-1", "nan", "NaN", "inf", "1e999", "\0", "\ud800", "=1+1", "@x", "../x.png", "/x.png", "x\0y", "train", "test", "val",
         "Train", "\ufeff", "\u202e", "a\nb", "a\r\nb", "9" * 400, "A" * 140_000, '"', "'", ",", "p_", "id", "label")  # fmt: skip


def cell_changed(random_: random.Random, data: bytes) -> bytes:
    """A table with a cell, a row or a column changed."""
    try:
        rows = list(csv.reader(io.StringIO(data.decode(), newline="")))
    except (csv.Error, UnicodeDecodeError):
        return with_token(random_, data)
    if not rows or not rows[0]:
        return with_token(random_, data)
    _change_rows(random_, rows)
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode("utf-8", "surrogatepass")


def _change_rows(random_: random.Random, rows: list[list[str]]) -> None:
    row, column, what = random_.randrange(len(rows)), random_.randrange(len(rows[0])), random_.randrange(9)
    if what < 5 and column < len(rows[row]):
        rows[row][column] = random_.choice(CELLS)
    elif what == 5:
        rows[row] = rows[row] * random_.choice((0, 2, 3))
    elif what == 6:
        rows.insert(row, list(random_.choice(rows)))
    elif what == 7:
        for cells in rows:
            cells[column : column + 1] = random_.choice(([], cells[column : column + 1] * 2))
    else:
        other = random_.randrange(len(rows))
        rows[row], rows[other] = rows[other], rows[row]


# Images and other containers.


def png_changed(random_: random.Random, data: bytes) -> bytes:
    """A PNG with a chunk changed and its checksum made right, so that the change is read."""
    chunks, start = [], 8
    while start + 12 <= len(data) and len(chunks) < 1000:
        (length,) = struct.unpack_from(">I", data, start)
        chunks.append((data[start + 4 : start + 8], data[start + 8 : start + 8 + length]))
        start += 12 + length
    if not chunks:
        return flipped(random_, data)
    number = random_.randrange(len(chunks))
    kind, body = chunks[number]
    body = random_.choice((flipped, with_number, random_bytes, cut))(random_, body) if body else b"x"
    chunks[number] = (
        random_.choice((kind, kind, kind, b"tRNS", b"acTL", b"eXIf", b"iCCP", b"zTXt", b"PLTE")),
        body,
    )
    if random_.random() < 0.1:
        chunks.insert(number, chunks[number])
    parts = (
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in chunks
    )
    return data[:8] + b"".join(parts)


def tiff_changed(random_: random.Random, data: bytes) -> bytes:
    """A TIFF with an entry of its first directory changed."""
    order = "<" if data[:2] == b"II" else ">"
    if len(data) < 16:
        return flipped(random_, data)
    start = struct.unpack_from(order + "I", data, 4)[0]
    if start + 2 > len(data):
        return flipped(random_, data)
    count = struct.unpack_from(order + "H", data, start)[0]
    entry = start + 2 + 12 * random_.randrange(max(1, count))
    if entry + 12 > len(data):
        return flipped(random_, data)
    at, width = random_.choice(((0, 2), (2, 2), (4, 4), (8, 4), (8, 4), (8, 2)))
    values = (
        *NUMBERS,
        3,
        4,
        5,
        6,
        7,
        8,
        16,
        32,
        64,
        258,
        259,
        262,
        273,
        277,
        279,
        322,
        323,
        324,
        32773,
        34925,
        50000,
        10_000,
        17_000,
    )
    value = random_.choice(values) % 2 ** (8 * width)
    return (
        data[: entry + at]
        + value.to_bytes(width, "little" if order == "<" else "big")
        + data[entry + at + width :]
    )


def header_changed(random_: random.Random, data: bytes) -> bytes:
    """A safetensors file with its header of JSON changed, and the header's length made right, or not."""
    length = int.from_bytes(data[:8], "little")
    header = json_changed(random_, data[8 : 8 + length])
    said = len(header) if random_.random() < 0.9 else random_.choice(NUMBERS)
    return (said % 2**64).to_bytes(8, "little") + header + data[8 + length :]
