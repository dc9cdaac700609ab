"""Blurs against loops over pixels and scipy, and the lines of motion."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.ndimage import median_filter

from lmd.data.feed.blur import box_blur, median_blur, motion_blur, motion_kernels, motion_sizes


def images(count: int = 8, size: int = 24) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, 3, size, size), generator=generator).float()


def numbers(count: int, columns: int = 5, seed: int = 0) -> torch.Tensor:
    return torch.rand(count, columns, generator=torch.Generator().manual_seed(seed))


def test_the_box_blur_is_an_average_pool() -> None:
    pixels = images()
    expected = F.avg_pool2d(F.pad(pixels, (1, 1, 1, 1), mode="reflect"), 3, 1)
    torch.testing.assert_close(box_blur(pixels), expected, atol=1e-2, rtol=1e-5)


def test_the_median_blur_is_scipys() -> None:
    pixels = images(2)
    expected = median_filter(pixels.numpy(), size=(1, 1, 3, 3), mode="mirror")
    np.testing.assert_array_equal(median_blur(pixels).numpy(), expected)


def slow_line(size: int, values: list[float]) -> set[tuple[int, int]]:
    """The pixels (x, y) of a line between two different pixels of a square, step by step."""
    x1, y1, x2 = (int(value * size) for value in values[:3])
    forced = (y1 + 1 + int(values[3] * (size - 1))) % size
    y2 = forced if x1 == x2 else int(values[3] * size)
    steps = max(abs(x2 - x1), abs(y2 - y1))
    return {(round(x1 + (x2 - x1) * t / steps), round(y1 + (y2 - y1) * t / steps)) for t in range(steps + 1)}


@pytest.mark.parametrize("size", [3, 5, 7])
def test_a_motion_kernel_is_a_line_of_equal_weights(size: int) -> None:
    drawn = numbers(300, 4, size)
    kernels = motion_kernels(torch.full((300,), size), drawn, 7)
    edge = (7 - size) // 2
    for kernel, values in zip(kernels, drawn.tolist(), strict=True):
        cells = slow_line(size, values)
        assert len(cells) >= 2
        expected = torch.zeros(7, 7)
        for x, y in cells:
            expected[y + edge, x + edge] = 1 / len(cells)
        torch.testing.assert_close(kernel, expected)


def test_the_largest_uniform_number_stays_inside() -> None:
    kernels = motion_kernels(torch.tensor([3, 7]), torch.ones(2, 4), 7)
    torch.testing.assert_close(kernels.sum((1, 2)), torch.ones(2))
    assert bool(torch.isfinite(motion_blur(images(2), torch.ones(2, 5))).all())


def test_the_line_is_as_long_as_the_authors_on_average() -> None:
    """MotionBlur of albumentations 1.4.15: 3.37 pixels over 6,000 draws (docs/views.md)."""
    drawn = numbers(6000)
    sizes = torch.tensor([3, 5, 7])[(drawn[:, 0] * 3).long()]
    kernels = motion_kernels(sizes, drawn[:, 1:], 7)
    assert float((kernels > 0).sum((1, 2)).float().mean()) == pytest.approx(3.37, abs=0.06)


@pytest.mark.parametrize(("side", "expected"), [(16, [3, 3, 3]), (224, [3, 5, 7]), (320, [5, 7, 11])])
def test_motion_kernels_grow_with_the_image(side: int, expected: list[int]) -> None:
    assert motion_sizes(side) == expected
    assert all(
        abs(size - k * side / 224) <= 1 or size == 3 for size, k in zip(expected, (3, 5, 7), strict=True)
    )


def test_the_motion_blur_against_a_loop_over_the_pixels() -> None:
    pixels, drawn = images(4, 9), numbers(4, seed=3)
    found = motion_blur(pixels, drawn)
    padded = F.pad(pixels, (1, 1, 1, 1), mode="reflect")
    for i in range(4):
        kernel = motion_kernels(torch.tensor([3]), drawn[i : i + 1, 1:], 3)[0]
        for y in range(9):
            for x in range(9):
                expected = sum(
                    float(kernel[v, u]) * padded[i, :, y + v, x + u] for u in range(3) for v in range(3)
                )
                torch.testing.assert_close(found[i, :, y, x], expected, atol=1e-2, rtol=1e-4)


def test_the_motion_blur_keeps_the_mean_and_has_a_direction() -> None:
    flat = torch.full((4, 3, 24, 24), 7.0)
    torch.testing.assert_close(motion_blur(flat, numbers(4)), flat)
    stripes = torch.zeros(1, 3, 24, 24)
    stripes[..., ::2] = 1.0  # Vertical stripes: blurred by a horizontal motion, not by a vertical one.
    along = motion_blur(stripes, torch.tensor([[0.0, 0.5, 0.0, 0.5, 0.9]]))
    across = motion_blur(stripes, torch.tensor([[0.0, 0.0, 0.5, 0.9, 0.5]]))
    torch.testing.assert_close(along, stripes)
    assert float(across.var()) < 0.3 * float(stripes.var())
    assert math.isclose(float(across.mean()), 0.5, abs_tol=0.02)
