"""Where things were seen: known answers, nearer looks win, what has moved is forgotten."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embodied.errors import ConfigError
from embodied.policies.mapping.mapper import BodyConfig, compute_camera_pose
from embodied.policies.mapping.object_memory import ObjectMemory, ObjectMemoryConfig

SIDE, HFOV = 200, 90.0
BODY = BodyConfig(camera_position=(0.0, 1.25, -0.12), pitch=-30.0)


def sighting_view(
    thing: np.ndarray | None,
    position: np.ndarray,
    yaw: float,
    wall: float = 6.0,
    half: float = 0.05,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mask, depth and pose of a camera that sees a ball-shaped blob before a far wall."""
    pose = compute_camera_pose(BODY, position, yaw)
    mask, depth = np.zeros((SIDE, SIDE), bool), np.full((SIDE, SIDE), wall, np.float32)
    if thing is not None:
        x, y, z = (thing - pose[:3, 3]) @ pose[:3, :3]
        focal = SIDE / 2
        rows, columns = np.indices((SIDE, SIDE)) + 0.5
        off = np.hypot(columns - (SIDE / 2 - focal * x / z), rows - (SIDE / 2 + focal * y / z))
        mask = off <= half * focal / -z
        depth[mask] = -z
    return mask, depth, pose


@given(
    st.floats(-3, 3), st.floats(-3, 3), st.floats(-3.1, 3.1), st.floats(0.8, 3.0),
    st.floats(-0.5, 0.5), st.floats(0.1, 0.9),
)  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_the_place_is_found_from_anywhere(
    x: float, z: float, yaw: float, ahead: float, aside: float, height: float
) -> None:
    position = np.array([x, 0.0, z])
    way = np.array([-np.sin(yaw), 0, -np.cos(yaw)])
    left = np.array([-np.cos(yaw), 0, np.sin(yaw)])
    thing = position + ahead * way + aside * left + [0, height, 0]
    seen = ObjectMemory().add_view(*sighting_view(thing, position, yaw), HFOV)
    assert seen is not None
    assert np.linalg.norm(seen.position - thing) < 0.02 * ahead + 0.01


def test_it_counts_once_seen_often_enough_and_large_enough() -> None:
    memory = ObjectMemory(ObjectMemoryConfig(votes=2, min_pixels=8))
    start, thing = np.zeros(3), np.array([0.0, 0.5, -2.0])
    assert memory.add_view(*sighting_view(thing, start, 0.0, half=0.01), HFOV) is None
    memory.add_view(*sighting_view(thing, start, 0.0), HFOV)
    assert memory.find_best_sighting() is None
    memory.add_view(*sighting_view(thing, start, 0.1), HFOV)
    assert memory.find_best_sighting() is memory.sightings[0]


def test_a_near_look_replaces_and_a_far_one_confirms() -> None:
    memory = ObjectMemory()
    thing = np.array([0.0, 0.5, -4.0])
    off = thing + [0.08, 0, 0]  # what a far look takes it for
    memory.add_view(*sighting_view(off, np.zeros(3), 0.0), HFOV)
    memory.add_view(*sighting_view(thing, np.array([0.0, 0, -3.0]), 0.0), HFOV)
    place = memory.find_best_sighting()
    assert place is not None
    assert np.linalg.norm(place.position - thing) < 0.02
    memory.add_view(*sighting_view(off, np.zeros(3), 0.0), HFOV)
    assert np.linalg.norm(place.position - thing) < 0.02
    assert place.votes == 3


def test_what_has_gone_is_forgotten_but_only_from_near_and_in_the_open() -> None:
    memory = ObjectMemory(ObjectMemoryConfig(misses=3, sure=2.0))
    thing, near = np.array([0.0, 0.5, -3.0]), np.array([0.0, 0.0, -1.6])
    for _ in range(3):
        memory.add_view(*sighting_view(thing, near, 0.0), HFOV)
    for _ in range(5):  # too far away to be sure, and looking elsewhere
        memory.add_view(*sighting_view(None, np.zeros(3), 0.0), HFOV)
        memory.add_view(*sighting_view(None, near, np.pi), HFOV)
    for _ in range(5):  # something stands before it
        memory.add_view(*sighting_view(None, near, 0.0, wall=0.5), HFOV)
    assert memory.find_best_sighting() is not None
    for _ in range(2):
        memory.add_view(*sighting_view(None, near, 0.0), HFOV)
    memory.add_view(*sighting_view(thing, near, 0.0), HFOV)  # there it is: misses begin anew
    for _ in range(2):
        memory.add_view(*sighting_view(None, near, 0.0), HFOV)
    assert memory.find_best_sighting() is not None
    memory.add_view(*sighting_view(None, near, 0.0), HFOV)
    assert memory.sightings == []


def test_two_things_are_two_places_and_one_can_be_ruled_out() -> None:
    memory = ObjectMemory()
    first, second = np.array([-0.4, 0.5, -2.0]), np.array([0.6, 0.5, -2.6])
    for thing in (first, second, first, second):
        memory.add_view(*sighting_view(thing, np.zeros(3), 0.0), HFOV)
    assert len(memory.sightings) == 2
    best = memory.find_best_sighting()
    assert best is not None
    assert np.linalg.norm(best.position - first) < 0.05  # nearer, so better known
    best.ruled_out = True
    other = memory.find_best_sighting()
    assert other is not None
    assert np.linalg.norm(other.position - second) < 0.05
    memory.reset()
    assert memory.sightings == []


def test_settings_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ConfigError, match="sure"):
        ObjectMemoryConfig(sure=0.0)
