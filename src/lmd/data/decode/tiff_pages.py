"""The pages of a TIFF file as their tags describe them. Which of them are read by whom: tiff.py."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property
from typing import BinaryIO, Literal

import numpy as np

# Little and big endian, of 32 and of 64 bits.
MARKS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
PALETTE, YCBCR, LAB = 3, 6, 8  # PhotometricInterpretation
UNSIGNED, SIGNED, REAL = 1, 2, 3  # SampleFormat
_UNDEFINED = {0, 4}  # SampleFormats that say nothing: up to 16 bits are taken as unsigned.
_MOST_PAGES = 100_000
_MOST_VALUES = 2**23  # Of all tags of all pages: pages may share theirs, and a small file have billions.
Order = Literal["<", ">"]
_BYTES: dict[Order, Literal["little", "big"]] = {"<": "little", ">": "big"}
_NUMBERS = {
    1: "u1",
    2: "u1",
    3: "u2",
    4: "u4",
    6: "i1",
    8: "i2",
    9: "i4",
    13: "u4",
    16: "u8",
    18: "u8",
    5: "u8",
}
# The tags that are read where they have many values: bits, strips, palette, tiles, kinds, MetaMorph's planes.
_LONG = {258, 270, 273, 279, 320, 324, 325, 338, 339, 530, 33629}


def is_tiff(head: bytes) -> bool:
    """Whether a file that begins so is TIFF."""
    return head[:4] in MARKS


@dataclass(frozen=True)
class Page:
    """A page of a TIFF file: its number, its tags, the order of its bytes, whether it is BigTIFF."""

    number: int
    tags: dict[int, tuple[int, ...]]
    order: Order
    large: bool

    def values(self, tag: int, default: tuple[int, ...] = ()) -> tuple[int, ...]:
        """Returns the values of a tag."""
        return self.tags.get(tag) or default

    def value(self, tag: int, default: int) -> int:
        """Returns the (first) value of a tag."""
        return self.values(tag, (default,))[0]

    @cached_property
    def width(self) -> int:
        """Columns."""
        return self.value(256, 0)

    @cached_property
    def height(self) -> int:
        """Rows, as they are stored."""
        return self.value(257, 0)

    @cached_property
    def compression(self) -> int:
        """The number of the compression."""
        return self.value(259, 1)

    @cached_property
    def photometric(self) -> int:
        """What the samples mean: 0 grey, white first, 1 grey, 2 RGB, 3 palette, 5 CMYK, 6 YCbCr, 8 CIELab."""
        return self.value(262, -1)

    @cached_property
    def samples(self) -> int:
        """Samples of a pixel, transparency included."""
        return self.value(277, 3 if self.compression == 6 and self.photometric in (2, YCBCR) else 1)

    @cached_property
    def bits(self) -> int:
        """Bits of a sample.

        Raises:
            ValueError: the samples of a pixel differ in their bits.
        """
        found = set(self.values(258, (1,))[: self.samples])
        if len(found) > 1:
            raise ValueError(f"it is a TIFF whose colours have different numbers of bits ({sorted(found)})")
        return found.pop()

    @cached_property
    def kind(self) -> int:
        """What a sample is: 1 a whole number, 2 one with a sign, 3 a real number, 5 and 6 complex.

        Raises:
            ValueError: the samples of a pixel are of different kinds.
        """
        given = self.values(339, (1,))[: self.samples]
        found = {UNSIGNED if kind in _UNDEFINED else kind for kind in given}
        if len(found) > 1:
            raise ValueError("it is a TIFF whose colours are numbers of different kinds")
        if set(given) & _UNDEFINED and self.bits > 16:  # They may be real numbers as well.
            raise ValueError(f"it is a {self.bits}-bit TIFF that does not say what its numbers are")
        return found.pop()

    @cached_property
    def planar(self) -> bool:
        """Whether each colour is stored for itself."""
        return self.value(284, 1) == 2 and self.samples > 1

    @cached_property
    def extra(self) -> tuple[int, ...]:
        """What the samples beyond the colours are: 0 anything, 1 and 2 transparency, premultiplied or not."""
        if self.photometric == 2 and self.samples == 4 and self.values(338, (999,))[0] == 999:
            return (2,)  # Some programs do not say it, or say it in their own way.
        return self.values(338)

    @cached_property
    def words(self) -> str:
        """The page in words, for a message."""
        kinds = {UNSIGNED: "", SIGNED: "signed ", REAL: "real-valued "}
        colours = {
            0: "grey",
            1: "grey",
            2: "RGB",
            PALETTE: "palette",
            5: "CMYK",
            YCBCR: "YCbCr",
            LAB: "CIELab",
        }
        layout = "planar " if self.planar else ""
        kind = kinds.get(self.kind, "complex-valued ")
        words = f"{layout}{kind}{self.bits}-bit {colours.get(self.photometric, 'unusual')} TIFF"
        return f"{'an' if words.startswith(('8', '11-', '18-')) else 'a'} {words}"


def pages(file: BinaryIO) -> list[Page]:
    """Returns the pages of a file that show its pictures; previews and masks count where there is no other.

    Raises:
        ValueError: the file has no page, or ends before the first is described.
    """
    layout = _Layout.of(file)
    found: list[Page] = []
    seen: set[int] = set()
    values = 0
    place = layout.first
    while (
        place and place not in seen and len(found) < _MOST_PAGES
    ):  # The last page may lead back to the first.
        seen.add(place)
        tags, place = layout.tags(file, place)
        if not tags:
            break
        values += sum(map(len, tags.values()))
        if values > _MOST_VALUES:
            raise ValueError(f"it is a damaged TIFF: its tags have more than {_MOST_VALUES:,} values")
        found.append(Page(len(found), tags, layout.order, layout.large))
    if not found:
        raise ValueError("it ends early: what describes its first page is missing")
    return [page for page in found if not page.value(254, 0) & 0b101] or found[:1]  # 1 a preview, 4 a mask.


@dataclass(frozen=True)
class _Layout:
    """Where a file has its tags, and in which form."""

    order: Order
    large: bool  # BigTIFF: 64 bits.
    first: int
    end: int  # Bytes of the file.

    @classmethod
    def of(cls, file: BinaryIO) -> _Layout:
        """Reads the first bytes of a file."""
        file.seek(0)
        head = file.read(16)
        order: Order = "<" if head[:2] == b"II" else ">"
        large = b"+" in head[2:4]
        first = int.from_bytes(head[8:16] if large else head[4:8], _BYTES[order])
        return cls(order, large, first, os.fstat(file.fileno()).st_size)

    def tags(self, file: BinaryIO, place: int) -> tuple[dict[int, tuple[int, ...]], int]:
        """The tags of a page, and where the next one is described; none where the file ends before."""
        length, size, width = (8, 20, 8) if self.large else (2, 12, 4)
        file.seek(min(place, self.end))
        count = self._number(file.read(length))
        table = file.read(count * size if count <= 4096 else 0)
        entries = [table[start : start + size] for start in range(0, len(table) - size + 1, size)]
        following = self._number(file.read(width))
        return {self._number(entry[:2]): self._values(file, entry) for entry in entries}, following

    def _values(self, file: BinaryIO, entry: bytes) -> tuple[int, ...]:
        """The values of a tag; none of a kind that no tag here has, and none that are beyond the end."""
        kind = _NUMBERS.get(self._number(entry[2:4]))
        half = (len(entry) - 4) // 2
        count, inside = self._number(entry[4 : 4 + half]), entry[4 + half :]
        if kind is None:
            return ()
        type_ = np.dtype(kind).newbyteorder(self.order)
        if count * type_.itemsize > len(inside):
            place = self._number(inside)
            if place + count * type_.itemsize > self.end or self._number(entry[:2]) not in _LONG:
                return ()
            file.seek(place)
            inside = file.read(count * type_.itemsize)
        return tuple(np.frombuffer(inside, type_, count).tolist())

    def _number(self, data: bytes) -> int:
        return int.from_bytes(data, _BYTES[self.order])
