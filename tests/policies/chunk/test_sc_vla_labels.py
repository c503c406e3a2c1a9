"""What SC-VLA imagines, against answers worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from embodied.policies.chunk.sc_vla.labels import (
    compute_imagined_position,
    compute_progress,
    compute_state_delta,
    unscale_delta,
)

DOWN = [1.0, 0.0, 0.0, 0.0]  # a half turn about x: the gripper's z axis points down
LEVEL = [0.0, 0.0, 0.0, 1.0]


def state(position, quaternion=LEVEL, gripper=0.0):
    return np.array([*position, *quaternion, gripper])


def test_two_centimetres_forward_are_one_unit() -> None:
    delta = compute_state_delta(state([0.4, 0, 0.2]), state([0.42, 0, 0.2]))
    assert delta.tolist() == pytest.approx([1, 0, 0, 0, 0, 0, 0], abs=1e-6)


def test_down_in_the_world_is_forward_for_a_gripper_that_points_down() -> None:
    delta = compute_state_delta(state([0.4, 0.1, 0.2], DOWN), state([0.4, 0.1, 0.18], DOWN))
    assert delta[:3].tolist() == pytest.approx([0, 0, 1], abs=1e-6)
    sideways = compute_state_delta(state([0.4, 0.1, 0.2], DOWN), state([0.4, 0.12, 0.2], DOWN))
    assert sideways[:3].tolist() == pytest.approx([0, -1, 0], abs=1e-6)


def test_rotation_and_gripper_have_their_scales() -> None:
    turned = (Rotation.from_quat(DOWN) * Rotation.from_rotvec([0, 0, 0.1])).as_quat()
    delta = compute_state_delta(state([0, 0, 0], DOWN, 0.9), state([0, 0, 0], turned, 0.8))
    assert delta.tolist() == pytest.approx([0, 0, 0, 0, 0, 1, -1], abs=1e-6)


def test_the_sign_of_a_quaternion_does_not_matter() -> None:
    now, later = state([0, 0, 0], DOWN), state([0.01, 0, 0], [-1.0, 0.0, 0.0, 0.0])
    assert compute_state_delta(now, later)[3:6].tolist() == pytest.approx([0, 0, 0], abs=1e-6)


def test_many_states_at_once() -> None:
    now = np.stack([state([0, 0, 0]), state([0, 0, 0], DOWN)])
    later = np.stack([state([0, 0, 0.02])] * 2)
    later[1, 3:7] = DOWN
    delta = compute_state_delta(now[:, None], later[:, None])
    assert delta.shape == (2, 1, 7)
    assert delta[:, 0, 2].tolist() == pytest.approx([1, -1])


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(-1, 1), min_size=12, max_size=12), st.integers(0, 9))
def test_the_imagined_position_undoes_the_label(numbers, seed) -> None:
    first, second = Rotation.random(2, rng=np.random.default_rng(seed))
    now = state(numbers[:3], first.as_quat())
    later = state(numbers[3:6], second.as_quat())
    back = compute_imagined_position(now, unscale_delta(compute_state_delta(now, later)))
    assert back == pytest.approx(later[:3], abs=1e-5)


def test_progress_is_the_share_of_the_episode_that_is_over() -> None:
    assert compute_progress(np.arange(4), np.array(4)).tolist() == [0, 0.25, 0.5, 0.75]
