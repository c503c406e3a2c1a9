"""ProcTHOR houses: frame, walls with openings, sizes and classes."""

import gzip
import json

import numpy as np
import pytest

from embodied.errors import SceneError
from embodied.simulators.scenes import load_scene
from embodied.simulators.scenes.labels import to_mpcat40
from embodied.simulators.scenes.procthor import WALL_THICKNESS


def vector(x, y, z):
    return {"x": x, "y": y, "z": z}


def wall(identity, room, start, end, height=3.0):
    (x0, z0), (x1, z1) = start, end
    polygon = [vector(x0, 0, z0), vector(x1, 0, z1), vector(x0, height, z0), vector(x1, height, z1)]
    return {"id": identity, "roomId": room, "polygon": polygon, "material": {"name": "Drywall"}}


def opening(kind, room0, room1, wall0, wall1, x0, x1, y0, y1):
    return {
        "id": f"{kind}|1", "room0": room0, "room1": room1, "wall0": wall0, "wall1": wall1,
        "assetId": "Doorway_1", "holePolygon": [vector(x0, y0, 0), vector(x1, y1, 0)],
    }  # fmt: skip


@pytest.fixture
def house():
    """Two 4 x 4 m rooms side by side, a doorway in the wall x = 4, a window in the wall z = 0."""
    rooms = []
    walls = []
    for number, left in ((1, 0.0), (2, 4.0)):
        corners = [(left, 0.0), (left, 4.0), (left + 4, 4.0), (left + 4, 0.0)]
        rooms.append({
            "id": f"room|{number}", "roomType": "LivingRoom" if number == 1 else "Kitchen",
            "floorPolygon": [vector(x, 0, z) for x, z in corners],
        })  # fmt: skip
        for k in range(4):
            start, end = corners[k], corners[(k + 1) % 4]
            walls.append(wall(f"wall|{number}|{k}", f"room|{number}", start, end))
    # room 1's wall 2 runs from (4, 4) to (4, 0); the hole is 0.5-1.5 m from its start: z = 3.5-2.5
    doors = [opening("door", "room|1", "room|2", "wall|1|2", "wall|2|0", 0.5, 1.5, 0.0, 2.0)]
    windows = [
        opening("window", "room|1", "room|1", "wall|1|3", "wall|exterior", 1.0, 2.0, 1.0, 2.0)
    ]
    things = [
        {"id": "1|0", "assetId": "Sofa_9", "position": vector(1, 0.4, 1.5),
         "rotation": vector(0, 90, 0),
         "children": [{"id": "1|1", "assetId": "pillow_1", "position": vector(1, 0.9, 1.5),
                       "rotation": vector(0, 30, 0)}]},
        {"id": "2|0", "assetId": "Fridge_3", "position": vector(7, 0.9, 3),
         "rotation": vector(0, 0, 0)},
    ]  # fmt: skip
    return {"rooms": rooms, "walls": walls, "doors": doors, "windows": windows, "objects": things}


DATABASE = {
    "Sofa": [{"assetId": "Sofa_9", "objectType": "Sofa", "boundingBox": vector(2.0, 0.8, 1.0)}],
    "Pillow": [
        {"assetId": "pillow_1", "objectType": "Pillow", "boundingBox": vector(0.4, 0.1, 0.2)}
    ],
    "Fridge": [
        {"assetId": "Fridge_3", "objectType": "Fridge", "boundingBox": vector(0.9, 1.8, 0.7)}
    ],
}


def save(folder, house, database=True):
    path = folder / "house.json"
    path.write_text(json.dumps(house))
    if database:
        with gzip.open(folder / "asset-database.json.gz", "wt") as file:
            json.dump(DATABASE, file)
    return path


