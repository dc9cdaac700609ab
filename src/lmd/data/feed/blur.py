"""Blurs of a batch of images: motion, median and box, as tensor operations on any device.

Sizes are in pixels, as in the authors' configuration at 224 pixels: a motion kernel of 3, 5 or 7, the others
of 3. On images of another size the motion kernel grows or shrinks with them. No kernel is below 3.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, UInt8
from torch import Tensor

_MOTION_SIZES = (3, 5, 7)  # at _SIDE pixels
_SIDE = 224


def blur_drawn(
    images: UInt8[Tensor, "batch 3 height width"],
    kind: Int[Tensor, " batch"],
    motion: Float[Tensor, "batch 5"],
) -> Float[Tensor, "batch 3 height width"]:
    """Motion (`kind` 0), median (1) or box blur (2) of the images that drew one (else -1).

    The others are not computed. `motion` are the numbers that draw each motion blur. Values are in [0, 1].
    """
    images = images.float() / 255.0
    result = images.clone()
    for number, function in enumerate((motion_blur, median_blur, box_blur)):
        rows = (kind == number).nonzero().flatten()
        if len(rows):
            numbers = (motion[rows],) if function is motion_blur else ()
            result[rows] = function(images[rows], *numbers)
    return result


def blur_all(
    images: UInt8[Tensor, "batch 3 height width"],
    kind: Int[Tensor, " batch"],
    motion: Float[Tensor, "batch 5"],
) -> Float[Tensor, "batch 3 height width"]:
    """The same where a GPU must not wait for how many drew which: all three blurs of all images."""
    kind = kind.view(-1, 1, 1, 1)
    median = median_blur(images.half())  # Exact for 0 ... 255, and half of the memory.
    scaled = torch.where(kind == 1, median.float(), images.float()) / 255.0
    result = torch.where(kind == 0, motion_mean(scaled, motion), scaled)
    return torch.where(kind == 2, box_mean(scaled), result)


def motion_sizes(side: int) -> list[int]:
    """Returns the three kernel sizes that a motion blur draws from: odd numbers, at least 3.

    >>> motion_sizes(224), motion_sizes(64), motion_sizes(448)
    ([3, 5, 7], [3, 3, 3], [7, 11, 15])
    """
    return [max(3, 2 * int(size * side / _SIDE / 2) + 1) for size in _MOTION_SIZES]


def motion_kernels(
    sizes: Int[Tensor, " batch"], numbers: Float[Tensor, "batch 4"], largest: int
) -> Float[Tensor, "batch largest largest"]:
    """Kernels that average along a line between two pixels of a k x k square, drawn by four uniform numbers.

    The two pixels are never the same, and the line need not pass through the centre, so that the picture
    moves a little too. Returned in the middle of a square of the largest size.

    >>> motion_kernels(torch.tensor([3]), torch.tensor([[0.0, 0.5, 0.9, 0.5]]), 3)[0].tolist()[1]
    [0.3333333432674408, 0.3333333432674408, 0.3333333432674408]
    """
    cells, _ = _line(sizes, numbers, largest)
    kernels = torch.zeros(len(sizes), largest * largest, device=sizes.device)
    kernels.scatter_(1, cells[..., 1] * largest + cells[..., 0], 1.0)
    return (kernels / kernels.sum(1, keepdim=True)).view(-1, largest, largest)


def _line(sizes: Tensor, numbers: Tensor, largest: int) -> tuple[Tensor, Tensor]:
    """The pixels (x, y) of a line in the largest square, [B, largest, 2], and how many follow its first.

    No two of the first `length` + 1 are the same; the last one is repeated.
    """
    first, last = _ends(sizes, numbers)
    length = (last - first).abs().amax(1)[:, None]
    step = torch.arange(largest, device=sizes.device).expand(len(sizes), -1).minimum(length)
    line = first[:, None] + (last - first)[:, None] * (step / length)[..., None]
    return line.round().long() + ((largest - sizes) // 2)[:, None, None], length


def _ends(sizes: Tensor, numbers: Tensor) -> tuple[Tensor, Tensor]:
    """Two different pixels (x, y) of a k x k square: [B, 2] each."""
    cells = (numbers * sizes[:, None]).long().minimum(sizes[:, None] - 1)
    first, last = cells[:, :2], cells[:, 2:]
    # In the same column the second row is one of the others.
    further = (numbers[:, 3] * (sizes - 1)).long().minimum(sizes - 2)
    other = (first[:, 1] + 1 + further) % sizes
    row = torch.where(first[:, 0] == last[:, 0], other, last[:, 1])
    return first, torch.stack([last[:, 0], row], 1)


def motion_blur(
    images: Float[Tensor, "batch 3 height width"], numbers: Float[Tensor, "batch 5"]
) -> Float[Tensor, "batch 3 height width"]:
    """The mean along a short line, one for each image: a uniform number chooses its size, four its ends."""
    sizes, largest = _drawn_sizes(images, numbers)
    return _convolve(images, motion_kernels(sizes, numbers[:, 1:], largest)[:, None])


def motion_mean(
    images: Float[Tensor, "batch 3 height width"], numbers: Float[Tensor, "batch 5"]
) -> Float[Tensor, "batch 3 height width"]:
    """The same as the mean of shifted images.

    A convolution with a kernel for each image is slow on a GPU, where this is not.
    """
    sizes, largest = _drawn_sizes(images, numbers)
    cells, length = _line(sizes, numbers[:, 1:], largest)
    counts = torch.arange(largest, device=images.device) <= length
    shares = (counts / (length + 1)).to(images.dtype)
    moves = cells - largest // 2
    total = torch.zeros_like(images)
    for point in range(largest):
        total.addcmul_(_moved(images, moves[:, point]), shares[:, point].view(-1, 1, 1, 1))
    return total


def _drawn_sizes(images: Tensor, numbers: Tensor) -> tuple[Tensor, int]:
    """The size of each image's motion kernel [B], and the largest that could be drawn."""
    small, middle, large = motion_sizes(images.shape[-1])
    which = (numbers[:, 0] * 3).long()
    return small + (which >= 1) * (middle - small) + (which >= 2) * (large - middle), large


