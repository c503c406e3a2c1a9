"""Procedural houses: determinism, semantics, walkability, budgets."""

from __future__ import annotations

import numpy as np
import pytest

from embodied.categories import MPCAT40
from embodied.errors import SceneError
from embodied.simulators.base import AgentSpec, Scene
from embodied.simulators.houses import generate_house, split_seeds
from embodied.simulators.houses.layout import CEILING_HEIGHT
from embodied.simulators.houses.mesh_builder import MeshBuilder
from embodied.simulators.houses.openings import compute_leaf_rect
from embodied.simulators.houses.plan import plan_house
from embodied.simulators.houses.stairs import RISE, RUN, STAIR_LENGTH, STAIR_WIDTH
from embodied.simulators.houses.textures import TEXTURE_KINDS, make_texture
from embodied.simulators.pathfinder import PathFinder


def _same(a: Scene, b: Scene) -> bool:
    arrays = ("vertices", "faces", "face_object", "face_material", "uv")
    return (
        all(np.array_equal(getattr(a, n), getattr(b, n)) for n in arrays)
        and a.objects == b.objects
        and [m.color for m in a.materials] == [m.color for m in b.materials]
    )


def test_same_seed_same_house_and_other_seed_other_house() -> None:
    assert _same(generate_house(11), generate_house(11))
    assert not _same(generate_house(11), generate_house(12))


def test_split_seeds_never_meet() -> None:
    sets = [set(split_seeds(s, 500, offset=o)) for s in ("train", "val", "test") for o in (0, 500)]
    assert sum(map(len, sets)) == len(set.union(*sets)) == 3000
    assert split_seeds("val", 10, offset=5) == split_seeds("val", 15)[5:]
    with pytest.raises(SceneError, match="train, val, test"):
        split_seeds("dev", 3)
    with pytest.raises(SceneError, match="negative"):
        split_seeds("val", -1)


@pytest.mark.parametrize("seed", range(6))
def test_arrays_are_sound_and_objects_name_their_boxes(seed: int) -> None:
    house = generate_house(seed)
    assert house.uv is not None
    assert house.uv.shape == (len(house.faces), 3, 2)
    assert np.isfinite(house.uv).all()
    assert house.face_object.min() >= 1
    assert all(o.category in MPCAT40 for o in house.objects)
    assert house.objects[0].category == "unlabeled"
    for index, item in enumerate(house.objects[1:], start=1):
        points = house.vertices[house.faces[house.face_object == index]].reshape(-1, 3)
        assert len(points) > 0, item.name
        np.testing.assert_allclose((points.min(0) + points.max(0)) / 2, item.center, atol=1e-4)
        np.testing.assert_allclose(points.max(0) - points.min(0), item.size, atol=1e-4)


@pytest.mark.parametrize("seed", range(0, 40, 4))
def test_furniture_stays_in_its_room(seed: int) -> None:
    house = generate_house(seed)
    for item in house.objects[1:]:
        if item.category in ("wall", "floor", "ceiling", "door", "window"):
            continue
        room = house.rooms[item.room]
        low = np.array(item.center) - np.array(item.size) / 2
        high = low + item.size
        start, end = room.polygon.min(axis=0), room.polygon.max(axis=0)
        assert (low[[0, 2]] >= start - 0.02).all(), (seed, item)
        assert (high[[0, 2]] <= end + 0.02).all(), (seed, item)
        assert low[1] >= room.floor - 1e-3, (seed, item)
        assert high[1] <= room.floor + CEILING_HEIGHT + 0.01, (seed, item)


def test_faces_point_outwards_so_that_floors_look_up_and_ceilings_down() -> None:
    house = generate_house(3, floors=2, rooms=6)
    corners = house.vertices[house.faces]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    kinds = np.array([o.category for o in house.objects])[house.face_object]
    names = np.array([o.name for o in house.objects])[house.face_object]
    assert (normals[names == "floor", 1] > 0).all()
    assert (normals[kinds == "ceiling", 1] < 0).all()