def blocked(scene, origin, direction, length, ignore=()):
    """Whether any triangle crosses a segment (Moller-Trumbore)."""
    keep = ~np.isin(
        scene.face_object, [i for i, o in enumerate(scene.objects) if o.category in ignore]
    )
    a, b, c = np.moveaxis(scene.vertices[scene.faces[keep]].astype(float), 1, 0)
    direction = np.asarray(direction, float)
    p = np.cross(direction, c - a)
    determinant = np.einsum("ij,ij->i", b - a, p)
    safe = np.where(np.abs(determinant) < 1e-12, np.inf, determinant)
    s = np.asarray(origin, float) - a
    u = np.einsum("ij,ij->i", s, p) / safe
    q = np.cross(s, b - a)
    v = (q @ direction) / safe
    t = np.einsum("ij,ij->i", c - a, q) / safe
    return bool(((u >= 0) & (v >= 0) & (u + v <= 1) & (t > 0) & (t < length)).any())


def test_frame_sizes_and_classes(tmp_path, house):
    scene = load_scene(save(tmp_path, house))
    by_name = {o.name: o for o in scene.objects}
    sofa, pillow, fridge = by_name["sofa"], by_name["pillow"], by_name["fridge"]
    assert (sofa.category, pillow.category, fridge.category) == ("sofa", "cushion", "appliances")
    assert sofa.center == pytest.approx((1, 0.4, -1.5))  # z is mirrored
    assert sofa.size == pytest.approx((1.0, 0.8, 2.0))  # a quarter turn
    assert fridge.size == pytest.approx((0.9, 1.8, 0.7))
    turned = np.radians(30)
    expected = 0.4 * np.cos(turned) + 0.2 * np.sin(turned)
    assert pillow.size[0] == pytest.approx(expected)
    assert [r.category for r in scene.rooms] == ["living room", "kitchen"]
    assert (sofa.room, pillow.room, fridge.room) == (0, 0, 1)
    half = WALL_THICKNESS / 2
    np.testing.assert_allclose(
        scene.bounds, [[-half, 0, -4 - half], [8 + half, 3, half]], atol=1e-5
    )


def test_sofa_faces_the_room(tmp_path, house):
    """Unity's forward is +z; turned by 90 degrees it looks along +x: the back rest is at low x."""
    scene = load_scene(save(tmp_path, house))
    index = next(i for i, o in enumerate(scene.objects) if o.name == "sofa")
    corners = scene.vertices[scene.faces[scene.face_object == index]].reshape(-1, 3)
    top = corners[corners[:, 1] > 0.75]
    assert top[:, 0].max() < 1.0


def test_materials_follow_their_names(tmp_path, house):
    for room, name in zip(house["rooms"], ("BathroomTilesBlue", "DarkWoodFloors"), strict=True):
        room["floorMaterial"] = {"name": name}
    scene = load_scene(save(tmp_path, house))
    floors = [i for i, o in enumerate(scene.objects) if o.category == "floor"]
    tiles, wood = (scene.materials[scene.face_material[scene.face_object == i][0]] for i in floors)
    assert tiles.color[2] > tiles.color[0]  # blue
    assert sum(wood.color) < 1.0  # dark
    assert tiles.texture is not None
    assert tiles.texture is not wood.texture
    corners = scene.faces[scene.face_object == floors[1]]
    meters = np.ptp(scene.vertices[corners].reshape(-1, 3), axis=0)[0]
    turns = np.ptp(scene.uv[scene.face_object == floors[1]].reshape(-1, 2), axis=0)[0]
    assert meters / turns == pytest.approx(1.3)  # a plank pattern of natural size


def test_doorway_is_open_where_it_belongs(tmp_path, house):
    scene = load_scene(save(tmp_path, house))
    east = (1.0, 0.0, 0.0)
    assert not blocked(scene, (3.0, 1.0, -3.0), east, 2.0)
    assert blocked(scene, (3.0, 1.0, -1.0), east, 2.0)  # the mirror image of the opening is wall
    assert blocked(scene, (3.0, 2.5, -3.0), east, 2.0)  # above the lintel
    assert blocked(scene, (3.0, 1.0, -3.49), east, 2.0)  # the jamb
    assert {"door", "window"} <= {o.category for o in scene.objects}


