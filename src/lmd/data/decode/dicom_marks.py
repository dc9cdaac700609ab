"""Whether a file is DICOM, told by its first bytes: the mark after a preamble, or tags without one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

_SHORT_FORMS = frozenset(b"AE AS AT CS DA DS DT FL FD IS LO LT PN SH SL SS ST TM UI UL US".split())
_LONG_FORMS = frozenset(b"OB OD OF OL OV OW SQ SV UC UN UR UT UV".split())
_FIRST_GROUPS = (0x0002, 0x0008)  # With which files without a preamble begin.


def is_dicom(head: bytes) -> bool:
    """Whether a file that begins so is DICOM; 132 bytes are enough, and more are of no harm.

    >>> is_dicom(bytes(128) + b"DICM")
    True
    """
    return head[128:132] == b"DICM" or is_bare(head)


def is_bare(head: bytes) -> bool:
    """Whether a file begins with DICOM tags at once: several that are sound, in rising order."""
    if head[128:132] == b"DICM" or head[:1] not in (b"\0", b"\x02", b"\x08"):
        return False
    explicit = any(_count(head, order, explicit=True) >= 2 for order in ("little", "big"))
    return explicit or _count(head, "little", explicit=False) >= 3


def _count(head: bytes, order: Literal["little", "big"], *, explicit: bool) -> int:
    """How many sound tags a file begins with, in rising order."""
    last, count = (0, -1), 0
    for tag, sound in _tags(head, order, explicit=explicit):
        if not sound or tag <= last or (count == 0 and tag[0] not in _FIRST_GROUPS):
            break
        last, count = tag, count + 1
    return count


def _tags(
    head: bytes, order: Literal["little", "big"], *, explicit: bool
) -> Iterator[tuple[tuple[int, int], bool]]:
    """The tags that begin within `head`, each with whether its form and length are possible."""
    place = 0
    while place + 12 <= len(head):
        tag = (
            int.from_bytes(head[place : place + 2], order),
            int.from_bytes(head[place + 2 : place + 4], order),
        )
        form = head[place + 4 : place + 6]
        start = place + (12 if explicit and form in _LONG_FORMS else 8)
        length = int.from_bytes(
            head[place + (6 if explicit and start == place + 8 else start - place - 4) : start], order
        )
        yield tag, (not explicit or form in _SHORT_FORMS | _LONG_FORMS) and length < 2**16 and length % 2 == 0
        place = start + length
