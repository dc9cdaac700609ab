"""What an export says of itself: in its metadata, in export.json and in README.md."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lmd.deployment.export.agreement import Agreement
from lmd.deployment.export.loss import Loss, signed
from lmd.model_card import ModelCard
from lmd.settings import Settings
from lmd.text import markdown
from lmd.version import __version__

FORMAT = 1
NOTICE = "For research. Not a medical device: it must not decide about a patient."


class Export(Settings):
    """What export.json says of an export."""

    format: int = FORMAT
    notice: str = NOTICE
    lmd: str = __version__
    kind: str
    models: int
    """how many networks answer together: more than one of a run on folds"""
    weights_sha256: list[str]
    """of the model.safetensors of each network"""
    classes: list[str]
    """in the order of p and d"""
    input: dict[str, Any]
    agreement: Agreement
    variants: dict[str, Loss]
    """by the name of their file"""
    files: dict[str, str]
    """SHA-256 of each file beside this one"""
    card: dict[str, Any]
    """the model card of the run"""


def input_of(card: ModelCard) -> dict[str, Any]:
    """Returns what the images have to be."""
    made = card.preprocessing
    return {
        "name": "images",
        "type": "uint8",
        "shape": ["N", 3, made.size, made.size],
        "colours": "RGB, 0 to 255, not normalised",
        "crop": made.crop,
        "resize": "bilinear, as Pillow does",
    }


def metadata(card: ModelCard, weights: Sequence[str]) -> dict[str, Any]:
    """Returns what identifies a model, as it stands in the exported file itself."""
    return {
        "format": str(FORMAT),
        "lmd": __version__,
        "notice": NOTICE,
        "classes": card.classes,
        "input": input_of(card),
        "weights_sha256": list(weights),
        "card": card.model_dump(mode="json"),
    }


_HOW = {
    "onnx": [
        "```python",
        "import onnxruntime",
        "",
        'session = onnxruntime.InferenceSession("model.onnx")',
        'p, d = session.run(["p", "d"], {"images": images})  # uint8 [N, 3, S, S]',
        "```",
    ],
    "torch": [
        "```python",
        "from load import load  # load.py of this folder",
        "",
        'model, about = load("model.pt2")',
        "p, d = model(images)  # a uint8 tensor [N, 3, S, S]",
        "```",
        "",
        "`load` refuses a file that could run code. `torch.export.load` does not: use it for files of your "
        "own alone.",
    ],
    "monai": [
        "    python -m monai.bundle run --config_file configs/inference.json --bundle_root . --images FOLDER",
        "",
        "It writes `answers.csv`.",
    ],
}


def readme(export: Export, card: ModelCard, names: Mapping[str, str]) -> str:
    """Returns README.md; `names` says of each file what it is."""
    parts = [
        _head(export, card, "MODEL_CARD.md" in names),
        _files(names),
        _use(export, card),
        _verified(export),
    ]
    parts += [_variant(name, loss) for name, loss in export.variants.items()]
    return "\n\n".join("\n".join(lines) for lines in [*parts, _classes(card)]) + "\n"


def _head(export: Export, card: ModelCard, described: bool) -> list[str]:
    more = " MODEL_CARD.md says how it was trained and measured." if described else ""
    several = f": the mean of {export.models} models" if export.models > 1 else ""
    return [
        f"# {markdown(card.method)} on {markdown(card.dataset.title)}{several}",
        "",
        NOTICE,
        "",
        f"Written by `lmd export` {export.lmd}.{more}",
    ]


def _files(names: Mapping[str, str]) -> list[str]:
    rows = [f"| `{name}` | {what} |" for name, what in names.items()]
    return ["| file | what it is |", "|---|---|", *rows]


def _use(export: Export, card: ModelCard) -> list[str]:
    size, crop = card.preprocessing.size, card.preprocessing.crop
    cut = "cut to its middle square and resized" if crop == "center" else "squashed"
    return [
        "## How to use it",
        "",
        *_HOW[export.kind],
        "",
        f"- `images`: RGB, uint8, {size} x {size} pixels, not normalised. An image is turned as its EXIF tag "
        f"says, and {cut} with Pillow's bilinear filter. The number of images is free.",
        f"- `p`: probabilities to rank by. Temperature {card.outputs.temperature:.4g}.",
        f"- `d`: probabilities to decide by: take the class with the largest. {_shift(card)}",
    ]


def _shift(card: ModelCard) -> str:
    if not card.outputs.differ:
        return "They are equal to p: the decision is not shifted."
    return f"They are shifted to rare classes, tau {card.outputs.tau:g}."


def _verified(export: Export) -> list[str]:
    found = export.agreement
    lines = ["## Verified", "", f"Before it was written it was {found.line()} in a probability."]
    if found.precision != "fp32":
        lines += [
            "",
            f"The export computes in fp32. `lmd predict` runs this model in {found.precision}: there "
            f"probabilities differ by up to {found.of_predict:.1e} from those of the export.",
        ]
    return lines


def _variant(name: str, loss: Loss) -> list[str]:
    rows = [
        f"| {_named(key)} | {_three(one.export)} | {_three(one.variant)} | {signed(one)} |"
        for key, one in loss.metrics.items()
    ]
    return [
        f"## {name}",
        "",
        f"{loss.bytes / 1e6:.1f} MB. Measured on {loss.n:,} {loss.images}. It decides otherwise for "
        f"{loss.other_decisions:,} of them. The largest difference of a probability is {loss.largest:.2g}.",
        "",
        "| | export | this variant | difference, 95% interval |",
        "|---|---|---|---|",
        *rows,
    ]


def _named(key: str) -> str:
    return "balanced accuracy" if key == "bacc" else f"recall of {markdown(key)} classes"


def _three(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.3f}"


def _classes(card: ModelCard) -> list[str]:
    rows = zip(card.classes, card.training_counts, strict=True)
    return [
        "## Classes, in the order of p and d",
        "",
        "| number | class | band | training images |",
        "|---|---|---|---|",
        *(
            f"| {number} | {markdown(name)} | {markdown(card.band_of.get(name, ''))} | {count} |"
            for number, (name, count) in enumerate(rows)
        ),
    ]
