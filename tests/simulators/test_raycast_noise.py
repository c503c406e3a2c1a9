"""Noise models: statistics, limits, seeds."""

from __future__ import annotations

import numpy as np
import pytest

from embodied.errors import SensorError
from embodied.simulators.base import CameraSpec, NoiseSpec
from embodied.simulators.raycast import apply_noise


def _camera(**noise):
    return CameraSpec(("rgb", "depth", "semantic"), noise=NoiseSpec(**noise))


def _images(depth=2.0, gray=128, count=2):
    return {
        "rgb": np.full((count, 96, 128, 3), gray, np.uint8),
        "depth": np.full((count, 96, 128), depth, np.float32),
        "semantic": np.arange(count * 96 * 128, dtype=np.int32).reshape(count, 96, 128),
    }


def test_no_noise_changes_nothing():
    images = _images()
    noisy = apply_noise(images, _camera(), 0)
    for name, image in images.items():
        np.testing.assert_array_equal(noisy[name], image)


def test_colour_noise_has_the_asked_spread():
    noisy = apply_noise(_images(), _camera(rgb_sigma=6.0), 1)["rgb"]
    assert noisy.dtype == np.uint8
    error = noisy.astype(float) - 128
    assert abs(error.mean()) < 0.1
    assert error.std() == pytest.approx(np.sqrt(36 + 1 / 12), rel=0.02)
    bright = apply_noise(_images(gray=255), _camera(rgb_sigma=6.0), 1)["rgb"]
    assert bright.max() == 255
    assert bright.min() > 200  # clipped, not wrapped round


def test_depth_noise_grows_with_the_square_of_depth():
    spread = []
    for depth in (1.0, 2.0, 4.0):
        exact = np.linspace(0.95, 1.05, 200, dtype=np.float32)[:, None, None] * depth
        images = {"depth": np.broadcast_to(exact, (200, 24, 24)).astype(np.float32)}
        error = apply_noise(images, _camera(depth="redwood"), 2)["depth"] - exact
        spread.append(error.std())
        step = depth**2 / (
            35.130 * 8
        )  # depth between two levels; noise is 8/36 of one, and rounding
        assert error.std() == pytest.approx(step * np.hypot(8 / 36, np.sqrt(1 / 12)), rel=0.05)
        assert abs(error.mean()) < 0.05 * step
    assert spread[1] / spread[0] == pytest.approx(4.0, rel=0.05)
    assert spread[2] / spread[1] == pytest.approx(4.0, rel=0.05)


def test_depth_noise_is_quantised_in_disparity():
    depth = apply_noise(_images(3.0), _camera(depth="redwood"), 3)["depth"]
    levels = 35.130 * 8 / depth
    np.testing.assert_allclose(levels, np.rint(levels), atol=1e-3)
    assert 2 <= len(np.unique(depth)) < 20


def test_depth_edges_are_jittered_sideways():
    images = _images(2.0)
    images["depth"][:, :, 64:] = 4.0
    noisy = apply_noise(images, _camera(depth="redwood"), 4)["depth"]
    swapped = (noisy > 3.0) != (images["depth"] > 3.0)
    assert swapped[:, :, 63:65].mean() > 0.005
    assert not swapped[:, :, :61].any()
    assert not swapped[:, :, 68:].any()


def test_missing_depth_stays_missing_and_multiplier_zero_only_rounds():
    images = _images(0.0)
    noisy = apply_noise(images, _camera(depth="redwood"), 5)["depth"]
    np.testing.assert_array_equal(noisy, 0.0)
    still = apply_noise(_images(2.0), _camera(depth="redwood", depth_multiplier=0.0), 5)["depth"]
    assert len(np.unique(still)) == 1
    assert abs(still.flat[0] - 2.0) < 0.5 * 4 / (35.130 * 8)


def test_seeds_repeat_and_generators_go_on():
    camera = _camera(rgb_sigma=3.0, depth="redwood")
    a, b = (apply_noise(_images(), camera, 7) for _ in range(2))
    rng = np.random.default_rng(7)
    c, d = (apply_noise(_images(), camera, rng) for _ in range(2))
    for name in ("rgb", "depth"):
        np.testing.assert_array_equal(a[name], b[name])
        np.testing.assert_array_equal(a[name], c[name])
        assert (c[name] != d[name]).any()
    np.testing.assert_array_equal(a["semantic"], _images()["semantic"])


def test_single_images_work():
    images = {"depth": np.full((24, 32), 2.0, np.float32)}
    assert apply_noise(images, _camera(depth="redwood"), 0)["depth"].shape == (24, 32)


def test_bad_noise_is_an_error():
    with pytest.raises(SensorError, match="must not be negative"):
        _camera(rgb_sigma=-1.0)
    with pytest.raises(SensorError, match="must not be negative"):
        _camera(depth_multiplier=float("nan"))
    with pytest.raises(SensorError, match="unknown depth noise 'kinect'"):
        _camera(depth="kinect")
