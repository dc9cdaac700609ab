"""The views of an image: clean, weak and strong, as batched tensor operations on any device.

The strong view has the parts and probabilities of the authors' configuration (methods.md 1.1): flips,
optical blur, shift/scale/rotation, geometric distortion, colour jitter, grid dropout. All geometry is one
displacement field and one `grid_sample`. Each image's draw is a function of (seed, epoch, image, view).
"""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor

from lmd.data.feed.draws import uniforms
from lmd.errors import SettingsError

Channels = tuple[float, float, float]
# ImageNet's channel statistics, with which the encoders were trained.
MEAN: Channels = (0.485, 0.456, 0.406)
STD: Channels = (0.229, 0.224, 0.225)

_FLIP = 0.5
_BLUR, _BLUR_WEIGHTS = 0.5, (0.2, 0.1, 0.1)  # motion, median, box
_AFFINE, _SHIFT, _SCALE, _ROTATE = 0.5, 0.0625, 0.2, math.pi / 4
_DISTORT = 0.7  # grid, elastic or optical, equally likely
_DISTORT_STRENGTH = 0.08  # of half the image side; elastic and grid displacements at their nodes
_OPTICAL = 0.25  # coefficient k of r -> r (1 + k r^2)
_NODES = 5
_COLOUR, _RGB_SHIFT = 0.5, 15.0 / 255.0
_BRIGHTNESS, _CONTRAST = 0.2, 0.2
_DROPOUT, _DROPOUT_RATIO = 0.2, 0.5
_KERNEL_PER_PIXEL = 5 / 224  # A 5-pixel kernel at 224 pixels, never less than 3.

# One column of random numbers for each decision; named so that no two share one.
_NAMES = [
    "flip_x",
    "flip_y",
    "blur",
    "blur_kind",
    "blur_angle",
    "affine",
    "shift_x",
    "shift_y",
    "scale",
    "rotate",
    "distort",
    "distort_kind",
    "optical",
    "optical_x",
    "optical_y",
    "rgb",
    "red",
    "green",
    "blue",
    "tone",
    "brightness",
    "contrast",
    "dropout",
    "drop_unit",
    "drop_x",
    "drop_y",
]
_COLUMN = {name: number for number, name in enumerate(_NAMES)}
_COUNT = len(_NAMES) + 2 * _NODES * _NODES


class _Draws:
    """The random numbers of a batch, by name, on the images' device."""

    def __init__(self, index: Tensor, device: torch.device, seed: int, epoch: int, view: str) -> None:
        numbers = uniforms(index.cpu().numpy(), _COUNT, seed, epoch, view)
        self.host = torch.from_numpy(numbers.astype(np.float32))
        self.values = self.host.to(device)

    def on_host(self, name: str) -> Tensor:
        """The same numbers where they were made: what decides on shapes must not wait for a GPU."""
        return self.host[:, _COLUMN[name]]

    def __getitem__(self, name: str) -> Tensor:
        """A uniform number in [0, 1) for each image."""
        return self.values[:, _COLUMN[name]]

    def symmetric(self, name: str) -> Tensor:
        """A uniform number in [-1, 1) for each image."""
        return 2.0 * self[name] - 1.0

    def nodes(self) -> Tensor:
        """Uniform numbers in [-1, 1) on a coarse grid: [B, 2, nodes, nodes]."""
        return 2.0 * self.values[:, len(_NAMES) :].view(-1, 2, _NODES, _NODES) - 1.0


def normalise(
    images: Float[Tensor, "batch 3 height width"], mean: Channels = MEAN, std: Channels = STD
) -> Float[Tensor, "batch 3 height width"]:
    """Returns (x - mean) / std per channel, for x in [0, 1]."""
    centred = images - images.new_tensor(mean).view(1, 3, 1, 1)
    return centred.div_(images.new_tensor(std).view(1, 3, 1, 1))


def clean(
    images: UInt8[Tensor, "batch 3 height width"], mean: Channels = MEAN, std: Channels = STD
) -> Float[Tensor, "batch 3 height width"]:
    """The image as it is, normalised."""
    return normalise(images.float().div_(255.0), mean, std)


def weak(
    images: UInt8[Tensor, "batch 3 height width"], index: Tensor, seed: int, epoch: int
) -> Float[Tensor, "batch 3 height width"]:
    """The weak view: horizontal and vertical flips, each with probability 1/2."""
    draws = _Draws(index, images.device, seed, epoch, "weak")
    images = _flip(images, draws["flip_x"] < _FLIP, 3)
    return clean(_flip(images, draws["flip_y"] < _FLIP, 2))


