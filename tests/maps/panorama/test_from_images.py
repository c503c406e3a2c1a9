from __future__ import annotations

import numpy as np
import pytest

from maps.panorama.canvas import compute_view_shares, compute_view_sizes, semantic_to_canvas
from maps.panorama.from_images import build_panorama_from_images
from maps.panorama.views import wrap_angle

H, W, K = 96, 192, 5


def scene(*things, width=W):
    """Images of a grey room at 5 m with rectangles (heading, elevation, w, h, row, distance, rgb)
    in degrees, nearer ones last.
    """
    height = width // 2
    heading = ((np.arange(width) + 0.5) / width - 0.5) * 360
    elevation = 90 - (np.arange(height) + 0.5) / height * 180
    rgb = np.full((height, width, 3), 128, np.uint8)
    depth = np.full((height, width), 5.0, np.float32)
    rows, instances = np.full((height, width), -1), np.zeros((height, width), np.int32)
    for i, (h, e, w, tall, row, far, color) in enumerate(things, start=1):
        turn = (heading - h + 180) % 360 - 180
        mask = (np.abs(elevation - e) < tall / 2)[:, None] & (np.abs(turn) < w / 2)
        rgb[mask], depth[mask], rows[mask], instances[mask] = color, far, row, i
    return rgb, depth, rows, instances


NAMES = ["", "red box", "green box", "blue box"]
RED = (90, 0, 30, 30, 2, 2.0, (255, 0, 0))
GREEN = (-2, -15, 30, 15, 0, 1.0, (0, 255, 0))
BLUE = (200, 30, 15, 30, 4, 4.0, (0, 0, 255))


def test_boxes_colours_and_distances_are_those_of_the_scene() -> None:
    seen = build_panorama_from_images(*scene(RED, GREEN, BLUE), NAMES, K)
    assert seen.names == ("red box", "green box")  # blue is beyond 3 m
    assert seen.objects.tolist() == [1, 2]
    assert seen.categories.tolist() == [2, 0]
    step = 360 / W
    expected = np.radians([RED[:4], GREEN[:4]])
    turn = wrap_angle(seen.boxes[:, 0] - expected[:, 0])
    assert np.abs(turn).max() <= np.radians(step)  # green crosses north
    assert np.abs(seen.boxes[:, 1:] - expected[:, 1:]).max() <= np.radians(step)
    distance, log_area, log_aspect = seen.features[:, :3].T
    assert distance.tolist() == [2.0, 1.0]
    assert np.exp(log_aspect) == pytest.approx([1.0, 2.0], rel=0.1)
    low, high = np.radians([[-15, 15], [-22.5, -7.5]]).T
    area = np.radians(30) * (np.sin(high) - np.sin(low))
    assert np.exp(log_area) == pytest.approx(area, rel=0.1)
    assert seen.features[:, 3:].tolist() == [[1, 0, 0], [0, 1, 0]]


def test_far_things_are_on_the_canvas_and_in_the_views_but_not_listed() -> None:
    images = scene(RED, GREEN, BLUE)
    seen = build_panorama_from_images(*images, NAMES, K)
    assert (seen.canvas == semantic_to_canvas(images[2], K)).all()
    assert seen.canvas[4].any()
    assert seen.views[:, :K] == pytest.approx(
        compute_view_shares(seen.canvas), abs=0.03
    )  # whole cells
    everything = build_panorama_from_images(*images, NAMES, K, reach=10.0)
    sizes = compute_view_sizes(everything.categories, everything.boxes, K)
    assert seen.views[:, K : 2 * K] == pytest.approx(sizes, abs=1e-6)
    assert sizes[12 + 7].argmax() == 4  # blue, seen level at heading 210


def test_view_extras_are_mean_colour_and_depth() -> None:
    seen = build_panorama_from_images(*scene(RED), NAMES, K)
    grey = 128 / 255
    assert seen.views[12 + 9, -5:] == pytest.approx([grey, grey, grey, 0.5, 0.5], abs=1e-3)
    red, green, _, mean, least = seen.views[12 + 3, -5:]
    share = seen.views[12 + 3, 2]
    assert red == pytest.approx(share + (1 - share) * grey, abs=0.01)
    assert green == pytest.approx((1 - share) * grey, abs=0.01)
    assert mean == pytest.approx(0.2 * share + 0.5 * (1 - share), abs=0.01)
    assert least == pytest.approx(0.2)


@pytest.mark.parametrize("turn", [0, 30, 90, 187.5, 300])
def test_turning_the_camera_changes_nothing(turn: float) -> None:
    straight = build_panorama_from_images(*scene(RED, GREEN, BLUE), NAMES, K)
    shift = round(turn / 360 * W)
    images = [np.roll(image, -shift, axis=1) for image in scene(RED, GREEN, BLUE)]
    turned = build_panorama_from_images(*images, NAMES, K, heading=np.radians(turn))
    assert (turned.canvas == straight.canvas).all()
    assert turned.views == pytest.approx(straight.views, abs=1e-6)
    assert turned.boxes == pytest.approx(straight.boxes, abs=1e-6)


@pytest.mark.parametrize("width", [96, 128, 250, 512])
def test_any_image_size_gives_about_the_same(width: int) -> None:
    seen = build_panorama_from_images(*scene(RED, GREEN, width=width), NAMES, K)
    assert seen.names == ("red box", "green box")
    fine = build_panorama_from_images(*scene(RED, GREEN), NAMES, K)
    assert np.abs(wrap_angle(seen.boxes - fine.boxes)).max() < np.radians(720 / width)
    assert (seen.canvas == fine.canvas).mean() > 0.99


def test_what_is_listed_can_be_limited() -> None:
    images = scene(RED, GREEN, (45, 0, 4, 4, 1, 1.0, (9, 9, 9)))
    assert build_panorama_from_images(*images, NAMES, K).names == (
        "red box",
        "green box",
    )  # blue is too small
    assert len(build_panorama_from_images(*images, NAMES, K, min_area=1e-3).names) == 3
    listed = np.array([False, False, True, True])
    assert build_panorama_from_images(*images, NAMES, K, listed=listed).names == ("green box",)
    assert build_panorama_from_images(*images, NAMES, K, reach=1.5).names == ("green box",)
    assert build_panorama_from_images(None, *images[1:], NAMES, K).features[:, 3:].max() == 0


def test_an_object_all_around_has_a_box_all_around() -> None:
    seen = build_panorama_from_images(*scene((0, 0, 361, 30, 1, 1.0, (1, 2, 3))), NAMES, K)
    assert seen.boxes[0, 2] == pytest.approx(2 * np.pi)


def test_an_empty_place_has_no_objects() -> None:
    seen = build_panorama_from_images(*scene(), NAMES, K)
    assert seen.boxes.shape == (0, 4)
    assert seen.features.shape == (0, 6)
    assert not seen.canvas.any()


def test_images_that_do_not_fit_are_refused() -> None:
    rgb, depth, rows, instances = scene(RED)
    with pytest.raises(ValueError, match="unequal"):
        build_panorama_from_images(rgb, depth[:-1], rows, instances, NAMES, K)
    with pytest.raises(ValueError, match="rgb"):
        build_panorama_from_images(rgb[:, :-1], depth, rows, instances, NAMES, K)
    with pytest.raises(ValueError, match="allowed are -1 .. 1"):
        build_panorama_from_images(rgb, depth, rows, instances, NAMES, 2)
