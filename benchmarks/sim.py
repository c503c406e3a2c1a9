"""Speed of the ray caster against bare Embree and Open3D on one core: `embodied bench sim`.

All sides render the same frames of the same furnished houses. Times are process CPU time; the sides
take turns within a round, so that a busy machine slows them alike, and ratios are medians over
rounds.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numba import njit

from embodied.simulators.base import CameraSpec, Scene
from embodied.simulators.houses import generate_house
from embodied.simulators.raycast import (
    RayCaster,
    compute_camera_poses,
    compute_panorama_poses,
    embree,
    packet,
)
from embodied.simulators.raycast.cameras import compute_pixel_rays
from embodied.simulators.raycast.pointers import allocate_aligned, call_intersect, turn_rays

HOUSES = {"20k": 20_000, "200k": 200_000, "1M": 1_000_000}
SIZES = (64, 128, 256)
TARGETS = {
    "bench.200k.128.depth_semantic.ratio_to_open3d": 2.0,
    "bench.200k.128.depth_semantic.ratio_to_embree": 0.7,
    "bench.200k.128.rgbd_semantic.ratio_to_embree": 0.5,
    "bench.1M.load_s": 10.0,
    "bench.1M.rss_gb": 1.5,
}
LANES = packet.LANES
NEAR, FAR, GEOMETRY = packet.NEAR, packet.FAR, packet.GEOMETRY


@njit(nogil=True)  # no cache: it would bind the name this file was loaded under
def bare_embree(scene, turns, eyes, rays, words, ids, valid, query):  # noqa: ANN001, ANN201
    """Trace rays (T, 3, LANES) turned by (N, 3, 3) from eyes (N, 3); do nothing with the hits."""
    words_at, valid_at, rays_at = words.ctypes.data, valid.ctypes.data, rays.ctypes.data
    total = 0
    for n in range(len(eyes)):
        for lane in range(LANES):
            for axis in range(3):
                words[axis * LANES + lane] = eyes[n, axis]
            words[NEAR * LANES + lane] = 0.0
            words[packet.TIME * LANES + lane] = 0.0
            ids[packet.MASK * LANES + lane] = -1
        for tile in range(len(rays)):
            for axis in range(3):
                target = words_at + 4 * LANES * (packet.DIRECTION + axis)
                x, y, z = turns[n, axis, 0], turns[n, axis, 1], turns[n, axis, 2]
                turn_rays(target, rays_at + 12 * LANES * tile, x, y, z)
            for lane in range(LANES):
                words[FAR * LANES + lane] = np.inf
            for lane in range(LANES):
                ids[GEOMETRY * LANES + lane] = -1
            call_intersect(query[0], valid_at, scene, words_at, query[1])
            total += ids[GEOMETRY * LANES]
    return total


def embree_side(caster: RayCaster, size: int, poses: np.ndarray) -> Callable[[], object]:
    """Prepare (a): the same rays in the same packets, traced only."""
    rays = compute_pixel_rays("pinhole", size, size, 90.0, LANES)[0]
    turns = np.ascontiguousarray(poses[:, :3, :3], np.float32)
    words, valid = allocate_aligned(packet.PACKET, np.float32), allocate_aligned(LANES, np.int32)
    valid[:] = -1
    arguments = embree.make_query_arguments(True)
    query = np.array([embree.get_intersect_address(LANES), arguments.ctypes.data], np.int64)
    eyes, scene = poses[:, :3, 3].astype(np.float32), int(caster._row[packet.SCENE])
    return lambda: bare_embree(scene, turns, eyes, rays, words, words.view(np.int32), valid, query)


def open3d_side(
    scene: Scene, images: bool
) -> Callable[[int, np.ndarray], Callable[[], object]] | None:
    """Prepare (b): Open3D's own frame, pinhole rays and one cast; None without Open3D.

    With `images`, the answer is also made into what we return: a depth and a class image.
    """
    try:
        import open3d as o3d
    except ImportError:
        return None
    world = o3d.t.geometry.RaycastingScene(nthreads=1)
    world.add_triangles(
        o3d.core.Tensor(np.array(scene.vertices)), o3d.core.Tensor(scene.faces.astype(np.uint32))
    )
    labels = np.append(scene.compute_face_categories(), 0)
    nothing = len(scene.faces)
    flip = np.diag([1.0, -1.0, -1.0, 1.0])  # Open3D's cameras look along +z with y down

    def prepare(size: int, poses: np.ndarray) -> Callable[[], object]:
        half = size / 2
        intrinsic = o3d.core.Tensor(np.array([[half, 0, half], [0, half, half], [0, 0, 1.0]]))
        extrinsics = [o3d.core.Tensor(np.linalg.inv(pose @ flip)) for pose in poses]

        def frames() -> None:
            for extrinsic in extrinsics:
                rays = o3d.t.geometry.RaycastingScene.create_rays_pinhole(
                    intrinsic, extrinsic, size, size
                )
                answer = world.cast_rays(rays, nthreads=1)
                if images:
                    depth = answer["t_hit"].numpy()
                    depth[np.isinf(depth)] = 0.0
                    labels[np.minimum(answer["primitive_ids"].numpy(), nothing)]

        return frames

    return prepare


def room_poses(caster: RayCaster, count: int, seed: int = 0) -> np.ndarray:
    """Camera poses (count, 4, 4) 1.25 m above the floor, in rooms, 0.3 m clear of everything."""
    rng = np.random.default_rng(seed)
    low, high = caster.scene.bounds
    points = rng.uniform(low, high, (200 * count, 3))
    points[:, 1] = low[1] + 1.35
    clear = np.ones(len(points), bool)
    for angle in np.linspace(0, 2 * np.pi, 12, endpoint=False):
        ray = np.tile([np.cos(angle), 0.0, np.sin(angle)], (len(points), 1))
        distance = caster.cast_rays(points, ray).distance
        clear &= (distance > 0.3) & np.isfinite(distance)
    feet = points[clear][:count] - [0.0, 1.25, 0.0]
    return compute_camera_poses(feet, rng.uniform(-np.pi, np.pi, len(feet)), CameraSpec())


def compare(sides: dict[str, Callable[[], object]], rounds: int) -> dict[str, np.ndarray]:
    """CPU seconds (rounds,) of each side; the sides take turns after one unmeasured turn."""
    times: dict[str, list[float]] = {name: [] for name in sides}
    for turn in range(rounds + 1):
        for name, work in sides.items():
            start = time.process_time()
            work()
            if turn:
                times[name].append(time.process_time() - start)
    return {name: np.array(values) for name, values in times.items()}


def bench_house(label: str, quick: bool) -> dict[str, float]:
    """Frames of one house at every size, plus panoramas and equirectangular images."""
    scene = generate_house(7, rooms=10, triangles=HOUSES[label])
    caster = RayCaster(scene)
    others = {
        "open3d": open3d_side(scene, images=False),
        "open3d_images": open3d_side(scene, images=True),
    }
    poses = room_poses(caster, 8 if quick else 24)
    rounds = 3 if quick else 9
    found: dict[str, float] = {f"bench.{label}.triangles": float(len(scene.faces))}
    for size in SIZES:
        sides = {
            "embree": embree_side(caster, size, poses),
            "depth_semantic": _ours(caster, ("depth", "semantic"), size, poses),
            "rgbd_semantic": _ours(caster, ("rgb", "depth", "semantic"), size, poses),
        }
        sides |= {name: other(size, poses) for name, other in others.items() if other is not None}
        times = compare(sides, rounds)
        for name, seconds in times.items():
            key = f"bench.{label}.{size}.{name}"
            frame = float(np.median(seconds)) / len(poses)
            found[f"{key}.frames_per_s"] = 1 / frame
            found[f"{key}.mrays_per_s"] = size * size / frame / 1e6
            for base in ("embree", "open3d", "open3d_images"):
                if base in times and name not in ("embree", "open3d", "open3d_images"):
                    found[f"{key}.ratio_to_{base}"] = float(np.median(times[base] / seconds))
    around = np.concatenate([compute_panorama_poses(pose) for pose in poses[:2]])
    outputs = ("rgb", "depth", "semantic")
    sphere = CameraSpec(outputs, 512, 256, projection="equirectangular")
    times = compare(
        {
            "panoramas_per_s": _ours(caster, outputs, 128, around),
            "equirectangular_per_s": lambda: caster.render(sphere, poses[:4]),
        },
        max(rounds // 2, 1),
    )
    found[f"bench.{label}.panoramas_per_s"] = 2 / float(np.median(times["panoramas_per_s"]))
    found[f"bench.{label}.equirectangular_per_s"] = 4 / float(
        np.median(times["equirectangular_per_s"])
    )
    return found


def _ours(
    caster: RayCaster, outputs: tuple[str, ...], size: int, poses: np.ndarray
) -> Callable[[], object]:
    camera = CameraSpec(outputs, size, size, 90.0)
    return lambda: caster.render(camera, poses)


_LOAD = """
import sys, time
from embodied.simulators.base import CameraSpec
from embodied.simulators.raycast import RayCaster, camera_poses
from embodied.simulators.scenes import load_scene
import numpy as np
start, cpu = time.perf_counter(), time.process_time()
scene = load_scene(sys.argv[1])
caster = RayCaster(scene)
feet = scene.bounds.mean(axis=0, keepdims=True)
caster.render(CameraSpec(), camera_poses(feet, np.zeros(1), CameraSpec()))
print(time.process_time() - cpu, time.perf_counter() - start, len(scene.faces))
try:
    status = open("/proc/self/status").read()
    print(int(status.split("VmHWM:")[1].split()[0]) / 1024**2)