def strong(
    images: UInt8[Tensor, "batch 3 height width"], index: Tensor, seed: int, epoch: int
) -> Float[Tensor, "batch 3 height width"]:
    """The strong view: flips, blur, affine map, distortion, colour and grid dropout."""
    draws = _Draws(index, images.device, seed, epoch, "strong")
    result = _blur(images.float() / 255.0, draws)
    size = (images.shape[2], images.shape[3])
    grid = sampling_grid(draws, size)
    result = F.grid_sample(result, grid, mode="bilinear", padding_mode="reflection", align_corners=False)
    result = _colour(result, draws).clamp_(0.0, 1.0)
    return normalise(result * _dropout_mask(draws, size))


def view(name: str, images: Tensor, index: Tensor, seed: int, epoch: int) -> Tensor:
    """Returns the view of that name.

    Raises:
        SettingsError: there is no such view.
    """
    if name == "clean":
        return clean(images)
    if name == "weak":
        return weak(images, index, seed, epoch)
    if name == "strong":
        return strong(images, index, seed, epoch)
    raise SettingsError(f"unknown view '{name}'; known: clean, strong, weak")


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
    """Rotation, scale and shift about the centre, where they were drawn."""
    angle = draws.symmetric("rotate") * _ROTATE
    scale = 1.0 / (1.0 + draws.symmetric("scale") * _SCALE)
    cosine, sine = angle.cos() * scale, angle.sin() * scale
    matrix = torch.stack([cosine, -sine, sine, cosine], 1).view(-1, 1, 2, 2)
    shift = 2.0 * _SHIFT * torch.stack([draws.symmetric("shift_x"), draws.symmetric("shift_y")], 1)
    moved = grid.flatten(1, 2) @ matrix[:, 0] + shift[:, None]
    chosen = (draws["affine"] < _AFFINE).view(-1, 1, 1, 1)
    return torch.where(chosen, moved.view_as(grid), grid)


def _distortion(grid: Tensor, draws: _Draws) -> Tensor:
    """The displacement of a grid, elastic or optical distortion, or none."""
    kind = (draws["distort_kind"] * 3).long().view(-1, 1, 1, 1)
    nodes = _DISTORT_STRENGTH * draws.nodes()
    height, width = grid.shape[1:3]
    # Grid distortion moves whole rows and columns, elastic distortion each node by itself.
    lines = torch.stack(
        [nodes[:, 0, :1].expand(-1, _NODES, -1), nodes[:, 1, :, :1].expand(-1, -1, _NODES)], 1
    )
    nodes = torch.where(kind == 0, lines, nodes)
    smooth = F.interpolate(nodes, (height, width), mode="bicubic", align_corners=True).permute(0, 2, 3, 1)
    displacement = torch.where(kind == 2, _optical(grid, draws), smooth)
    return displacement * (draws["distort"] < _DISTORT).view(-1, 1, 1, 1)


def _optical(grid: Tensor, draws: _Draws) -> Tensor:
    """Barrel or cushion distortion about a centre near the middle: r -> r (1 + k r^2)."""
    centre = 0.1 * torch.stack([draws.symmetric("optical_x"), draws.symmetric("optical_y")], 1)
    offset = grid - centre[:, None, None]
    strength = _OPTICAL * draws.symmetric("optical").view(-1, 1, 1, 1)
    return offset * strength * offset.square().sum(-1, keepdim=True)


def _colour(images: Tensor, draws: _Draws) -> Tensor:
    """RGB shift, then brightness and contrast about mid-grey, each where it was drawn."""
    shift = _RGB_SHIFT * torch.stack([draws.symmetric(name) for name in ("red", "green", "blue")], 1)
    shift = shift * (draws["rgb"] < _COLOUR).view(-1, 1)
    tone = (draws["tone"] < _COLOUR).float()
    gain = (1.0 + tone * _CONTRAST * draws.symmetric("contrast")).view(-1, 1, 1, 1)
    offset = (tone * _BRIGHTNESS * draws.symmetric("brightness")).view(-1, 1, 1, 1)
    return gain * (images + shift[:, :, None, None] - 0.5) + 0.5 + offset


