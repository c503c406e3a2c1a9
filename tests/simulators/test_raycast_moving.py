"""Moving objects look as the same triangles standing where they were moved to."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from embodied.errors import SensorError
from embodied.simulators.base import CameraSpec, Material, Scene
from embodied.simulators.raycast import MovingCaster, RayCaster, RigidMeshes, embree, render_many
from embodied.simulators.scenes.builder import MeshPart, SceneBuilder

BACKENDS = ["numba", *(["embree"] if embree.load_library() is not None else [])]
CAMERA = CameraSpec(outputs=("rgb", "depth", "semantic", "instance"), width=72, height=48, hfov=70)


def moving_boxes(poses: np.ndarray | None = None) -> Scene:
    """Three coloured boxes in frames of their own, or where `poses` (4, 4, 4) put them."""
    rng = np.random.default_rng(5)
    builder = SceneBuilder("boxes")
    for number, name in enumerate(("chair", "sofa", "table"), start=1):
        half = rng.uniform(0.2, 0.5, 3)
        corners = np.array(np.meshgrid(*[[-1, 1]] * 3, indexing="ij")).reshape(3, 8).T * half
        faces = np.array(
            [[0, 1, 3], [0, 3, 2], [4, 6, 7], [4, 7, 5], [0, 4, 5], [0, 5, 1], [2, 3, 7], [2, 7, 6],
             [0, 2, 6], [0, 6, 4], [1, 5, 7], [1, 7, 3]]
        )  # fmt: skip
        color = tuple(rng.uniform(0.2, 1, 3).tolist())
        part = MeshPart(corners, faces, material=Material(color))
        builder.add_part(
            part, builder.add_object(name, name), None if poses is None else poses[number]
        )
    return builder.build_scene()


def moving_poses(seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    poses = np.broadcast_to(np.eye(4), (4, 4, 4)).copy()
    poses[1:, :3, :3] = Rotation.random(3, rng=rng).as_matrix()
    poses[1:, :3, 3] = rng.uniform(-0.8, 0.8, (3, 3)) - [0, 0, 2.5]
    return poses


@pytest.mark.parametrize("backend", BACKENDS)
def test_moving_equals_still_wherever_they_go(backend: str) -> None:
    moving = MovingCaster(RigidMeshes(moving_boxes(), backend))
    eye = np.eye(4)[None]
    for seed in range(4):
        poses = moving_poses(seed)
        moving.set_poses(poses)
        seen = render_many([moving], CAMERA, eye)
        still = RayCaster(moving_boxes(poses), backend=backend).render(CAMERA, eye)
        assert (seen["instance"] > 0).mean() > 0.05
        np.testing.assert_allclose(seen["depth"], still["depth"], atol=1e-4)
        np.testing.assert_array_equal(seen["semantic"], still["semantic"])
        np.testing.assert_array_equal(seen["instance"], still["instance"])
        off = np.abs(seen["rgb"].astype(int) - still["rgb"].astype(int))
        assert off.max() <= 1


@pytest.mark.parametrize("backend", BACKENDS)
def test_worlds_share_meshes_but_not_poses_or_colours(backend: str) -> None:
    meshes = RigidMeshes(moving_boxes(), backend)
    first, second = MovingCaster(meshes), MovingCaster(meshes)
    first.set_poses(moving_poses(0))
    second.set_poses(moving_poses(1))
    second.set_object_color(1, (1.0, 0.0, 0.0))
    eyes = np.repeat(np.eye(4)[None], 2, axis=0)
    both = render_many([first, second], CAMERA, eyes)
    alone = MovingCaster(meshes)
    alone.set_poses(moving_poses(0))
    again = render_many([alone], CAMERA, eyes[:1])
    for name in CAMERA.outputs:
        np.testing.assert_array_equal(both[name][0], again[name][0])
    painted = both["rgb"][1][both["instance"][1] == 1]
    assert len(painted)
    assert (painted[:, 1:] == 0).all()
    assert (painted[:, 0] > 100).all()


def test_poses_of_another_number_are_refused() -> None:
    moving = MovingCaster(RigidMeshes(moving_boxes()))
    with pytest.raises(SensorError, match=r"\(4, 4, 4\)"):
        moving.set_poses(np.eye(4)[None])
    with pytest.raises(SensorError, match="finite"):
        moving.set_poses(np.full((4, 4, 4), np.nan))
