"""The ray caster: one scene ready to be looked at, alone or many scenes in one call."""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from embodied.errors import SensorError, suggest_nearest
from embodied.simulators.base import OUTPUTS, CameraSpec, Scene
from embodied.simulators.raycast import embree, kernels, packet
from embodied.simulators.raycast.bvh import STACK, build_bvh
from embodied.simulators.raycast.cameras import check_poses, compute_pixel_rays
from embodied.simulators.raycast.pointers import allocate_aligned
from embodied.simulators.raycast.surface import pack_surface, sort_faces_by_object

BACKENDS = ("auto", "embree", "numba")


class RayHits(NamedTuple):
    """First hits of N rays.

    Attributes:
        distance: (N,) float32 ray parameter ([m] for unit directions), inf where nothing is hit.
        face: (N,) int32, -1 where nothing is hit.
        uv: (N, 2) float32 barycentric coordinates of the face's second and third corner.
    """

    distance: NDArray[np.float32]
    face: NDArray[np.int32]
    uv: NDArray[np.float32]


class Renderable(Protocol):
    """What `render_many` looks at: a row of addresses, and how many threads may."""

    threads: int
    _row: NDArray[np.int64]


class RayCaster:
    """Casts rays into a scene and renders cameras in it.

    Args:
        scene: the world.
        threads: worker threads of `render`; each renders whole images.
        backend: "embree", "numba" (no native library, slower) or "auto": Embree where its wheel is
            installed.

    Attributes:
        scene: the world given.
        backend: the tracer in use, "embree" or "numba".
    """

    def __init__(self, scene: Scene, threads: int = 1, backend: str = "auto") -> None:
        if threads < 1:
            raise SensorError(f"threads = {threads}: give 1 or more")
        self.scene = scene
        self.threads = threads
        self.backend = backend = choose_backend(backend)
        ordered, order, first = sort_faces_by_object(scene)
        surface = pack_surface(ordered)
        self._row = np.zeros(packet.COLUMNS, np.int64)
        for column, array in (
            (packet.FIRST, first),
            (packet.ORDER, order),
            (packet.CLASSES, surface.classes),
            (packet.COLORS, surface.colors),
            (packet.COORDS, surface.coords),
            (packet.TEXTURES, surface.textures),
            (packet.TEXELS, surface.texels),
        ):
            self._row[column] = array.ctypes.data
        tracer: object
        if backend == "embree":
            tracer = native = embree.EmbreeScene(ordered.vertices, ordered.faces, first)
            self._row[packet.SCENE] = native.handle
        else:
            tracer = tree = build_bvh(ordered.vertices, ordered.faces, first)
            self._row[packet.NODES] = tree.nodes.ctypes.data
            self._row[packet.TRIANGLES] = tree.triangles.ctypes.data
        # The row holds addresses only: these keep the memory alive.
        self._owned = surface, tracer, first, order

    def __reduce__(self) -> tuple[type[RayCaster], tuple[Scene, int, str]]:
        """Travel between processes as the scene; the tree is built again on arrival."""
        return RayCaster, (self.scene, self.threads, self.backend)

    def cast_rays(self, origins: NDArray[np.floating], directions: NDArray[np.floating]) -> RayHits:
        """Return the first hit of each ray.

        Args:
            origins: (N, 3) [m].
            directions: (N, 3), any length but zero; distances are in units of it.

        Raises:
            SensorError: shapes differ, or a ray holds NaN or infinity.
        """
        origins = np.ascontiguousarray(origins, np.float32)
        directions = np.ascontiguousarray(directions, np.float32)
        if origins.ndim != 2 or origins.shape[1] != 3 or origins.shape != directions.shape:
            raise SensorError(
                f"ray origins {origins.shape} and directions {directions.shape} must both be (N, 3)"
            )
        if not (np.isfinite(origins).all() and np.isfinite(directions).all()):
            raise SensorError("a ray's origin or direction holds NaN or infinity")
        count = len(origins)
        hits = RayHits(
            np.empty(count, np.float32), np.empty(count, np.int32), np.empty((count, 2), np.float32)
        )
        kernels.cast_rays(self._row, origins, directions, *hits, *_scratch(), _query(False))
        return hits

    def render(
        self, camera: CameraSpec, poses: NDArray[np.floating]
    ) -> dict[str, NDArray[np.generic]]:
        """Render one camera at many poses.

        Args:
            camera: what to render; its `position` and `pitch` are NOT applied (see `camera_poses`).
            poses: (N, 4, 4) camera-to-world.

        Returns:
            One array per output: rgb (N, H, W, 3) uint8, depth (N, H, W) float32 [m], semantic and
            instance (N, H, W) int32 (0 where nothing is hit).

        Raises:
            SensorError: a pose is not (4, 4) or holds NaN or infinity.
        """
        poses = check_poses(poses)
        return _render(self._row[None], np.zeros(len(poses), np.int64), camera, poses, self.threads)