def _moved(images: Tensor, move: Tensor) -> Tensor:
    """Each image read so many pixels (x, y) further, the border reflected."""
    batch, channels, height, width = images.shape
    x, y = (
        _reflected(torch.arange(length, device=images.device) + move[:, axis, None], length)
        for axis, length in enumerate((width, height))
    )
    places = (y[:, :, None] * width + x[:, None, :]).view(batch, 1, -1).expand(-1, channels, -1)
    return images.flatten(2).gather(2, places).view_as(images)


def _reflected(places: Tensor, length: int) -> Tensor:
    """Places beyond an edge, on the other side of its pixel."""
    return (length - 1) - ((length - 1) - places.abs()).abs()


def box_blur(images: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch 3 height width"]:
    """The mean over 3 x 3 pixels."""
    return _convolve(images, torch.full((len(images), 1, 3, 3), 1.0 / 9.0, device=images.device))


def box_mean(images: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch 3 height width"]:
    """The same by pooling, which is fast on a GPU."""
    return F.avg_pool2d(F.pad(images, (1, 1, 1, 1), mode="reflect"), 3, stride=1)


def _convolve(images: Tensor, kernels: Tensor) -> Tensor:
    """Convolves each image with its own kernel [B, 1, k, k], the border reflected."""
    batch, channels, height, width = images.shape
    half = kernels.shape[-1] // 2
    padded = F.pad(images, (half,) * 4, mode="reflect").view(1, batch * channels, height + 2 * half, -1)
    weight = kernels.repeat_interleave(channels, 0)
    return F.conv2d(padded, weight, groups=batch * channels).view(batch, channels, height, width)


def median_blur(images: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch 3 height width"]:
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