def test_builder_shapes_are_closed_and_outward() -> None:
    builder = MeshBuilder(textured=False, segments=32)
    material = builder.add_material((0.5, 0.5, 0.5))
    shapes = []
    builder.start_object("objects", "box", origin=(5.0, 0.0, 0.0), yaw=0.7)
    builder.add_box((-1, 0, -2), (1, 3, 2), material)
    shapes.append(24.0)
    builder.start_object("objects", "cushion")
    builder.add_beveled_box((0, 0, 0), (2, 2, 2), material, 0.3)
    # A cube of side 2 less 12 prisms along the edges and what is cut from the 8 corners.
    shapes.append(8 - 12 * 0.3**2 / 2 * 1.4 - 8 * 5 / 6 * 0.3**3)
    builder.start_object("objects", "cylinder")
    builder.add_cylinder((0, 0, 0), 1.0, 2.0, material, 32)
    shapes.append(2.0 * 16 * np.sin(2 * np.pi / 32))
    arrays = builder.build_arrays()
    corners = arrays["vertices"][arrays["faces"]].astype(np.float64)
    signed = np.einsum("ij,ij->i", corners[:, 0], np.cross(corners[:, 1], corners[:, 2])) / 6
    for index, expected in enumerate(shapes, start=1):
        volume = signed[arrays["face_object"] == index].sum()
        assert volume == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("seed", range(25))
def test_doors_are_wide_and_leaves_stand_beside_the_passage(seed: int) -> None:
    rng = np.random.Generator(np.random.PCG64(seed))
    plan, _ = plan_house(int(rng.integers(1, 13)), 1, rng)
    linked = {0}
    for _ in plan.rooms:
        for o in plan.openings:
            if o.kind in ("door", "arch") and linked & set(o.rooms):
                linked |= set(o.rooms)
    assert linked == set(range(len(plan.rooms)))
    for o in plan.openings:
        if o.kind not in ("door", "arch"):
            continue
        assert o.hi - o.lo - 0.1 >= 0.9 - 1e-9
        leaf = compute_leaf_rect(o)
        if leaf:
            lo, hi = (leaf[0], leaf[2]) if o.axis == 0 else (leaf[1], leaf[3])
            assert hi <= o.lo + 0.05 + 1e-9 or lo >= o.hi - 0.05 - 1e-9


@pytest.mark.parametrize("seed", range(60))
def test_rooms_do_not_overlap_and_have_believable_sizes(seed: int) -> None:
    rng = np.random.Generator(np.random.PCG64(seed))
    plan, _ = plan_house(1 + seed % 12, 1, rng)
    assert len(plan.rooms) == 1 + seed % 12
    for i, room in enumerate(plan.rooms):
        x0, z0, x1, z1 = room.inner
        assert min(x1 - x0, z1 - z0) >= 1.3, room
        assert 4.0 <= (x1 - x0) * (z1 - z0) <= 45.0, room
        for other in plan.rooms[:i]:
            a = other.inner
            assert x1 <= a[0] or a[2] <= x0 or z1 <= a[1] or a[3] <= z0


def _room_reach(house: Scene, finder: PathFinder) -> list[tuple[float, float]]:
    """Per room: walkable share of a 10 cm floor grid, and share of that on the main island."""
    main, out = finder.largest_island, []
    for room in house.rooms:
        low, high = room.polygon.min(axis=0), room.polygon.max(axis=0)
        grid = np.meshgrid(np.arange(low[0], high[0], 0.1), np.arange(low[1], high[1], 0.1))
        x, z = (g.ravel() for g in grid)
        points = np.stack([x, np.full_like(x, room.floor), z], axis=1)
        free = finder.is_navigable(points, 0.15)
        island = finder.get_island(points[free]) if free.any() else np.array([-1])
        out.append((float(free.mean()), float((island == main).mean())))
    return out


