from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from plain_rooms import FLAT, box_scene, flat

from embodied.categories import MPCAT40, SOS_INDEX
from embodied.errors import NavigationError, SceneError, SensorError
from embodied.simulators import house_cache
from embodied.simulators.base import Scene
from embodied.simulators.embedded import World
from embodied.simulators.house_builder import PanoramaSpec, build_house, format_object_name
from embodied.simulators.house_graph import HouseWorld
from embodied.simulators.houses import generate_house
from embodied.simulators.raycast import compute_camera_poses
from embodied.simulators.segments import PLACE_ID_STRIDE, label_components
from embodied.simulators.waypoints import WaypointSpec, locate_rooms
from maps.panorama.views import wrap_angle


@pytest.fixture(scope="module")
def scene() -> Scene:
    return generate_house(7, rooms=(5, 5))


@pytest.fixture(scope="module")
def house(scene: Scene) -> HouseWorld:
    return build_house(scene)


def test_all_places_are_joined_and_every_room_has_one(house: HouseWorld) -> None:
    assert np.isfinite(house.distances).all()
    assert set(range(len(house.rooms))) <= set(house.place_rooms.tolist())


def test_ways_are_short_walkable_and_see_each_other(house: HouseWorld, scene: Scene) -> None:
    world = World(scene)
    assert world.pathfinder.is_navigable(house.floor_positions).all()
    for here in range(len(house)):
        near = house.neighbours[here]
        straight = np.linalg.norm(house.floor_positions[near] - house.floor_positions[here], axis=1)
        assert straight.max() <= 3.5
        walk = world.pathfinder.geodesic_distance(
            house.floor_positions[here], house.floor_positions[near]
        )
        assert (walk <= 1.03 * straight + 0.1).all()
        way = house.positions[near] - house.positions[here]
        eye = np.broadcast_to(house.positions[here], way.shape)
        assert (world.caster.cast_rays(eye, way).distance > 1).all()


def test_no_floor_is_far_from_a_place(house: HouseWorld, scene: Scene) -> None:
    paths = World(scene).pathfinder
    points = paths.sample_points(np.random.default_rng(0), 300, paths.largest_island)
    away = paths.compute_distance_field(house.floor_positions).get_distances(points)
    assert np.percentile(away, 90) < 1.9
    assert away.max() < 3.5


def test_spacing_decides_how_many_places_there_are(scene: Scene, house: HouseWorld) -> None:
    wide = build_house(scene, PanoramaSpec(WaypointSpec(2.6, 3.5)))
    tight = build_house(scene, PanoramaSpec(WaypointSpec(1.2, 3.5)))
    assert len(wide) < len(house) < len(tight)


def test_building_again_gives_the_same(house: HouseWorld, scene: Scene) -> None:
    again = build_house(scene)
    assert again.arrays.keys() == house.arrays.keys()
    assert all((again.arrays[k] == house.arrays[k]).all() for k in again.arrays)


def test_headings_point_at_the_things(house: HouseWorld) -> None:
    checked = 0
    for place in range(len(house)):
        percept = house.observe_place(place)
        for i, box in zip(percept.objects, percept.boxes, strict=True):
            item = house.item_by_id[int(i)]
            if max(item.size) > 0.5:
                continue
            east, up, south = np.subtract(item.center, house.positions[place])
            assert abs(wrap_angle(np.arctan2(east, -south) - box[0])) < box[2] / 2 + 0.05
            assert abs(np.arctan2(up, np.hypot(east, south)) - box[1]) < box[3] / 2 + 0.1
            checked += 1
    assert checked > 30


def test_north_is_minus_z_and_headings_grow_eastwards() -> None:
    north = {"chair": ("chair", (0, 0.5, -1.8), (0.4, 1.0, 0.4), (1, 0, 0))}
    east = {"bed": ("bed", (1.8, 0.5, 0), (0.4, 1.0, 0.4), (1, 0, 0))}
    floor = {"floor": ("floor", (0, -0.05, 0), (4, 0.1, 4), (0.5, 0.5, 0.5))}
    spec = PanoramaSpec(WaypointSpec(9.0, 9.0))
    world = build_house(box_scene(floor | north | east), spec)
    assert len(world) == 1
    x, _, z = world.floor_positions[0]
    percept = world.observe_place(0)
    heading = dict(zip(percept.names, percept.boxes[:, 0], strict=True))
    assert heading["chair"] == pytest.approx(np.arctan2(0 - x, 1.8 + z) % (2 * np.pi), abs=0.05)
    assert heading["bed"] == pytest.approx(np.arctan2(1.8 - x, z), abs=0.05)
    column = percept.canvas[SOS_INDEX["bed"]].any(axis=0).nonzero()[0].mean() + 0.5
    assert 2 * np.pi * column / 96 == pytest.approx(heading["bed"], abs=0.05)


