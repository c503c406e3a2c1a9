"""The look of one house: palettes and materials, drawn from a handful of styles."""

from __future__ import annotations

import numpy as np

from embodied.simulators.houses.mesh_builder import Color, MeshBuilder
from embodied.simulators.houses.shell import RoomStyle, ShellStyle
from embodied.simulators.houses.textures import make_texture

# wood, second wood, wall paints, upholstery, accents, metal, floor wood
_STYLES: dict[str, dict] = {
    "scandinavian": {
        "wood": (0.82, 0.68, 0.5), "dark": (0.93, 0.92, 0.9), "metal": (0.25, 0.25, 0.27),
        "floor": (0.83, 0.72, 0.56), "front": (0.94, 0.94, 0.93),
        "walls": [(0.93, 0.93, 0.91), (0.82, 0.87, 0.87), (0.9, 0.88, 0.83), (0.78, 0.83, 0.79)],
        "fabrics": [(0.55, 0.58, 0.6), (0.75, 0.73, 0.69), (0.35, 0.45, 0.52)],
        "accents": [(0.85, 0.65, 0.3), (0.3, 0.5, 0.52), (0.82, 0.52, 0.45)],
    },
    "classic": {
        "wood": (0.48, 0.28, 0.16), "dark": (0.34, 0.19, 0.11), "metal": (0.72, 0.58, 0.32),
        "floor": (0.6, 0.39, 0.23), "front": (0.58, 0.37, 0.22),
        "walls": [(0.91, 0.86, 0.74), (0.78, 0.81, 0.72), (0.86, 0.76, 0.66), (0.72, 0.78, 0.83)],
        "fabrics": [(0.5, 0.16, 0.17), (0.22, 0.33, 0.24), (0.66, 0.53, 0.36)],
        "accents": [(0.75, 0.6, 0.3), (0.45, 0.15, 0.2), (0.2, 0.28, 0.42)],
    },
    "modern": {
        "wood": (0.42, 0.33, 0.27), "dark": (0.2, 0.2, 0.22), "metal": (0.75, 0.76, 0.78),
        "floor": (0.52, 0.43, 0.36), "front": (0.32, 0.35, 0.39),
        "walls": [(0.92, 0.92, 0.93), (0.76, 0.77, 0.79), (0.6, 0.66, 0.71), (0.86, 0.84, 0.81)],
        "fabrics": [(0.24, 0.25, 0.28), (0.83, 0.82, 0.8), (0.2, 0.38, 0.5)],
        "accents": [(0.85, 0.3, 0.2), (0.92, 0.76, 0.22), (0.15, 0.55, 0.6)],
    },
    "rustic": {
        "wood": (0.63, 0.44, 0.26), "dark": (0.42, 0.28, 0.16), "metal": (0.3, 0.28, 0.26),
        "floor": (0.68, 0.49, 0.3), "front": (0.5, 0.58, 0.5),
        "walls": [(0.93, 0.89, 0.79), (0.87, 0.74, 0.58), (0.77, 0.81, 0.69), (0.9, 0.82, 0.74)],
        "fabrics": [(0.45, 0.32, 0.2), (0.7, 0.62, 0.46), (0.55, 0.25, 0.18)],
        "accents": [(0.7, 0.32, 0.18), (0.4, 0.47, 0.26), (0.82, 0.62, 0.25)],
    },
    "coastal": {
        "wood": (0.78, 0.71, 0.6), "dark": (0.3, 0.47, 0.58), "metal": (0.8, 0.8, 0.8),
        "floor": (0.77, 0.69, 0.57), "front": (0.85, 0.9, 0.92),
        "walls": [(0.82, 0.9, 0.93), (0.94, 0.94, 0.91), (0.75, 0.87, 0.83), (0.94, 0.89, 0.79)],
        "fabrics": [(0.86, 0.84, 0.78), (0.32, 0.5, 0.64), (0.56, 0.71, 0.72)],
        "accents": [(0.9, 0.5, 0.4), (0.15, 0.35, 0.55), (0.95, 0.8, 0.5)],
    },
}  # fmt: skip


