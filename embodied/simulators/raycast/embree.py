"""Intel Embree 4 through ctypes, from the shared library inside the `embreex` wheel.

Only the C calls that ray casting needs are bound: one device per process, one scene per mesh with
buffers shared with numpy, and the addresses of the packet queries for compiled kernels.
"""

from __future__ import annotations

import ctypes
import glob
import importlib.util
import os
import weakref
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from embodied.errors import SceneError

_TRIANGLE, _INSTANCE, _INDEX_BUFFER, _VERTEX_BUFFER = 0, 121, 0, 1
_FORMAT_UINT3, _FORMAT_FLOAT3, _FORMAT_FLOAT3X4 = 0x5003, 0x9003, 0x9134
_NO_INSTANCING, _COHERENT = 0xFFFFFFFF, 1 << 16
_DYNAMIC_SCENE, _ROBUST_SCENE = 1 << 0, 1 << 2
_QUALITY_LOW, _QUALITY_MEDIUM = 0, 1


@cache
def load_library() -> ctypes.CDLL | None:
    """Return the Embree library, or None where the `embreex` wheel is absent."""
    spec = importlib.util.find_spec("embreex")
    if spec is None or spec.origin is None:
        return None
    site = Path(spec.origin).parent.parent
    found = sorted(
        glob.glob(str(site / "embreex.libs" / "*embree4*"))
        + glob.glob(str(site / "embreex" / ".dylibs" / "*embree4*"))
    )
    try:
        importlib.import_module("embreex.rtcore")  # loads the libraries Embree itself needs
        embree = ctypes.CDLL(found[0]) if found else None
    except (ImportError, OSError):
        return None
    if embree is None:
        return None
    pointer, unsigned, size = ctypes.c_void_p, ctypes.c_uint, ctypes.c_size_t
    signatures: dict[str, tuple[object, list[object]]] = {
        "rtcNewDevice": (pointer, [ctypes.c_char_p]),
        "rtcGetDeviceError": (ctypes.c_int, [pointer]),
        "rtcNewScene": (pointer, [pointer]),
        "rtcSetSceneFlags": (None, [pointer, ctypes.c_int]),
        "rtcSetSceneBuildQuality": (None, [pointer, ctypes.c_int]),
        "rtcNewGeometry": (pointer, [pointer, ctypes.c_int]),
        "rtcSetGeometryBuildQuality": (None, [pointer, ctypes.c_int]),
        "rtcSetSharedGeometryBuffer": (
            None,
            [pointer, ctypes.c_int, unsigned, ctypes.c_int, pointer, size, size, size],
        ),
        "rtcSetGeometryInstancedScene": (None, [pointer, pointer]),
        "rtcSetGeometryTransform": (None, [pointer, unsigned, ctypes.c_int, pointer]),
        "rtcCommitGeometry": (None, [pointer]),
        "rtcAttachGeometryByID": (None, [pointer, pointer, unsigned]),
        "rtcReleaseGeometry": (None, [pointer]),
        "rtcCommitScene": (None, [pointer]),
        "rtcReleaseScene": (None, [pointer]),
    }
    for name, (result, arguments) in signatures.items():
        function = getattr(embree, name)
        function.restype, function.argtypes = result, arguments
    return embree


@cache
def _device(process: int) -> int:
    """One Embree device per process: a forked child must not share its parent's build threads.

    Huge pages, where the system grants them, spare address look-ups (0 to 5 % at 200k triangles).
    """
    embree = load_library()
    assert embree is not None  # noqa: S101
    return int(embree.rtcNewDevice(b"threads=1,set_affinity=0,hugepages=1"))


@cache
def get_intersect_address(lanes: int) -> int:
    """Address of the packet query for 4, 8 or 16 rays."""
    embree = load_library()
    assert embree is not None  # noqa: S101
    return int(ctypes.cast(getattr(embree, f"rtcIntersect{lanes}"), ctypes.c_void_p).value or 0)


@cache
def make_query_arguments(coherent: bool) -> NDArray[np.uint32]:
    """Memory of one `RTCIntersectArguments` with every feature allowed and no filter."""
    memory = np.zeros(16, np.uint32)
    memory[0] = _COHERENT if coherent else 0
    memory[1] = _NO_INSTANCING
    return memory


class EmbreeScene:
    """A committed Embree scene of triangle objects; freed when garbage-collected.

    Each object is a geometry of its own with the object's number, so a hit names its object.

    Args:
        vertices: (V, 3) float32 [m].
        faces: (F, 3) int32, sorted by object.
        first: (O + 1,) first face of each object, and F.
        robust: watertight edge tests (slower, no pinholes between neighbouring triangles).
    """

    def __init__(
        self,
        vertices: NDArray[np.float32],
        faces: NDArray[np.int32],
        first: NDArray[np.int32],
        robust: bool = False,
    ) -> None:
        embree = load_library()
        if embree is None:
            raise SceneError("Embree is not available here: use RayCaster(scene, backend='numba')")
        # Embree reads 16 bytes at the last vertex: the shared buffer needs a spare row.
        self._vertices = np.zeros((len(vertices) + 1, 3), np.float32)
        self._vertices[:-1] = vertices
        self._faces = np.ascontiguousarray(faces, np.int32)
        device = _device(os.getpid())
        handle = embree.rtcNewScene(device)
        embree.rtcSetSceneFlags(handle, _ROBUST_SCENE if robust else 0)
        embree.rtcSetSceneBuildQuality(handle, _QUALITY_MEDIUM)
        for number in np.flatnonzero(np.diff(first)).tolist():
            block = slice(int(first[number]), int(first[number + 1]))
            _attach(embree, handle, number, self._vertices, self._faces[block])
        embree.rtcCommitScene(handle)
        _check(embree, f"{len(faces)} faces")
        self.handle = int(handle)
        self._release = weakref.finalize(
            self, _free, embree, [self.handle], os.getpid(), self._vertices, self._faces
        )


