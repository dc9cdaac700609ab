"""What a reader has to know before the first number: it stands at the top of all that an experiment shows."""

from __future__ import annotations

from lmd import methods
from lmd.experiments.given import PHANTOM
from lmd.experiments.heading import all_theirs, block_title, theirs
from lmd.experiments.judged import FEWEST_IMAGES, FEWEST_SEEDS, images_of
from lmd.experiments.request import Job
from lmd.experiments.runs import settings_of_row
from lmd.text import FEW, FEW_NOTE, image_count

# Of the settings that all methods share, those that make another protocol than the paper's, in words.
_PROTOCOL = {
    "encoder": "encoder {ours}, not the paper's {theirs}",
    "pretrained": "an encoder that does not begin with ImageNet weights, as the paper's does",
    "size": "images of {ours} pixels, not the paper's {theirs}",
    "batch": "batches of {ours}, not the paper's {theirs}",
}


def caveats(job: Job) -> list[str]:
    """Returns one sentence for each: whose data, which protocol, how many seeds, how few images."""
    return [*_of_data(job), *_of_protocol(job), *_of_weights(job), *_of_seeds(job), *_of_images(job)]


def _of_data(job: Job) -> list[str]:
    found: list[str] = []
    if not all_theirs(job):
        found.append(_other_data(job))
    if any(given.first.info.source == PHANTOM for given in job.data.values()):
        found.append("Phantoms are drawn images, not real patients: they show that the machinery works.")
    for block in job.experiment.blocks:
        given = job.data.get(block.key)
        if given is not None and theirs(job, block) and given.first.info.recipe.get("split") != "paper":
            found.append(
                f"{block.title}: the training counts are the paper's, but this is not the published split."
            )
    return found


def _other_data(job: Job) -> str:
    paper = job.experiment.paper
    if not paper.data:
        return f"The paper does not say which data {paper.label.lower()} is of."
    numbers = f" Its numbers are not shown; 'lmd paper {paper.name}' prints them." if paper.is_table else ""
    return (
        f"These are not known to be the paper's data: its {paper.label.lower()} is of {paper.data}.{numbers}"
    )


def _of_protocol(job: Job) -> list[str]:
    """Where the schedule, the images or the encoder are not the paper's."""
    found: list[str] = []
    if job.request.budget != "paper":
        found.append(f"Budget '{job.request.budget}': this is not the paper's schedule.")
    differ = _differing(job)
    words = [_PROTOCOL[name].format(ours=ours, theirs=paper) for name, (ours, paper) in differ.items()]
    if words:
        found.append(f"Other than in the paper: {'; '.join(words)}.")
    more = [text for text in job.request.overrides if text.partition("=")[0] not in differ]
    if more:
        found.append(f"Set by --set, so that this is not the paper's protocol: {', '.join(more)}.")
    return found


def _differing(job: Job) -> dict[str, tuple[object, object]]:
    """Of the common settings those that are not the paper's, with both values."""
    row = next((row for row in job.rows if row.reference), job.rows[0])
    block = next(iter(job.data))
    ours = settings_of_row(job, row, block, seed=0)
    paper = methods.settings_of(row.method, "paper", row.settings)
    both = {name: (getattr(ours, name), getattr(paper, name)) for name in _PROTOCOL}
    return {name: values for name, values in both.items() if values[0] != values[1]}


def _of_weights(job: Job) -> list[str]:
    request = job.request
    if request.weights is None:
        return []
    found = [f"The encoder begins with {request.weights}, and not with the paper's ImageNet weights."]
    if request.partial_weights:
        found.append("Partial weights: what the file of weights lacks began at random (--partial-weights).")
    return found


def _of_seeds(job: Job) -> list[str]:
    if len(job.seeds) >= FEWEST_SEEDS:
        return []
    return [
        "One seed: the intervals leave out the spread of trainings; no row is said to be ahead of another."
    ]


def _of_images(job: Job) -> list[str]:
    return [text for block in job.experiment.blocks if (text := _few(job, block.key)) is not None]


def _few(job: Job, key: str) -> str | None:
    """Which metrics of a block rest on too few images; null where all rest on enough."""
    if key not in job.data:
        return None
    behind = images_of(job.experiment, job.data[key])
    titles = {metric.key: metric.title for metric in job.experiment.metrics}
    few = [
        f"{titles[name]} ({image_count(number)})" for name, number in behind.items() if number < FEWEST_IMAGES
    ]
    if not few:
        return None
    block = next(block for block in job.experiment.blocks if block.key == key)
    where = f"{block_title(job, block)}: " if len(job.experiment.blocks) > 1 else ""
    mark = f" ({FEW_NOTE}.)" if any(0 < number < FEW for number in behind.values()) else ""
    return (
        f"{where}fewer than {FEWEST_IMAGES} test images behind {', '.join(few)}; a mean over classes counts "
        f"those of its smallest band. No row is said to be ahead of another there.{mark}"
    )