class HouseStyle:
    """Materials of one house.

    Args:
        builder: where materials are registered.
        rng: random source; fixes the style.
    """

    def __init__(self, builder: MeshBuilder, rng: np.random.Generator) -> None:
        names = sorted(_STYLES)
        self.name = names[int(rng.integers(len(names)))]
        self._style = _STYLES[self.name]
        self.builder = builder
        self.rng = rng
        grain = make_texture("grain")
        paint = builder.add_material
        self.wood = paint(self._style["wood"], grain, 0.9)
        # Grain reads as veneer on wood tones only; light colours are plain paint.
        self.dark = paint(
            self._style["dark"], grain if max(self._style["dark"]) < 0.5 else None, 0.9
        )
        self.front = paint(self._style["front"], grain if self.name == "classic" else None, 0.9)
        self.metal = paint(self._style["metal"])
        self.steel = paint((0.72, 0.74, 0.76))
        self.chrome = paint((0.82, 0.84, 0.86))
        self.black = paint((0.09, 0.09, 0.1))
        self.gray = paint((0.45, 0.46, 0.48))
        self.white = paint((0.95, 0.95, 0.94))
        self.ceramic = paint((0.97, 0.97, 0.96))
        self.ceramic_in = paint((0.85, 0.88, 0.9))
        self.linen = paint((0.95, 0.94, 0.91), make_texture("fabric"), 0.06)
        self.leaf = [paint(c) for c in ((0.2, 0.45, 0.18), (0.28, 0.54, 0.24), (0.16, 0.36, 0.2))]
        self.soil = paint((0.25, 0.17, 0.11))
        self.shade = paint((1.0, 0.95, 0.82))
        self.glow = paint((1.0, 0.97, 0.88))
        self.water = paint((0.62, 0.8, 0.88))
        self.glass = paint((0.78, 0.88, 0.9))
        self.stone = [
            paint((0.93, 0.92, 0.9), make_texture("marble"), 1.2),
            paint((0.35, 0.35, 0.37), make_texture("granite"), 0.3),
            paint((0.72, 0.67, 0.6), make_texture("granite", 1), 0.3),
        ][int(rng.integers(3))]
        self.trim = paint((0.96, 0.96, 0.95)) if rng.random() < 0.7 else self.wood

    def sample_color(self, group: str) -> Color:
        """Draw a slightly varied colour of a group: "walls", "fabrics" or "accents"."""
        options = self._style[group]
        base = options[int(self.rng.integers(len(options)))]
        factors = self.rng.uniform(0.94, 1.05, 3).tolist()
        r, g, b = (
            round(min(max(c * f, 0.04), 0.98), 3) for c, f in zip(base, factors, strict=True)
        )
        return (r, g, b)

    def add_fabric_material(self, group: str = "fabrics") -> int:
        """Return an upholstery material."""
        kind, scale = (
            ("leather", 0.5) if self.rng.random() < 0.2 and group == "fabrics" else ("fabric", 0.06)
        )
        return self.builder.add_material(self.sample_color(group), make_texture(kind), scale)

    def add_accent_material(self, pattern: str | None = None, scale: float = 0.4) -> int:
        """Return a material in an accent colour, with a pattern if named."""
        return self.builder.add_material(
            self.sample_color("accents"), make_texture(pattern) if pattern else None, scale
        )

    def add_image_material(self, kind: str, variants: int = 1) -> int:
        """Return a material that shows a whole picture once (uv 0..1)."""
        return self.builder.add_material(
            (1.0, 1.0, 1.0), make_texture(kind, int(self.rng.integers(variants))), 1.0
        )

    def add_floor_material(self, room: str) -> int:
        """Return the floor material of a room type."""
        paint, rng = self.builder.add_material, self.rng
        if room in ("bathroom", "laundry room", "kitchen") and rng.random() < 0.85:
            if rng.random() < 0.25:
                return paint((0.95, 0.94, 0.9), make_texture("checker"), 0.6)
            r, g, b = rng.uniform(0.62, 0.92, 1).repeat(3) * [1.0, 0.98, 0.94]
            return paint((float(r), float(g), float(b)), make_texture("tiles"), 0.8)
        if room in ("bedroom", "office", "closet") and rng.random() < 0.3:
            return paint(self.sample_color("fabrics"), make_texture("carpet"), 0.5)
        return paint(self._style["floor"], make_texture("planks"), 1.3)

    def add_wall_material(self, room: str) -> int:
        """Return the wall material of a room type."""
        paint, rng = self.builder.add_material, self.rng
        if room in ("bathroom", "laundry room") and rng.random() < 0.75:
            return paint(self.sample_color("walls"), make_texture("brick_tiles"), 0.5)
        if room in ("bedroom", "living room", "dining room") and rng.random() < 0.35:
            kind, scale = (("stripes", 0.8), ("dots", 0.5))[int(rng.integers(2))]
            return paint(self.sample_color("walls"), make_texture(kind), scale)
        return paint(self.sample_color("walls"), make_texture("plaster"), 1.5)

    def make_room_style(self, room: str) -> RoomStyle:
        """Return the surfaces of a room type."""
        ceiling = self.builder.add_material((0.97, 0.97, 0.96))
        return RoomStyle(
            self.add_wall_material(room), self.add_floor_material(room), ceiling, self.trim
        )

    def make_shell_style(self) -> ShellStyle:
        """Return the surfaces all rooms share."""
        paint = self.builder.add_material
        outside = paint(self.sample_color("walls"), make_texture("bricks", 1), 0.6)
        entrance = paint(self.sample_color("accents"), make_texture("grain"), 0.9)
        leaf = self.wood if self.rng.random() < 0.5 else paint((0.95, 0.95, 0.93))
        return ShellStyle(outside, self.trim, leaf, self.metal, entrance,
                          self.add_image_material("view", 8), paint((0.3, 0.3, 0.32)))  # fmt: skip