def test_window_has_a_pane_in_the_hole(tmp_path, house):
    scene = load_scene(save(tmp_path, house))
    # wall 3 of room 1 runs from (4, 0) to (0, 0); 1-2 m from its start is x = 2-3
    south = (0.0, 0.0, 1.0)
    assert blocked(scene, (2.5, 1.5, -0.5), south, 1.0)
    assert not blocked(scene, (2.5, 1.5, -0.5), south, 1.0, ignore=("window",))
    assert blocked(scene, (1.5, 1.5, -0.5), south, 1.0, ignore=("window",))


def test_empty_wall_is_no_wall(tmp_path, house):
    house["doors"] = []
    for side in house["walls"]:
        if side["id"] in ("wall|1|2", "wall|2|0"):
            side["empty"] = True
    scene = load_scene(save(tmp_path, house))
    assert not blocked(scene, (3.0, 2.9, -1.0), (1.0, 0.0, 0.0), 2.0)
    assert sum(o.category == "wall" for o in scene.objects) == 6


def test_shared_wall_is_one_slab(tmp_path, house):
    scene = load_scene(save(tmp_path, house))
    assert sum(o.category == "wall" for o in scene.objects) == 7  # eight sides, one of them shared


def test_exterior_door_is_closed(tmp_path, house):
    house["doors"].append(
        opening("door", "room|1", "room|1", "wall|1|0", "wall|exterior", 1.0, 2.0, 0.0, 2.0)
    )
    scene = load_scene(save(tmp_path, house))
    west = (-1.0, 0.0, 0.0)  # wall 0 of room 1 runs from (0, 0) to (0, 4)
    assert blocked(scene, (0.5, 1.9, -1.5), west, 1.0)
    assert not blocked(scene, (0.5, 1.9, -1.5), west, 1.0, ignore=("door",))


def test_sizes_without_the_database(tmp_path, house):
    scene = load_scene(save(tmp_path, house, database=False))
    fridge = next(o for o in scene.objects if o.name == "fridge")
    assert fridge.category == "appliances"
    assert fridge.size == pytest.approx((0.9, 1.8, 0.75))


def test_one_house_of_many(tmp_path, house):
    other = {**house, "objects": []}
    path = tmp_path / "houses.jsonl.gz"
    with gzip.open(path, "wt") as file:
        file.write(json.dumps(house) + "\n" + json.dumps({"house": other}) + "\n")
    assert len(load_scene(f"{path}#0").objects) - len(load_scene(f"{path}#1").objects) == 3
    assert load_scene(f"{path}#1").name == "houses.jsonl.gz#1"
    with pytest.raises(SceneError, match=r"house 2 asked for, the file has 0\.\.1"):
        load_scene(f"{path}#2")
    with pytest.raises(SceneError, match="not the number of a house"):
        load_scene(f"{path}#first")


def test_bad_json(tmp_path, house):
    path = tmp_path / "house.json"
    path.write_text("{")
    with pytest.raises(SceneError, match=r"house\.json: cannot be read as JSON"):
        load_scene(path)
    path.write_text("{}")
    with pytest.raises(SceneError, match="it has no rooms, walls, doors, windows, objects"):
        load_scene(path)
    del house["objects"][0]["position"]
    with pytest.raises(SceneError, match=r"not a ProcTHOR house \(KeyError: 'position'"):
        load_scene(save(tmp_path, house))


def test_every_recorded_house_builds(shared_data):
    folder = shared_data("procthor")
    for name, step in (("val.jsonl.gz", 20), ("multiroom_samples.jsonl.gz", 1)):
        for index in range(0, 100 if step > 1 else 3, step):
            scene = load_scene(f"{folder / name}#{index}")
            assert len(scene.rooms) >= 1
            low, high = scene.bounds
            for room in scene.rooms:
                assert (room.polygon >= low[[0, 2]]).all()
                assert (room.polygon <= high[[0, 2]]).all()
            outside = [o for o in scene.objects[1:] if o.room is None]
            assert not outside, [o.name for o in outside]


def test_every_object_type_has_a_class(shared_data):
    with gzip.open(shared_data("procthor") / "asset-database.json.gz", "rt") as file:
        kinds = list(json.load(file))
    assert [k for k in kinds if to_mpcat40(k) is None] == []
