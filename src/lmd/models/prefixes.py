"""What trainers put before the names of an encoder's tensors: 'module.', 'net.', 'student.', '0.'."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable

from lmd.text import numbered

# Seen where a file has the names of a network's authors, which timm translates afterwards.
_USUAL = ("module.", "model.", "encoder.", "backbone.", "state_dict.", "_orig_mod.")
# What classifiers are called that trainers put beside an encoder, which has a prefix then.
_HEADS = ("head", "heads", "fc", "classifier", "cls_head", "last_linear", "linear")
_RUN = ("encoder.", "classifier")  # What lmd itself writes; such a file is named by its run, --weights RUN.


def prefix_of(names: Collection[str], expected: Collection[str]) -> str:
    """Returns what stands before most names that are an encoder's; "" where they stand alone or nowhere.

    >>> prefix_of(["net.conv1.weight", "net.bn1.bias", "queue"], ["conv1.weight", "bn1.bias"])
    'net.'
    """
    found: Counter[str] = Counter()
    for name in names:
        parts = name.split(".")
        ends = ((".".join(parts[:at]), ".".join(parts[at:])) for at in range(len(parts)))
        found.update(f"{start}." if start else "" for start, end in ends if end in expected)
    return max(found, key=lambda prefix: (found[prefix], -len(prefix)), default="")


def left_out(names: Collection[str], expected: Collection[str], classifier: Collection[str]) -> str:
    """Returns what to leave out before the names of an encoder's tensors; "" where nothing helps.

    It stands before all names, or before all but a classifier's. `classifier` are names of the encoder's own.
    """
    prefix = prefix_of(names, expected)
    inside = [name.removeprefix(prefix) for name in names if name.startswith(prefix)]
    others = [name for name in names if not name.startswith(prefix)]
    fits = all(name in expected or name in classifier for name in inside)
    if prefix and (not others or (fits and _is_head(prefix, others))):
        return prefix
    return _usual(names, expected)


def _is_head(prefix: str, others: Iterable[str]) -> bool:
    """Whether what lies beside the encoder is a classifier, and the whole no run of lmd."""
    first = {name.partition(".")[0] for name in others}
    return first <= set(_HEADS) and (prefix, *first) != _RUN


def _usual(names: Collection[str], expected: Collection[str]) -> str:
    """Usual prefixes of all names, one after another."""
    prefix = ""
    while names and not any(name.removeprefix(prefix) in expected for name in names):
        more = next((one for one in _USUAL if all(name.startswith(prefix + one) for name in names)), None)
        if more is None:
            break
        prefix += more
    return prefix


def only_prefix(names: Collection[str], expected: Collection[str]) -> str:
    """Returns the end of a refusal where a part of a file is the whole encoder; "" where none is."""
    prefix = prefix_of(names, expected)
    inside = {name.removeprefix(prefix) for name in names if name.startswith(prefix)}
    needed = {name for name in expected if not name.endswith("num_batches_tracked")}
    others = [name for name in names if not name.startswith(prefix)]
    if not prefix or not needed <= inside or not others:
        return ""
    return (
        f"; all of the encoder's are there under '{prefix}', but "
        f"{numbered(len(others), 'other is', 'others are')} too, such as "
        f"{others[0]}: keep those under '{prefix}' alone"
    )
