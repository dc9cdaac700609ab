"""Views: each image its own draw, the right operations, and nothing that depends on the company."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.ndimage import median_filter

from lmd.data.feed import views as augment
from lmd.data.feed.views import (
    _base_grid,
    _box_blur,
    _Draws,
    _median_blur,
    _motion_blur,
    clean,
    strong,
    view,
    weak,
)
from lmd.errors import SettingsError


def images(count: int = 8, size: int = 24) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, 3, size, size), dtype=torch.uint8, generator=generator)


def draws_of(count: int, **fixed: float) -> _Draws:
    """Random numbers with some of them fixed; 1.0 switches an operation off, 0.5 is the middle of a range."""
    draws = _Draws(torch.arange(count), torch.device("cpu"), 1, 0, "strong")
    for name, value in fixed.items():
        draws.values[:, augment._COLUMN[name]] = value
    return draws


def test_the_clean_view_is_normalised_with_imagenets_statistics() -> None:
    white = clean(torch.full((1, 3, 2, 2), 255, dtype=torch.uint8))
    expected = [(1 - mean) / std for mean, std in zip(augment.MEAN, augment.STD, strict=True)]
    assert white[0, :, 0, 0].tolist() == pytest.approx(expected)


def test_the_weak_view_is_one_of_four_flips() -> None:
    pixels = images(40)
    flips = [clean(p) for p in (pixels, pixels.flip(3), pixels.flip(2), pixels.flip(2, 3))]
    found = weak(pixels, torch.arange(40), 1, 0)
    which = [[torch.equal(found[i], flip[i]) for flip in flips].index(True) for i in range(40)]
    assert set(which) == {0, 1, 2, 3}


@pytest.mark.parametrize("name", ["weak", "strong"])
def test_a_view_does_not_depend_on_the_company(name: str) -> None:
    pixels, index = images(), torch.tensor([5, 900, 3, 77, 12, 0, 41, 8])
    together = view(name, pixels, index, 42, 3)
    for i in range(8):
        alone = view(name, pixels[i : i + 1], index[i : i + 1], 42, 3)
        torch.testing.assert_close(alone[0], together[i], rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", ["weak", "strong"])
def test_a_view_is_a_function_of_seed_and_epoch(name: str) -> None:
    pixels, index = images(), torch.arange(8)
    first = view(name, pixels, index, 1, 0)
    assert torch.equal(first, view(name, pixels, index, 1, 0))
    assert not torch.equal(first, view(name, pixels, index, 1, 1))
    assert not torch.equal(first, view(name, pixels, index, 2, 0))


def test_an_unknown_view_is_refused() -> None:
    with pytest.raises(SettingsError, match="unknown view 'wild'"):
        view("wild", images(), torch.arange(8), 0, 0)


def test_the_strong_view_stays_in_range_and_finite() -> None:
    found = strong(images(64), torch.arange(64), 0, 0)
    low, high = (
        clean(torch.zeros(1, 3, 1, 1, dtype=torch.uint8)),
        clean(torch.full((1, 3, 1, 1), 255, dtype=torch.uint8)),
    )
    assert bool(torch.isfinite(found).all())
    assert bool((found >= low - 1e-5).all())
    assert bool((found <= high + 1e-5).all())


def test_with_everything_off_the_grid_is_the_identity() -> None:
    grid = augment.sampling_grid(draws_of(2, affine=1, distort=1, flip_x=1, flip_y=1), (9, 7))
    torch.testing.assert_close(grid, _base_grid((9, 7), torch.device("cpu")).expand(2, -1, -1, -1))
    pixels = images(2).float()
    same = F.grid_sample(
        pixels, augment.sampling_grid(draws_of(2, affine=1, distort=1, flip_x=1, flip_y=1), (24, 24)),
        padding_mode="reflection", align_corners=False,
    )  # fmt: skip
    torch.testing.assert_close(same, pixels, atol=1e-3, rtol=0)


def test_a_quarter_turn_of_the_affine_map() -> None:
    """With rotate = 1, scale and shift in the middle, the grid is turned by 45 degrees, length kept."""
    draws = draws_of(
        1, affine=0, distort=1, flip_x=1, flip_y=1, rotate=1.0, scale=0.5, shift_x=0.5, shift_y=0.5
    )
    grid, base = augment.sampling_grid(draws, (5, 5))[0], _base_grid((5, 5), torch.device("cpu"))[0]
    torch.testing.assert_close(grid.norm(dim=-1), base.norm(dim=-1))
    angle = torch.atan2(grid[2, 4, 1], grid[2, 4, 0])
    assert abs(abs(float(angle)) - np.pi / 4) < 1e-5


def test_a_shift_and_a_scale() -> None:
    draws = draws_of(
        1, affine=0, distort=1, flip_x=1, flip_y=1, rotate=0.5, scale=1.0, shift_x=1.0, shift_y=0.5
    )
    grid, base = augment.sampling_grid(draws, (5, 5))[0], _base_grid((5, 5), torch.device("cpu"))[0]
    torch.testing.assert_close(grid[..., 0], base[..., 0] / 1.2 + 0.125)
    torch.testing.assert_close(grid[..., 1], base[..., 1] / 1.2)


def test_a_flip_in_the_grid_flips_the_picture() -> None:
    draws = draws_of(2, affine=1, distort=1, flip_x=0, flip_y=1)
    pixels = images(2).float()
    found = F.grid_sample(pixels, augment.sampling_grid(draws, (24, 24)), align_corners=False)
    torch.testing.assert_close(found, pixels.flip(3), atol=1e-3, rtol=0)


@pytest.mark.parametrize("kind", [0.0, 0.4, 0.9])
def test_each_distortion_moves_pixels_a_little(kind: float) -> None:
    grid = augment.sampling_grid(
        draws_of(20, affine=1, distort=0, distort_kind=kind, flip_x=1, flip_y=1), (24, 24)
    )
    moved = (grid - _base_grid((24, 24), torch.device("cpu"))).norm(dim=-1)
    assert float(moved.mean()) > 0.005
    assert float(moved.max()) < 0.8


def test_the_box_blur_is_an_average_pool() -> None:
    pixels = images().float()
    expected = F.avg_pool2d(F.pad(pixels, (1, 1, 1, 1), mode="reflect"), 3, 1)
    torch.testing.assert_close(_box_blur(pixels, torch.zeros(8)), expected, atol=1e-2, rtol=1e-5)


def test_the_median_blur_is_scipys() -> None:
    pixels = images(2).float()
    expected = median_filter(pixels.numpy(), size=(1, 1, 3, 3), mode="mirror")
    np.testing.assert_array_equal(_median_blur(pixels, torch.zeros(2)).numpy(), expected)


def test_the_motion_blur_keeps_the_mean_and_has_a_direction() -> None:
    flat = torch.full((4, 3, 24, 24), 7.0)
    torch.testing.assert_close(_motion_blur(flat, torch.rand(4)), flat)
    stripes = torch.zeros(1, 3, 24, 24)
    stripes[..., ::2] = 1.0  # Vertical stripes: blurred by a horizontal motion, not by a vertical one.
    along = _motion_blur(stripes, torch.tensor([0.5]))
    across = _motion_blur(stripes, torch.tensor([0.0]))
    torch.testing.assert_close(along, stripes)
    assert float(across.var()) < 0.3 * float(stripes.var())


def test_operations_come_as_often_as_they_should() -> None:
    draws = _Draws(torch.arange(20_000), torch.device("cpu"), 0, 0, "strong")
    for name, probability in (
        ("blur", 0.5),
        ("affine", 0.5),
        ("distort", 0.7),
        ("dropout", 0.2),
        ("rgb", 0.5),
    ):
        share = float((draws[name] < probability).float().mean())
        assert abs(share - probability) < 5 * np.sqrt(probability * (1 - probability) / 20_000)
    mask = augment._dropout_mask(draws_of(400, dropout=0.0), (64, 64))
    assert abs(1 - float(mask.mean()) - 0.25) < 0.03  # Half of the width times half of the height.
    assert bool((augment._dropout_mask(draws_of(4, dropout=1.0), (8, 8)) == 1).all())


def test_weak_and_strong_draw_independently() -> None:
    first = _Draws(torch.arange(5000), torch.device("cpu"), 0, 0, "weak")["flip_x"] < 0.5
    second = _Draws(torch.arange(5000), torch.device("cpu"), 0, 0, "strong")["flip_x"] < 0.5
    assert abs(float((first == second).float().mean()) - 0.5) < 5 * 0.5 / np.sqrt(5000)