except (OSError, IndexError):
    import resource
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2)
"""


def bench_load(label: str) -> dict[str, float]:
    """Load a house from a binary glTF file in a fresh process, up to its first frame."""
    import trimesh

    scene = generate_house(7, rooms=10, triangles=HOUSES[label])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "house.glb"
        trimesh.Trimesh(scene.vertices, scene.faces, process=False).export(path)
        command = [sys.executable, "-c", _LOAD, str(path)]
        answer = subprocess.run(  # noqa: S603
            command, check=True, capture_output=True, text=True, cwd=Path(__file__).parents[1]
        )
    cpu, wall, _, memory = (float(word) for word in answer.stdout.split())
    return {
        f"bench.{label}.load_s": cpu,
        f"bench.{label}.load_wall_s": wall,
        f"bench.{label}.rss_gb": memory,
    }


def print_table(found: dict[str, float], labels: tuple[str, ...]) -> None:
    """Print frames per core-second and the ratios."""
    head = (
        "house",
        "px",
        "embree",
        "open3d",
        "depth+sem",
        "rgb-d+sem",
        "/open3d",
        "/embree",
        "rgb/e",
    )
    print(" | ".join(f"{word:>9}" for word in head))
    for label in labels:
        for size in SIZES:
            key = f"bench.{label}.{size}"
            row = [
                *(f"{key}.{side}.frames_per_s" for side in ("embree", "open3d")),
                f"{key}.depth_semantic.frames_per_s",
                f"{key}.rgbd_semantic.frames_per_s",
                f"{key}.depth_semantic.ratio_to_open3d",
                f"{key}.depth_semantic.ratio_to_embree",
                f"{key}.rgbd_semantic.ratio_to_embree",
            ]
            cells = [f"{found[k]:.4g}" if k in found else "-" for k in row]
            print(" | ".join(f"{cell:>9}" for cell in (label, str(size), *cells)))
        print(
            f"{label}: {found[f'bench.{label}.panoramas_per_s']:.1f} panoramas (36 x 128 px) and "
            f"{found[f'bench.{label}.equirectangular_per_s']:.0f} equirectangular 512x256 images/s"
        )


def run(quick: bool = False) -> dict[str, float]:
    """Measure, print the table and return the figures by dotted key (rates are per core-second)."""
    if embree.load_library() is None:
        print("Embree is not installed here (package embreex): nothing to compare with")
        return {}
    labels = ("20k",) if quick else tuple(HOUSES)
    found: dict[str, float] = {}
    for label in labels:
        found |= bench_house(label, quick)
    if not any("open3d" in key for key in found):
        print("Open3D is not installed (pip install open3d): its columns are skipped")
    print_table(found, labels)
    if not quick:
        found |= bench_load("1M")
        load, memory = found["bench.1M.load_s"], found["bench.1M.rss_gb"]
        print(f"1M triangles: loaded in {load:.1f} s CPU, {memory:.2f} GB")
    for key, target in TARGETS.items():
        if key in found:
            met = found[key] <= target if key.startswith("bench.1M") else found[key] >= target
            print(f"{key}: {found[key]:.3g} (target {target:g}) {'met' if met else 'NOT MET'}")
    return found


if __name__ == "__main__":
    run()