@pytest.mark.parametrize("seed", [0, 1, 2, 5, 7, 9])
def test_every_room_is_reached_by_the_navigation_grid(seed: int) -> None:
    house = generate_house(seed)
    finder = PathFinder(house.vertices, house.faces, AgentSpec())
    for room, (free, joined) in zip(house.rooms, _room_reach(house, finder), strict=True):
        assert free > 0.1, (seed, room.category)
        assert joined > 0.95, (seed, room.category)


@pytest.mark.parametrize("seed", [0, 3, 7])
def test_two_floors_are_joined_by_a_walkable_stair(seed: int) -> None:
    assert RISE <= 0.18
    assert RUN >= 0.26
    assert STAIR_WIDTH >= 0.9
    house = generate_house(seed, floors=2)
    assert {"stairs", "railing"} <= {o.category for o in house.objects}
    assert {r.floor for r in house.rooms} == {0.0, 3.0}
    finder = PathFinder(house.vertices, house.faces, AgentSpec())
    for room, (_, joined) in zip(house.rooms, _room_reach(house, finder), strict=True):
        assert joined > 0.95, (seed, room.category, room.floor)
    halls = [r for r in house.rooms if r.category == "hallway"]
    middle = halls[0].polygon[:, 1].mean()
    ends = [np.array([halls[0].polygon[:, 0].max() - 0.5, r.floor, middle]) for r in halls]
    walk = finder.geodesic_distance(*finder.snap_points(np.array(ends))[:, None])[0]
    assert STAIR_LENGTH < walk < 25.0


def test_many_classes_and_names_appear() -> None:
    found, names = set(), set()
    for seed in range(12):
        house = generate_house(seed, rooms=(8, 12), floors=1 + seed % 2)
        found |= {o.category for o in house.objects[1:]}
        names |= {o.name for o in house.objects[1:]}
    assert len(found) >= 34, sorted(set(MPCAT40) - found)
    assert len(names) >= 70


@pytest.mark.parametrize("budget", [20_000, 60_000, 200_000, 1_000_000])
def test_triangle_budget_keeps_the_same_house(budget: int) -> None:
    light, full = generate_house(4, rooms=6), generate_house(4, rooms=6, triangles=budget)
    assert abs(len(full.faces) / budget - 1) < 0.15
    np.testing.assert_allclose(light.bounds, full.bounds, atol=1e-5)

    def area(house: Scene) -> np.ndarray:
        corners = house.vertices[house.faces].astype(np.float64)
        cross = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        size = np.linalg.norm(cross, axis=1) / 2
        return np.bincount(house.face_object, size, len(house.objects))

    np.testing.assert_allclose(area(light), area(full), rtol=1e-3, atol=1e-3)


def test_low_budget_uses_simpler_parts_or_says_what_is_needed() -> None:
    light = generate_house(4, rooms=8)
    small = generate_house(4, rooms=8, triangles=int(len(light.faces) * 0.8))
    assert abs(len(small.faces) / (len(light.faces) * 0.8) - 1) < 0.15
    assert [o.name for o in small.objects] == [o.name for o in light.objects]
    with pytest.raises(SceneError, match="needs"):
        generate_house(4, rooms=8, triangles=1000)


def test_plain_colours_without_textures() -> None:
    plain, full = generate_house(5, textures=False), generate_house(5)
    assert plain.uv is None
    assert all(m.texture is None for m in plain.materials)
    assert np.array_equal(plain.vertices, full.vertices)


@pytest.mark.parametrize("kind", sorted(TEXTURE_KINDS))
def test_textures_are_small_and_cached(kind: str) -> None:
    image = make_texture(kind)
    assert image.dtype == np.uint8
    assert image.ndim == 3
    assert max(image.shape[:2]) <= 128
    assert make_texture(kind) is image


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"rooms": 0}, "1 to 12"),
        ({"rooms": (5, 3)}, "1 to 12"),
        ({"rooms": 13}, "1 to 12"),
        ({"floors": 3}, "1 or 2"),
        ({"floors": 2, "rooms": 3}, "at least 4"),
    ],
)
def test_bad_arguments_are_named(arguments: dict, message: str) -> None:
    with pytest.raises(SceneError, match=message):
        generate_house(0, **arguments)
