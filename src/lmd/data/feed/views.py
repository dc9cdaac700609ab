"""The views of an image: clean, weak and strong, as batched tensor operations on any device.

The strong view has the parts, probabilities and strengths of the authors' configuration: flips, blur,
shift/scale/rotation, geometric distortion, colour jitter, grid dropout. docs/views.md has both beside each
other. Lengths are parts of the image side, so that they hold at any size. All geometry is one displacement
field and one `grid_sample`. Each image's draw is a function of (seed, epoch, image, view).
"""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from lmd.data.feed.blur import blur_all, blur_drawn
from lmd.data.feed.draws import uniforms_of, uniforms_on
from lmd.data.feed.scale import IMAGENET, Scale, clean, normalise
from lmd.errors import SettingsError
from lmd.graphed import of_fixed_shapes
from lmd.runtime import derive_seed

_FLIP = 0.5
_BLUR, _BLUR_EDGES = 0.5, (0.5, 0.75)  # Half of those blurred: motion; a quarter median, a quarter box.
_AFFINE, _SHIFT, _SCALE, _ROTATE = 0.5, 0.0625, 0.2, math.pi / 4
# Grid, elastic or optical, equally likely. The authors' elastic one moves a pixel of 224 by .02 of a pixel on
# average, .07 at most: it is nothing here.
_DISTORT = 0.7
_CELLS, _STRETCH = 5, 0.3  # Grid distortion: cells along each axis, and how much longer or shorter one gets.
_OPTICAL = 0.05  # k of r -> r (1 + k r^2 + k r^4), r in image sides
_COLOUR, _RGB_SHIFT = 0.5, 15.0 / 255.0
_BRIGHTNESS, _CONTRAST = 0.2, 0.2
_DROPOUT, _DROPOUT_UNIT, _DROPOUT_RATIO = 0.2, 0.1, 0.5  # Unit: of the image side; ratio: dropped of it.

# One column of random numbers for each decision; named so that no two share one. The flips come first: the
# weak view has them in the same places.
_NAMES = [
    "flip_x",
    "flip_y",
    "blur",
    "blur_kind",
    "motion_size",
    "motion_x1",
    "motion_y1",
    "motion_x2",
    "motion_y2",
    "affine",
    "shift_x",
    "shift_y",
    "scale_x",
    "scale_y",
    "rotate",
    "distort",
    "distort_kind",
    "optical",
    "rgb",
    "red",
    "green",
    "blue",
    "tone",
    "brightness",
    "contrast",
    "dropout",
]
_MOTION = ["motion_size", "motion_x1", "motion_y1", "motion_x2", "motion_y2"]
_COLUMN = {name: number for number, name in enumerate(_NAMES)}
_COUNT = len(_NAMES) + 2 * _CELLS


class _Draws:
    """The random numbers of a batch, by name, on the images' device."""

    def __init__(self, index: Tensor, device: torch.device, seed: int | Tensor) -> None:
        if isinstance(seed, Tensor):
            self.values = uniforms_on(index.to(device), _COUNT, seed)
        else:
            numbers = uniforms_of(index.cpu().numpy(), _COUNT, seed)
            self.values = torch.from_numpy(numbers.astype(np.float32)).to(device)

    def __getitem__(self, name: str) -> Tensor:
        """A uniform number in [0, 1) for each image."""
        return self.values[:, _COLUMN[name]]

    def symmetric(self, name: str) -> Tensor:
        """A uniform number in [-1, 1) for each image."""
        return 2.0 * self[name] - 1.0

    def pair(self, first: str, second: str) -> Tensor:
        """Two uniform numbers in [-1, 1) for each image: [B, 2]."""
        return torch.stack([self.symmetric(first), self.symmetric(second)], 1)

    def cells(self) -> Tensor:
        """Uniform numbers in [-1, 1) for the columns and rows of a coarse grid: [B, 2, cells]."""
        return 2.0 * self.values[:, len(_NAMES) :].view(-1, 2, _CELLS) - 1.0