def test_things_are_seen_from_where_rays_reach_them(house: HouseWorld, scene: Scene) -> None:
    world = World(scene)
    rng = np.random.default_rng(0)
    seen = [item for item in house.items if item.seen_from]
    assert len(seen) > 50
    for item in seen[:: len(seen) // 25]:
        points = item.center + rng.uniform(-0.5, 0.5, (400, 3)) * item.size
        for place in item.seen_from:
            eye = np.broadcast_to(house.positions[place], points.shape)
            hits = world.caster.cast_rays(eye, points - eye)
            met = scene.face_object[np.maximum(hits.face, 0)] == item.id
            met &= hits.face >= 0
            assert met.any(), (item, place)
            away = hits.distance[met] * np.linalg.norm(points - eye, axis=1)[met]
            assert away.min() < 3.0


def test_walls_and_floors_are_no_objects(house: HouseWorld) -> None:
    assert not {"wall", "floor", "ceiling"} & {item.category for item in house.items}
    ids = {item.id for item in house.items}
    for place in range(len(house)):
        assert set(house.observe_place(place).objects.tolist()) <= ids
        assert (house.get_true_object_ids(place) == house.observe_place(place).objects).all()


def test_colours_are_those_of_the_scene() -> None:
    items = {item.name: item for item in build_house(flat()).items}
    red, blue = np.array(items["dining chair"].color), np.array(items["office chair"].color)
    assert red[0] > 3 * red[2]
    assert blue[2] > 3 * blue[0]
    assert [items[n].room for n in ("dining chair", "office chair", "bed")] == [0, 1, 1]


def test_a_scene_without_rooms_works() -> None:
    world = build_house(flat(rooms=False))
    assert world.rooms == ()
    assert set(world.place_rooms.tolist()) == {-1}
    assert np.isfinite(world.distances).all()


def test_two_storeys_are_joined_by_their_stairs() -> None:
    world = build_house(generate_house(4, rooms=(5, 5), floors=2))
    assert np.ptp(world.floor_positions[:, 1]) > 2
    assert np.isfinite(world.distances).all()
    height = {
        world.rooms[r]: world.floor_positions[i, 1]
        for i, r in enumerate(world.place_rooms)
        if r >= 0
    }
    assert height["living room"] < 0.5
    assert height["bedroom"] > 2


def test_rooms_of_points() -> None:
    rooms = flat().rooms
    points = np.array([[-1, 0, 0], [1, 1, 0], [0, 0, 9], [1, -1, 0]], float)
    assert locate_rooms(rooms, points).tolist() == [0, 1, -1, -1]
    above = replace(rooms[0], category="attic", floor=2.8)
    assert locate_rooms((*rooms, above), np.array([[-1, 0, 0], [-1, 2.9, 0.0]])).tolist() == [0, 2]


def test_names_are_plain_words() -> None:
    assert format_object_name("CoffeeTable_01", "table") == "coffee table"
    assert format_object_name("Chair|1|2", "chair") == "chair"
    assert format_object_name("lamp_b", "lighting") == "lamp"
    assert format_object_name("", "tv_monitor") == "tv monitor"


def test_scenes_that_cannot_be_used_say_why() -> None:
    with pytest.raises(SceneError, match="no labelled objects"):
        build_house(box_scene({"floor": FLAT["floor"]}))
    wall = {"bed": ("bed", (0, 1, 0), (0.1, 2, 0.1), (1, 1, 1))}
    with pytest.raises(NavigationError, match="no navigable area"):
        build_house(box_scene(wall))
    with pytest.raises(NavigationError, match="spacing -1"):
        WaypointSpec(-1)
    with pytest.raises(NavigationError, match="spacing 0"):
        WaypointSpec(0)
    with pytest.raises(NavigationError, match="no neighbours"):
        WaypointSpec(2.0, 1.0)
    with pytest.raises(SceneError, match="height"):
        PanoramaSpec(height=0)
    with pytest.raises(SceneError, match="width 50"):
        PanoramaSpec(width=50)


# --- kept on disk ---


def open_flat(folder: Path, calls: list[int], **key: object) -> HouseWorld:
    def load() -> Scene:
        calls.append(1)
        return flat()

    return house_cache.open_house({"name": "flat", **key}, load, PanoramaSpec(), folder)


def test_a_kept_house_is_read_and_not_made_again(tmp_path: Path) -> None:
    calls: list[int] = []
    made, read = open_flat(tmp_path, calls), open_flat(tmp_path, calls)
    assert len(calls) == 1
    assert read.items == made.items
    for place in range(len(made)):
        a, b = made.observe_place(place), read.observe_place(place)
        assert a.names == b.names
        assert (a.canvas == b.canvas).all()
        assert (a.views == b.views).all()
    (file,) = tmp_path.iterdir()
    assert file.stat().st_size < 200_000
    open_flat(tmp_path, calls, look="other")
    assert len(calls) == 2


def test_damaged_and_outdated_files_are_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []
    open_flat(tmp_path, calls)
    (file,) = tmp_path.iterdir()
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    open_flat(tmp_path, calls)
    file.write_bytes(b"nonsense")
    open_flat(tmp_path, calls)
    assert len(calls) == 3
    monkeypatch.setattr(house_cache, "compute_code_digest", lambda: "other code")
    open_flat(tmp_path, calls)
    assert len(calls) == 4
    assert list(tmp_path.iterdir()) == [file]


def test_a_folder_that_cannot_be_written_to_is_no_reason_to_fail(tmp_path: Path) -> None:
    folder = tmp_path / "file"
    folder.write_text("")
    with pytest.warns(UserWarning, match="not kept"):
        assert len(open_flat(folder, [])) > 1


# --- predicted semantics ---


def truth(scene: Scene, world: HouseWorld) -> np.ndarray:
    camera = PanoramaSpec().camera
    poses = compute_camera_poses(world.floor_positions, np.zeros(len(world)), camera)
    return World(scene).caster.render(camera, poses)["semantic"]


def test_a_perfect_segmenter_finds_the_things_themselves() -> None:
    scene = flat()
    true = build_house(scene)
    classes = truth(scene, true)
    world = build_house(scene, segment=lambda rgb, depth: classes)
    assert world.items == true.items
    for place in range(len(true)):
        a, b = true.observe_place(place), world.observe_place(place)
        assert (a.canvas == b.canvas).all()
        assert (b.objects >= PLACE_ID_STRIDE).all()
        found = world.get_true_object_ids(place).tolist()
        # both chairs at once may touch in the image; here they never do
        assert sorted(found) == a.objects.tolist()
        order = np.argsort(found)
        assert b.boxes[order] == pytest.approx(a.boxes, abs=1e-5)
        assert {n.split()[-1] for n in a.names} == {n.split()[-1] for n in b.names}
    ids = np.concatenate([world.observe_place(p).objects for p in range(len(world))])
    assert len(np.unique(ids)) == len(ids)


def test_a_blind_segmenter_sees_nothing() -> None:
    scene = flat()
    wall = MPCAT40.index("wall")
    world = build_house(scene, segment=lambda rgb, depth: np.full(depth.shape, wall))
    assert all(not len(world.observe_place(p).objects) for p in range(len(world)))
    assert any(item.seen_from for item in world.items)


def test_things_that_are_not_there_have_no_identity() -> None:
    scene = flat()

    def segment(rgb: np.ndarray, depth: np.ndarray) -> np.ndarray:
        classes = np.full(depth.shape, MPCAT40.index("wall"))
        classes[:, 30:34] = MPCAT40.index("sofa")  # on the ceiling
        return classes

    world = build_house(scene, segment=segment)
    found = np.concatenate([world.get_true_object_ids(p) for p in range(len(world))])
    assert len(found)
    assert (found == -1).all()


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        (lambda depth: np.zeros(depth.shape[1:], int), "one class id per pixel"),
        (lambda depth: np.zeros(depth.shape), "one class id per pixel"),
        (lambda depth: np.full(depth.shape, 42), "42 .. 42: allowed are 0 .. 41"),
    ],
)
def test_a_segmenter_that_answers_nonsense_is_refused(classes, message: str) -> None:
    with pytest.raises(SensorError, match=message):
        build_house(flat(), segment=lambda rgb, depth: classes(depth))


def test_components_join_across_the_seam() -> None:
    image = np.zeros((4, 8), int)
    image[1, :2] = image[1, 7] = 5  # one thing across the seam
    image[3, 3] = 5
    image[0, 6] = 5  # touches it at a corner
    parts, kinds = label_components(image)
    thing = parts[1, 0]
    assert kinds[thing] == 5
    assert (parts == thing).sum() == 4
    assert parts[3, 3] != thing
    assert kinds[parts[3, 3]] == 5
    assert (kinds[parts] == image).all()
