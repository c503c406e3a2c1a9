"""What a simulated world is made of: scene, camera and agent descriptions.

Data only; embedded.py gives it behaviour.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from embodied.categories import MPCAT40
from embodied.errors import SceneError, SensorError, suggest_nearest

OUTPUTS = ("rgb", "depth", "semantic", "instance")
PROJECTIONS = ("pinhole", "equirectangular")
MAX_PIXELS = 1 << 26
"""Largest image: 8192 x 8192."""


@dataclass(frozen=True)
class Material:
    """Surface colour: a base colour times an optional texture.

    Attributes:
        color: RGB in [0, 1], sRGB.
        texture: (H, W, 3) uint8 sRGB, first row = top of the image (v = 1), or None.
    """

    color: tuple[float, float, float] = (0.7, 0.7, 0.7)
    texture: NDArray[np.uint8] | None = None


@dataclass(frozen=True)
class SceneObject:
    """One instance; its id is its index in `Scene.objects`, where 0 is the unlabelled rest.

    Attributes:
        category: class name, one of the scene's `categories`.
        name: the source's own name for it ("refrigerator"), for people and for language.
        center, size: axis-aligned box in the world frame [m].
        room: index into `Scene.rooms`, or None.
    """

    category: str
    name: str
    center: tuple[float, float, float] = (0.0, 0.0, 0.0)
    size: tuple[float, float, float] = (0.0, 0.0, 0.0)
    room: int | None = None


@dataclass(frozen=True)
class Room:
    """A room: its type ("kitchen"), floor polygon ((K, 2) x, z [m]) and floor height [m]."""

    category: str
    polygon: NDArray[np.float64]
    floor: float = 0.0


@dataclass(frozen=True)
class Scene:
    """A static triangle world. Arrays are read-only; build one with the loaders, never by mutation.

    Attributes:
        vertices: (V, 3) float32, y up [m].
        faces: (F, 3) int32 into `vertices`.
        face_object: (F,) int32 into `objects` (the instance id images show).
        face_material: (F,) int32 into `materials`.
        uv: (F, 3, 2) float32 per face corner, or None when no material has a texture.
        colors: (V, 3) uint8 vertex colours multiplied into the material colour, or None.
        objects: instances; objects[0] is the unlabelled rest.
        categories: class names; the first 42 are mpcat40's (class id = index).
    """

    name: str
    vertices: NDArray[np.float32]
    faces: NDArray[np.int32]
    face_object: NDArray[np.int32]
    face_material: NDArray[np.int32]
    materials: Sequence[Material] = (Material(),)
    uv: NDArray[np.float32] | None = None
    colors: NDArray[np.uint8] | None = None
    objects: Sequence[SceneObject] = (SceneObject("unlabeled", "scene"),)
    categories: Sequence[str] = MPCAT40
    rooms: Sequence[Room] = ()

    def __post_init__(self) -> None:
        count = len(self.faces)
        if count == 0:
            raise SceneError(
                f"scene '{self.name}' has no triangles: nothing to see or walk on. Check the file."
            )
        if self.vertices.ndim != 2 or self.vertices.shape[1] != 3 or self.faces.shape != (count, 3):
            raise SceneError(
                f"scene '{self.name}': vertices {self.vertices.shape} and faces {self.faces.shape} "
                "must be (V, 3) and (F, 3)"
            )
        if self.faces.min() < 0 or self.faces.max() >= len(self.vertices):
            raise SceneError(
                f"scene '{self.name}': a face names a vertex that does not exist; damaged file"
            )
        if not np.isfinite(self.vertices).all():
            bad = int((~np.isfinite(self.vertices).all(axis=1)).sum())
            raise SceneError(
                f"scene '{self.name}': {bad} of {len(self.vertices)} vertices are NaN or infinite; "
                "repair the mesh"
            )
        for label, index, size in (
            ("face_object", self.face_object, len(self.objects)),
            ("face_material", self.face_material, len(self.materials)),
        ):
            if index.shape != (count,) or index.min() < 0 or index.max() >= size:
                raise SceneError(
                    f"scene '{self.name}': {label} must be ({count},) with values in [0, {size})"
                )
        for array in (
            self.vertices,
            self.faces,
            self.face_object,
            self.face_material,
            self.uv,
            self.colors,
        ):
            if array is not None:
                array.setflags(write=False)

    @property
    def bounds(self) -> NDArray[np.float64]:
        """(2, 3) lowest and highest corner [m]."""
        return np.stack([self.vertices.min(axis=0), self.vertices.max(axis=0)]).astype(np.float64)

    def compute_face_categories(self) -> NDArray[np.int32]:
        """(F,) class id of each face."""
        lookup = {name: i for i, name in enumerate(self.categories)}
        return np.array([lookup[o.category] for o in self.objects], np.int32)[self.face_object]


@dataclass(frozen=True)
class NoiseSpec:
    """Sensor noise, off by default.

    Attributes:
        rgb_sigma: Gaussian noise added to each 8-bit channel, standard deviation in levels.
        depth: "none" or "redwood" (disparity noise that grows with the square of the depth,
            lateral jitter and quantisation).
        depth_multiplier: scales the depth noise.
    """

    rgb_sigma: float = 0.0
    depth: Literal["none", "redwood"] = "none"
    depth_multiplier: float = 1.0

    def __post_init__(self) -> None:
        for name in ("rgb_sigma", "depth_multiplier"):
            if not 0 <= getattr(self, name) < math.inf:
                raise SensorError(
                    f"noise {name} = {getattr(self, name)} must not be negative or infinite"
                )
        if self.depth not in ("none", "redwood"):
            raise SensorError(
                f"unknown depth noise '{self.depth}': allowed are 'none' and 'redwood'"
            )


@dataclass(frozen=True)
class CameraSpec:
    """One camera on the agent and the images it returns.

    Attributes:
        outputs: any of "rgb" (uint8), "depth" (float32 [m] along the optical axis, 0 = nothing hit
            or beyond max_depth), "semantic" (int32 class id) and "instance" (int32 object id).
        width, height: pixels.
        hfov: horizontal field of view [deg], pinhole only.
        position: offset from the agent's feet in its own frame [m].
        pitch: tilt [deg], positive looks up.
        projection: "pinhole" or "equirectangular" (full sphere; depth is the ray's length).
        min_depth, max_depth: depth range [m]; nearer clips to min_depth, farther reads 0.
        noise: what is added to the images.
    """

    outputs: tuple[str, ...] = ("rgb", "depth", "semantic")
    width: int = 128
    height: int = 128
    hfov: float = 90.0
    position: tuple[float, float, float] = (0.0, 1.25, 0.0)
    pitch: float = 0.0
    projection: str = "pinhole"
    min_depth: float = 0.0
    max_depth: float = 1000.0
    noise: NoiseSpec = field(default_factory=NoiseSpec)

    def __post_init__(self) -> None:
        if self.width < 1 or self.height < 1:
            raise SensorError(
                f"camera size {self.width}x{self.height}: width and height must be at least 1 pixel"
            )
        if self.width * self.height > MAX_PIXELS:
            raise SensorError(
                f"camera size {self.width}x{self.height}: at most {MAX_PIXELS} pixels fit one image"
            )
        if not all(math.isfinite(v) for v in (*self.position, self.pitch)):
            raise SensorError(
                f"camera position {self.position} and pitch {self.pitch} must be finite numbers"
            )
        for output in self.outputs:
            if output not in OUTPUTS:
                raise SensorError(f"unknown sensor '{output}': {suggest_nearest(output, OUTPUTS)}")
        if not self.outputs:
            raise SensorError(f"a camera needs at least one sensor of {', '.join(OUTPUTS)}")
        if self.projection not in PROJECTIONS:
            raise SensorError(
                f"unknown projection '{self.projection}': "
                f"{suggest_nearest(self.projection, PROJECTIONS)}"
            )
        if self.projection == "pinhole" and not 0 < self.hfov < 180:
            raise SensorError(f"hfov {self.hfov} must lie strictly between 0 and 180 degrees")
        if not 0 <= self.min_depth < self.max_depth:
            raise SensorError(
                f"depth range [{self.min_depth}, {self.max_depth}] m must rise and not be negative"
            )


@dataclass(frozen=True)
class AgentSpec:
    """The moving body and its discrete actions (Habitat's defaults of the recorded reference).

    Attributes:
        radius, height: cylinder [m].
        max_climb: highest step it walks over [m].
        max_slope: steepest walkable slope [deg].
        forward: length of one forward step [m].
        turn: angle of one turn [deg].
        look: angle of one look up/down [deg].
        sliding: slide along obstacles instead of stopping at them.
        cell_size, cell_height: resolution of the navigation grid [m].
        navmesh: "surface" keeps the feet on the geometry; "habitat" repeats habitat-sim exactly:
            heights rounded up to whole `cell_height`, and without sliding an agent that touches a
            wall stays stuck.
    """

    radius: float = 0.2
    height: float = 1.5
    max_climb: float = 0.2
    max_slope: float = 45.0
    forward: float = 0.25
    turn: float = 30.0
    look: float = 30.0
    sliding: bool = True
    cell_size: float = 0.05
    cell_height: float = 0.2
    navmesh: Literal["surface", "habitat"] = "surface"

    def __post_init__(self) -> None:
        if self.navmesh not in ("surface", "habitat"):
            raise SensorError(f"agent navmesh '{self.navmesh}' must be 'surface' or 'habitat'")
        for name in ("radius", "height", "forward", "turn", "cell_size", "cell_height"):
            if not 0 < getattr(self, name) < math.inf:
                raise SensorError(
                    f"agent {name} = {getattr(self, name)} must be positive and finite"
                )
        if not 0 <= self.max_climb < math.inf:
            raise SensorError(f"agent max_climb = {self.max_climb} m must be 0 or more")
        if not 0 <= self.max_slope <= 90:
            raise SensorError(f"agent max_slope = {self.max_slope} must lie in 0 to 90 degrees")
        if not math.isfinite(self.look):
            raise SensorError(f"agent look = {self.look} must be a finite angle")