def view(name: str, images: Tensor, index: Tensor, seed: int, epoch: int, scale: Scale = IMAGENET) -> Tensor:
    """Returns the view of that name, normalised by the mean and standard deviation of `scale`.

    Raises:
        SettingsError: there is no such view.
    """
    return seeded_view(name, images, index, derive_seed(seed, epoch, name), scale)


def weak(images: Tensor, index: Tensor, seed: int, epoch: int, scale: Scale = IMAGENET) -> Tensor:
    """The weak view: horizontal and vertical flips, each with probability 1/2."""
    return view("weak", images, index, seed, epoch, scale)


def strong(images: Tensor, index: Tensor, seed: int, epoch: int, scale: Scale = IMAGENET) -> Tensor:
    """The strong view: flips, blur, affine map, distortion, colour and grid dropout."""
    return view("strong", images, index, seed, epoch, scale)


def seeded_view(
    name: str,
    images: UInt8[Tensor, "batch 3 height width"],
    index: Int[Tensor, " batch"],
    seed: int | Tensor,
    scale: Scale = IMAGENET,
) -> Float[Tensor, "batch 3 height width"]:
    """Returns the view of that name, drawn by the seed of (seed, epoch, view); see `view`.

    It is computed in fp32, also where a network around it is not.

    Raises:
        SettingsError: there is no such view.
    """
    if name == "clean":
        return clean(images, *scale)
    if name not in _VIEWS:
        raise SettingsError(f"unknown view '{name}'; known: clean, {', '.join(sorted(_VIEWS))}")
    with torch.autocast(images.device.type, enabled=False):
        return _VIEWS[name](images, _Draws(index, images.device, seed), scale)


def _weak(images: Tensor, draws: _Draws, scale: Scale) -> Tensor:
    images = _flip(images, draws["flip_x"] < _FLIP, 3)
    return clean(_flip(images, draws["flip_y"] < _FLIP, 2), *scale)


def _strong(images: Tensor, draws: _Draws, scale: Scale) -> Tensor:
    blur = blur_all if of_fixed_shapes(images) else blur_drawn
    result = blur(images, _blur_kind(draws), _motion(draws))
    size = (images.shape[2], images.shape[3])
    grid = sampling_grid(draws, size)
    result = F.grid_sample(result, grid, mode="bilinear", padding_mode="reflection", align_corners=False)
    result = _colour(result, draws).clamp_(0.0, 1.0)
    return normalise(result * _dropout_mask(draws, size), *scale)


_VIEWS = {"weak": _weak, "strong": _strong}


def _flip(images: Tensor, chosen: Tensor, dim: int) -> Tensor:
    return torch.where(chosen.view(-1, 1, 1, 1), images.flip(dim), images)


def sampling_grid(draws: _Draws, size: tuple[int, int]) -> Float[Tensor, "batch height width 2"]:
    """Returns where each output pixel is read, in [-1, 1]: distortion, affine map, flips."""
    grid = _base_grid(size, draws.values.device).expand(len(draws.values), -1, -1, -1)
    grid = grid + _distortion(grid, draws)
    grid = _affine(grid, draws)
    flips = torch.stack([draws["flip_x"] < _FLIP, draws["flip_y"] < _FLIP], 1)
    return torch.where(flips[:, None, None, :], -grid, grid)


def _base_grid(size: tuple[int, int], device: torch.device) -> Tensor:
    rows, columns = (
        (torch.arange(length, device=device, dtype=torch.float32) * 2 + 1) / length - 1 for length in size
    )
    y, x = torch.meshgrid(rows, columns, indexing="ij")
    return torch.stack([x, y], -1)[None]