def choose_backend(name: str) -> str:
    """Return the tracer that a name stands for, "embree" or "numba".

    Raises:
        SensorError: unknown name.
    """
    if name not in BACKENDS:
        raise SensorError(f"unknown ray tracer '{name}': {suggest_nearest(name, BACKENDS)}")
    if name == "auto":
        if embree.load_library() is None:
            _say_that_numba_serves()
            return "numba"
        return "embree"
    return name


@cache
def _say_that_numba_serves() -> None:
    """Say it once per process."""
    warnings.warn(
        "Embree (the package embreex, with wheels for x86-64 and macOS) is not installed: numba "
        "traces the rays, with the same images but more slowly",
        stacklevel=4,
    )


def render_many(
    casters: Sequence[Renderable], camera: CameraSpec, poses: NDArray[np.floating]
) -> dict[str, NDArray[np.generic]]:
    """Render one camera per caster (scenes may differ or repeat) in one call.

    Args:
        casters: N ray casters.
        camera: as in `RayCaster.render`.
        poses: (N, 4, 4), pose i is in the scene of caster i.

    Returns:
        As `RayCaster.render`.
    """
    poses = check_poses(poses)
    if len(casters) != len(poses):
        raise SensorError(f"{len(casters)} ray casters for {len(poses)} poses: give one for each")
    if not casters:
        raise SensorError("no ray casters to render with: give at least one")
    rows = np.stack([caster._row for caster in casters])
    threads = max(caster.threads for caster in casters)
    return _render(rows, np.arange(len(poses)), camera, poses, threads)


_local = threading.local()


def _scratch() -> tuple[NDArray[np.generic], ...]:
    """This thread's packet (as float32 and as int32), valid mask and traversal stack."""
    if not hasattr(_local, "scratch"):
        words = allocate_aligned(packet.PACKET, np.float32)
        valid = allocate_aligned(packet.LANES, np.int32)
        valid[:] = -1
        _local.scratch = words, words.view(np.int32), valid, np.zeros(STACK, np.int32)
    return _local.scratch


def _query(coherent: bool) -> NDArray[np.int64]:
    """Addresses of Embree's packet query and of its arguments."""
    if embree.load_library() is None:
        return np.zeros(2, np.int64)
    address = embree.get_intersect_address(packet.LANES)
    return np.array([address, embree.make_query_arguments(coherent).ctypes.data], np.int64)


@cache
def _pool(process: int, workers: int) -> ThreadPoolExecutor:
    """Worker threads of this process (a forked child does not have its parent's)."""
    return ThreadPoolExecutor(workers, thread_name_prefix="raycast")


def _render(
    rows: NDArray[np.int64],
    which: NDArray[np.int64],
    camera: CameraSpec,
    poses: NDArray[np.float64],
    threads: int,
) -> dict[str, NDArray[np.generic]]:
    count, height, width = len(poses), camera.height, camera.width
    directions, pixels, pixel_size = compute_pixel_rays(
        camera.projection, width, height, camera.hfov, packet.LANES
    )
    want = np.array([name in camera.outputs for name in OUTPUTS])
    flat = {
        name: np.empty((count, height * width * channels if wanted else 0), kind)
        for name, wanted, channels, kind in zip(
            OUTPUTS, want, (3, 1, 1, 1), (np.uint8, np.float32, np.int32, np.int32), strict=True
        )
    }
    query = _query(True)
    near = np.float32(camera.min_depth)
    far = np.float32(min(camera.max_depth, float(np.finfo(np.float32).max)))  # inf marks a miss

    def work(first: int, last: int) -> None:
        kernels.render(
            first, last, rows, which, poses, directions, pixels, pixel_size, near, far, want,
            *flat.values(), *_scratch(), query,
        )  # fmt: skip

    workers = min(threads, count)
    if workers <= 1:
        work(0, count)
    else:
        cuts = np.linspace(0, count, workers + 1).astype(int)
        list(_pool(os.getpid(), workers).map(work, cuts[:-1], cuts[1:]))
    shape = (count, height, width)
    return {
        name: flat[name].reshape(shape + (3,) if name == "rgb" else shape)
        for name in camera.outputs
    }