def _dropout_mask(draws: _Draws, size: tuple[int, int]) -> Tensor:
    """Zero on a lattice of squares, one in between: [B, 1, H, W]."""
    height, width = size
    device = draws.values.device
    # A unit is between a tenth and a third of the image; a square covers `ratio` of its side.
    unit = (0.1 + 0.23 * draws["drop_unit"]).view(-1, 1)
    y, x = ((torch.arange(length, device=device) + 0.5) / length for length in size)
    inside_x = torch.frac(x[None] / unit + draws["drop_x"].view(-1, 1)) < _DROPOUT_RATIO
    inside_y = torch.frac(y[None] / unit + draws["drop_y"].view(-1, 1)) < _DROPOUT_RATIO
    dropped = inside_y.view(-1, 1, height, 1) & inside_x.view(-1, 1, 1, width)
    return (~(dropped & (draws["dropout"] < _DROPOUT).view(-1, 1, 1, 1))).float()


def _blur(images: Tensor, draws: _Draws) -> Tensor:
    """Motion, median or box blur of the images that drew one; the others are not computed."""
    edges = torch.tensor(_BLUR_WEIGHTS).cumsum(0) / sum(_BLUR_WEIGHTS)
    kind = torch.bucketize(draws.on_host("blur_kind").contiguous(), edges, right=True).clamp(max=2)
    chosen = draws.on_host("blur") < _BLUR
    result = images.clone()
    for number, function in enumerate((_motion_blur, _median_blur, _box_blur)):
        rows = (chosen & (kind == number)).nonzero().flatten().to(images.device)
        if len(rows):
            result[rows] = function(images[rows], draws["blur_angle"][rows])
    return result


def _motion_blur(images: Tensor, angle: Tensor) -> Tensor:
    """The mean along a short line of a random direction: one kernel for each image."""
    size = max(3, round(_KERNEL_PER_PIXEL * images.shape[-1]) | 1)
    steps = torch.linspace(-1, 1, 2 * size, device=images.device) * (size // 2)
    offsets = (
        torch.stack([(math.pi * angle).cos(), (math.pi * angle).sin()], 1)[:, None] * steps[None, :, None]
    )
    cells = (offsets.round() + size // 2).long()
    flat = cells[..., 1] * size + cells[..., 0]
    kernel = torch.zeros(len(images), size * size, device=images.device)
    kernel.scatter_add_(1, flat, torch.full_like(flat, 1.0 / flat.shape[1], dtype=torch.float32))
    return _convolve(images, kernel.view(-1, 1, size, size))


def _box_blur(images: Tensor, angle: Tensor) -> Tensor:
    """The mean over 3 x 3 pixels."""
    return _convolve(images, torch.full((len(images), 1, 3, 3), 1.0 / 9.0, device=images.device))


def _convolve(images: Tensor, kernels: Tensor) -> Tensor:
    """Convolves each image with its own kernel [B, 1, k, k], the border reflected."""
    batch, channels, height, width = images.shape
    half = kernels.shape[-1] // 2
    padded = F.pad(images, (half,) * 4, mode="reflect").view(1, batch * channels, height + 2 * half, -1)
    weight = kernels.repeat_interleave(channels, 0)
    return F.conv2d(padded, weight, groups=batch * channels).view(batch, channels, height, width)


def _median_blur(images: Tensor, angle: Tensor) -> Tensor:
    """The median over 3 x 3 pixels.

    Of three sorted columns it is the median of the greatest low, the median middle and the least high one:
    exactly the median, and many times faster than to sort nine numbers for each pixel.
    """
    padded = F.pad(images, (1, 1, 1, 1), mode="reflect")
    low, middle, high = (_shifted(part, 3) for part in _sorted(*_shifted(padded, 2)))
    return _sorted(_sorted(*low)[2], _sorted(*middle)[1], _sorted(*high)[0])[1]


def _shifted(images: Tensor, axis: int) -> tuple[Tensor, Tensor, Tensor]:
    """Each pixel but the first and last along an axis: the one before it, itself, the one after it."""
    before, here, after = (images.narrow(axis, start, images.shape[axis] - 2) for start in range(3))
    return before, here, after


def _sorted(first: Tensor, second: Tensor, third: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Three tensors with their elements sorted: the least, the median, the greatest."""
    less, more = torch.minimum(first, second), torch.maximum(first, second)
    return (
        torch.minimum(less, third),
        torch.maximum(less, torch.minimum(more, third)),
        torch.maximum(more, third),
    )