class EmbreeMeshes:
    """Rigid objects, each a scene of its own in its own frame, for `EmbreeInstances` to move.

    Args:
        vertices: (V, 3) float32 [m].
        faces: (F, 3) int32, sorted by object.
        first: (O + 1,) first face of each object, and F.

    Attributes:
        handles: scene of each object, 0 for one without faces.
    """

    def __init__(
        self, vertices: NDArray[np.float32], faces: NDArray[np.int32], first: NDArray[np.int32]
    ) -> None:
        embree = load_library()
        if embree is None:
            raise SceneError("Embree is not available here: use backend='numba'")
        self._vertices = np.zeros((len(vertices) + 1, 3), np.float32)
        self._vertices[:-1] = vertices
        self._faces = np.ascontiguousarray(faces, np.int32)
        self.handles = [0] * (len(first) - 1)
        for number in np.flatnonzero(np.diff(first)).tolist():
            handle = embree.rtcNewScene(_device(os.getpid()))
            embree.rtcSetSceneBuildQuality(handle, _QUALITY_MEDIUM)
            block = slice(int(first[number]), int(first[number + 1]))
            # Under the object's own number, so that a hit names the object as in a still scene.
            _attach(embree, handle, number, self._vertices, self._faces[block])
            embree.rtcCommitScene(handle)
            self.handles[number] = int(handle)
        _check(embree, f"{len(faces)} faces")
        self._release = weakref.finalize(
            self, _free, embree, self.handles, os.getpid(), self._vertices, self._faces
        )


class EmbreeInstances:
    """A scene in which the objects of some meshes stand at poses that change.

    Args:
        meshes: the objects; others may move them elsewhere at the same time.

    Attributes:
        handle: the scene.
    """

    def __init__(self, meshes: EmbreeMeshes) -> None:
        embree = load_library()
        assert embree is not None  # noqa: S101
        device = _device(os.getpid())
        self._embree, self._meshes = embree, meshes
        self.handle = int(embree.rtcNewScene(device))
        embree.rtcSetSceneFlags(self.handle, _DYNAMIC_SCENE)
        embree.rtcSetSceneBuildQuality(self.handle, _QUALITY_LOW)
        self._geometries = [0] * len(meshes.handles)
        for number, mesh in enumerate(meshes.handles):
            if mesh:
                geometry = embree.rtcNewGeometry(device, _INSTANCE)
                embree.rtcSetGeometryInstancedScene(geometry, mesh)
                embree.rtcAttachGeometryByID(self.handle, geometry, number)
                embree.rtcReleaseGeometry(geometry)  # the scene keeps it
                self._geometries[number] = int(geometry)
        self._release = weakref.finalize(self, _free, embree, [self.handle], os.getpid(), meshes)

    def set_poses(self, poses: NDArray[np.float32], moved: NDArray[np.integer]) -> None:
        """Put objects at poses, the array (O, 3, 4), and rebuild the small tree above them.

        Args:
            poses: of every object, object to world.
            moved: numbers of the objects that are not where they were.
        """
        address, size = poses.ctypes.data, poses.strides[0]
        for number in moved.tolist():
            if geometry := self._geometries[number]:
                self._embree.rtcSetGeometryTransform(
                    geometry, 0, _FORMAT_FLOAT3X4, address + number * size
                )
                self._embree.rtcCommitGeometry(geometry)
        self._embree.rtcCommitScene(self.handle)


def _attach(
    embree: ctypes.CDLL,
    scene: int,
    number: int,
    vertices: NDArray[np.float32],
    faces: NDArray[np.int32],
) -> None:
    """Add triangles to a scene under a number; the buffers stay numpy's, vertices with a spare."""
    geometry = embree.rtcNewGeometry(_device(os.getpid()), _TRIANGLE)
    for slot, form, address, length in (
        (_VERTEX_BUFFER, _FORMAT_FLOAT3, vertices.ctypes.data, len(vertices) - 1),
        (_INDEX_BUFFER, _FORMAT_UINT3, faces.ctypes.data, len(faces)),
    ):
        embree.rtcSetSharedGeometryBuffer(geometry, slot, 0, form, address, 0, 12, length)
    embree.rtcCommitGeometry(geometry)
    embree.rtcAttachGeometryByID(scene, geometry, number)
    embree.rtcReleaseGeometry(geometry)


def _check(embree: ctypes.CDLL, what: str) -> None:
    error = embree.rtcGetDeviceError(_device(os.getpid()))
    if error:
        raise SceneError(f"Embree could not build the scene (code {error}, {what})")


def _free(embree: ctypes.CDLL, handles: list[int], process: int, *owned: object) -> None:
    """Release scenes in the process that built them; `owned` only outlives them."""
    if os.getpid() == process:
        for handle in handles:
            if handle:
                embree.rtcReleaseScene(handle)
