"""The pictures of a report: worst mistakes with maps and nearest training images, views, and t-SNE."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch

from lmd.data.dataset.manifest import Dataset
from lmd.data.feed.scale import clean
from lmd.data.feed.views import view
from lmd.evaluation.explain import Maps, find_maps, grad_cam, nearest, spread_over_classes
from lmd.evaluation.plane import tsne
from lmd.reporting.class_figures import features_in_the_plane
from lmd.reporting.figures import Figure
from lmd.reporting.order import class_order
from lmd.reporting.scene import SIDE, Images, Scene, scene_of
from lmd.reporting.thumbnails import tinted, uri_of
from lmd.run import RunFolder

_WORST, _NEAREST = 12, 3
_WRONG, _ALL_WRONG, _WRONG_CLASSES = 6, 120, 60
_IN_PLANE, _KNOWN = 150, 300  # Images of each class in the t-SNE, and of those that may be nearest.
_VIEWS = {"as it is": ("clean", 0), "weak": ("weak", 0)} | {
    f"strong {n + 1}": ("strong", n) for n in range(3)
}
_RAW = ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))


class Shown(NamedTuple):
    """A picture with its words; the address is empty where its file cannot be read."""

    uri: str
    alt: str
    caption: str


class Case(NamedTuple):
    """An image that was taken for another class, with what is to be seen of it."""

    id: str
    words: str
    pictures: list[Shown]


class WrongOf(NamedTuple):
    """The mistakes of a class: how many of how many, and those made most surely."""

    name: str
    wrong: int
    of: int
    pictures: list[Shown]


class Views(NamedTuple):
    """A training image in its views."""

    name: str
    pictures: list[Shown]


class Pictures(NamedTuple):
    """All pictures of a report."""

    of: str
    """the split, and of another data set than the run's own its title"""
    top: list[Case]
    maps: str
    """what the maps are, or why there are none"""
    shift: str
    """which probabilities stand beside the pictures, where there are two kinds"""
    wrong: list[WrongOf]
    views: list[Views]
    plane: Figure | None


def pictures_of(folder: RunFolder, dataset: Dataset, split: str, other_data: bool = False) -> Pictures:
    """Returns the pictures of a run's answers to a split of a data set.

    With `other_data` the run was trained on another data set: nearest images and views are of that one, where
    it still lies where it lay.

    Raises:
        CheckpointError: the run has no finished model.
        DataError: the split was not predicted, or on other images.
    """
    of = f"{split} of {dataset.info.title}" if other_data else split
    return pictures_from([scene_of(folder, dataset, split, other_data)], of)


def pictures_from(scenes: Sequence[Scene], of: str) -> Pictures:
    """Returns the pictures of one model, or of several that have answered other images each.

    `of` is what the images are, in words. The features of several models cannot be drawn together.
    """
    first = scenes[0]
    maps = [find_maps(one.model.network, one.model.card.preprocessing.size) for one in scenes]
    worst, views = _worst(scenes, maps), _views(first)
    plane = _plane(first) if len(scenes) == 1 else None
    return Pictures(of, worst, map_words(maps[0]), _shift_words(scenes), _wrong(scenes), views, plane)


def _shift_words(scenes: Sequence[Scene]) -> str:
    taus = list(dict.fromkeys(f"{scene.model.card.outputs.tau:.4g}" for scene in scenes))
    if taus == ["0"]:
        return ""
    each = " (of each fold its own)" if len(taus) > 1 else ""
    named = ", ".join(taus)
    return f"Probabilities are those of the decision, shifted to rare classes by tau = {named}{each}."


def map_words(maps: Maps | str) -> str:
    """Returns what the maps are, or why there are none."""
    if isinstance(maps, str):
        return f"There are no maps: {maps}."
    return (
        f"The maps show where the score of a class comes from (Grad-CAM on {maps.module}, {maps.side} x "
        f"{maps.side} places): bright places speak for it."
    )


def _worst(scenes: Sequence[Scene], maps: Sequence[Maps | str]) -> list[Case]:
    """The wrong answers with the largest loss over all scenes."""
    found: list[tuple[float, int, int]] = []
    for number, scene in enumerate(scenes):
        labels = scene.images.labels
        rows = np.flatnonzero(scene.predicted != labels)
        found += [(float(scene.probabilities[row, labels[row]]), number, int(row)) for row in rows]
    chosen = [(number, row) for _, number, row in sorted(found)[:_WORST]]
    shown: dict[tuple[int, int], Case] = {}
    for number, scene in enumerate(scenes):
        rows = np.array([row for which, row in chosen if which == number], dtype=np.int64)
        shown |= {(number, int(row)): case for row, case in _cases(scene, maps[number], rows)}
    return [shown[place] for place in chosen]


def _cases(scene: Scene, maps: Maps | str, rows: np.ndarray) -> list[tuple[int, Case]]:
    """Some images, each with its maps and the nearest training images."""
    if not len(rows):
        return []
    columns = [[Shown(uri, "image", "the image") for uri in scene.images.thumbnails(rows)]]
    if isinstance(maps, Maps):
        columns.append(_maps(scene, rows, scene.predicted[rows], maps, "for the answer"))
        columns.append(_maps(scene, rows, scene.images.labels[rows], maps, "for the true class"))
    if scene.train is not None:
        columns += _nearest(scene, scene.train, rows)
    cases = zip(rows, zip(*columns, strict=True), strict=True)
    return [(row, Case(scene.images.ids[row], _case_words(scene, row), list(shown))) for row, shown in cases]