def _affine(grid: Tensor, draws: _Draws) -> Tensor:
    """Shift, rotation about the centre and a scale for each axis, where they were drawn."""
    angle = draws.symmetric("rotate") * _ROTATE
    cosine, sine = angle.cos(), angle.sin()
    turn = torch.stack([cosine, -sine, sine, cosine], 1).view(-1, 2, 2)
    scale = 1.0 + _SCALE * draws.pair("scale_x", "scale_y")
    shift = 2.0 * _SHIFT * draws.pair("shift_x", "shift_y")
    moved = (grid.flatten(1, 2) - shift[:, None]) @ turn / scale[:, None]
    chosen = (draws["affine"] < _AFFINE).view(-1, 1, 1, 1)
    return torch.where(chosen, moved.view_as(grid), grid)


def _distortion(grid: Tensor, draws: _Draws) -> Tensor:
    """The displacement of a grid or optical distortion, or none."""
    kind = (draws["distort_kind"] * 3).long().view(-1, 1, 1, 1)
    optical = torch.where(kind == 2, _optical(grid, draws), torch.zeros_like(grid))
    displacement = torch.where(kind == 0, _grid_distortion(grid, draws), optical)
    return displacement * (draws["distort"] < _DISTORT).view(-1, 1, 1, 1)


def _grid_distortion(grid: Tensor, draws: _Draws) -> Tensor:
    """Columns and rows of five cells, each longer or shorter than before; what follows moves along.

    A pixel t cells from the edge moves by sum_i u_i min(max(t - i, 0), 1) cells, u_i the stretch of cell i.
    """
    stretch = _STRETCH * draws.cells()
    moves: list[Tensor] = []
    for axis, places in enumerate((grid[0, 0, :, 0], grid[0, :, 0, 1])):
        passed = (places + 1) * (_CELLS / 2) - torch.arange(_CELLS, device=grid.device)[:, None]
        moves.append(stretch[:, axis] @ passed.clamp(0.0, 1.0) * (2 / _CELLS))
    along_x, along_y = moves[0][:, None, :], moves[1][:, :, None]
    return torch.stack(torch.broadcast_tensors(along_x, along_y), -1)


def _optical(grid: Tensor, draws: _Draws) -> Tensor:
    """Barrel or cushion distortion about the middle: r -> r (1 + k r^2 + k r^4)."""
    strength = _OPTICAL * draws.symmetric("optical").view(-1, 1, 1, 1)
    square = (grid / 2).square().sum(-1, keepdim=True)
    return grid * strength * (square + square.square())


def _colour(images: Tensor, draws: _Draws) -> Tensor:
    """RGB shift, then contrast (a factor about black) and brightness, each where it was drawn."""
    shift = _RGB_SHIFT * torch.stack([draws.symmetric(name) for name in ("red", "green", "blue")], 1)
    shift = shift * (draws["rgb"] < _COLOUR).view(-1, 1)
    tone = (draws["tone"] < _COLOUR).float()
    gain = (1.0 + tone * _CONTRAST * draws.symmetric("contrast")).view(-1, 1, 1, 1)
    offset = (tone * _BRIGHTNESS * draws.symmetric("brightness")).view(-1, 1, 1, 1)
    return gain * (images + shift[:, :, None, None]).clamp(0.0, 1.0) + offset


def _dropout_mask(draws: _Draws, size: tuple[int, int]) -> Tensor:
    """Zero on a lattice of squares that begins in the corner, one in between: [B, 1, H, W]."""
    device = draws.values.device
    y, x = ((torch.arange(length, device=device) + 0.5) / length / _DROPOUT_UNIT for length in size)
    dropped = (torch.frac(y)[:, None] < _DROPOUT_RATIO) & (torch.frac(x) < _DROPOUT_RATIO)
    return (~(dropped & (draws["dropout"] < _DROPOUT).view(-1, 1, 1, 1))).float()


def _blur_kind(draws: _Draws) -> Tensor:
    """Which blur an image drew: 0 motion, 1 median, 2 box; -1 none."""
    kind = sum((draws["blur_kind"] >= edge).long() for edge in _BLUR_EDGES)
    return torch.where(draws["blur"] < _BLUR, kind, -1)


def _motion(draws: _Draws) -> Tensor:
    return torch.stack([draws[name] for name in _MOTION], 1)