def _case_words(scene: Scene, row: int) -> str:
    true, said = int(scene.images.labels[row]), int(scene.predicted[row])
    own, other = scene.decisions[row, true], scene.decisions[row, said]
    return f"{scene.names[true]} (probability {own:.3f}) was taken for {scene.names[said]} ({other:.3f})."


def _maps(scene: Scene, rows: np.ndarray, classes: np.ndarray, maps: Maps, what: str) -> list[Shown]:
    """The map of a class for each of some images."""
    images, scale = scene.images.pixels(rows), scene.model.card.preprocessing
    device = scene.model.runtime.device
    given = clean(images.to(device), scale.mean, scale.std)
    shares = grad_cam(scene.model.network, given, torch.from_numpy(classes).to(device), maps)
    pixels, names = images.permute(0, 2, 3, 1).numpy(), [scene.names[k] for k in classes]
    return [
        Shown(uri_of(tinted(one, share, SIDE), SIDE), f"map of {name}", f"{what}, {name}")
        for one, share, name in zip(pixels, shares, names, strict=True)
    ]


def _nearest(scene: Scene, train: Images, rows: np.ndarray) -> list[list[Shown]]:
    """The nearest training images of each row: a list of the first of each, one of the second, the third."""
    known = spread_over_classes(train.labels, _KNOWN, scene.seed)
    found, cosines = nearest(scene.images.features(rows), train.features(known), _NEAREST)
    pictures = train.thumbnails(known[found].ravel())
    names = [scene.names[k] for k in train.labels[known[found]].ravel()]
    shown = [
        Shown(uri, f"training image of {name}", f"near: {name}, {cosine:.2f}")
        for uri, name, cosine in zip(pictures, names, cosines.ravel(), strict=True)
    ]
    return [shown[place :: found.shape[1]] for place in range(found.shape[1])]


def _wrong(scenes: Sequence[Scene]) -> list[WrongOf]:
    """The wrong answers of each class that has images, those that were given most surely first."""
    order = class_order(scenes[0].model.card.training_counts)
    present = [k for k in order if any((one.images.labels == k).any() for one in scenes)][-_WRONG_CLASSES:]
    most = max(1, min(_WRONG, _ALL_WRONG // len(present)))
    wrong = [_wrong_of(scenes, k) for k in present]
    shown = [every[:most] for every in wrong]
    pictures: dict[tuple[int, int], str] = {}
    for number, scene in enumerate(scenes):
        rows = [row for some in shown for which, row in some if which == number]
        uris = scene.images.thumbnails(np.array(rows, dtype=np.int64))
        pictures |= {(number, row): uri for row, uri in zip(rows, uris, strict=True)}
    return [
        WrongOf(
            scenes[0].names[k],
            len(every),
            sum(int((one.images.labels == k).sum()) for one in scenes),
            [_wrong_one(scenes[place[0]], place[1], pictures[place]) for place in some],
        )
        for k, every, some in zip(present, wrong, shown, strict=True)
    ]


def _wrong_of(scenes: Sequence[Scene], k: int) -> list[tuple[int, int]]:
    """The wrong answers to a class, as scene and row, the surest first."""
    found = [
        (-float(scene.decisions[row].max()), number, int(row))
        for number, scene in enumerate(scenes)
        for row in np.flatnonzero((scene.images.labels == k) & (scene.predicted != k))
    ]
    return [(number, row) for _, number, row in sorted(found)]


def _wrong_one(scene: Scene, row: int, uri: str) -> Shown:
    said, name = scene.names[scene.predicted[row]], scene.images.ids[row]
    return Shown(uri, f"image {name}", f"{said} {scene.decisions[row].max():.2f}; {name}")


def _views(scene: Scene) -> list[Views]:
    """A training image of the most frequent class of each band, as it is and in its views."""
    train, firsts = scene.train, dict[str, int]()
    if train is None:
        return []
    for k in class_order(scene.model.card.training_counts):
        if (train.labels == k).any():
            firsts.setdefault(scene.bands.get(scene.names[k], ""), k)
    return [_views_of(scene, train, int(np.flatnonzero(train.labels == k)[0])) for k in firsts.values()]


def _views_of(scene: Scene, train: Images, row: int) -> Views:
    images, index, name = train.pixels(np.array([row])), torch.tensor([row]), scene.names[train.labels[row]]
    shown = []
    for words, (kind, epoch) in _VIEWS.items():
        pixels = view(kind, images, index, scene.seed, epoch, _RAW)[0].permute(1, 2, 0).clamp(0, 1)
        uri = uri_of((pixels * 255).round().to(torch.uint8).numpy(), SIDE)
        shown.append(Shown(uri, f"{name}, {words}", words))
    return Views(name, shown)


def _plane(scene: Scene) -> Figure | None:
    rows = spread_over_classes(scene.images.labels, _IN_PLANE, scene.seed)
    if len(rows) < 4:
        return None
    places, labels = tsne(scene.images.features(rows), scene.seed), scene.images.labels[rows]
    return features_in_the_plane(places, labels, scene.names, scene.model.card.training_counts, scene.bands)
