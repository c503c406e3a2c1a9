"""Habitat's configs: axes, scales, instances and data sets."""

import json

import numpy as np
import pytest
import trimesh

from embodied.errors import SceneError
from embodied.simulators.scenes import load_scene
from embodied.simulators.scenes.unpack import unpack_archive


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path


def box_file(path, extents=(1, 2, 3), center=(0, 0, 0)):
    path.parent.mkdir(parents=True, exist_ok=True)
    mesh = trimesh.creation.box(extents=extents)
    mesh.apply_translation(center)
    mesh.export(path)


def test_stage_axes_scale_and_units(tmp_path):
    box_file(tmp_path / "s.glb", (1, 2, 3), (10, 20, 30))
    config = {"render_asset": "s.glb", "up": [0, 0, 1], "front": [0, 1, 0]}
    path = write(tmp_path / "s.stage_config.json", config)
    np.testing.assert_allclose(
        load_scene(path).bounds, [[9.5, 28.5, -21], [10.5, 31.5, -19]], atol=1e-5
    )
    write(path, {"render_asset": "s.glb", "scale": [2, 1, 1], "units_to_meters": 0.5})
    np.testing.assert_allclose(
        load_scene(path).bounds, [[9.5, 9.5, 14.25], [10.5, 10.5, 15.75]], atol=1e-5
    )


def test_front_alone_decides_the_heading(tmp_path):
    box_file(tmp_path / "s.glb", (1, 1, 1), (3, 0, 0))
    config = {"render_asset": "s.glb", "up": [0, 1, 0], "front": [1, 0, 0]}
    scene = load_scene(write(tmp_path / "s.stage_config.json", config))
    np.testing.assert_allclose(scene.bounds.mean(axis=0), [0, 0, -3], atol=1e-6)  # front is -z here


def test_axes_that_are_not_square(tmp_path):
    box_file(tmp_path / "s.glb")
    config = {"render_asset": "s.glb", "up": [0, 1, 0], "front": [0, 1, 1]}
    with pytest.raises(SceneError, match="right angle"):
        load_scene(write(tmp_path / "s.stage_config.json", config))


@pytest.fixture
def dataset(tmp_path):
    box_file(tmp_path / "stages" / "room.glb", (10, 0.1, 10))
    write(tmp_path / "stages" / "room.stage_config.json", {"render_asset": "room.glb"})
    box_file(tmp_path / "objects" / "office_chair.glb", (1, 2, 3), (0, 1, 0))
    write(
        tmp_path / "objects" / "office_chair.object_config.json",
        {"render_asset": "office_chair.glb"},
    )
    half = np.sqrt(0.5)
    for name, origin in (("com", "COM"), ("local", "asset_local")):
        scene = {
            "stage_instance": {"template_name": "stages/room", "translation": [0, -0.05, 0]},
            "object_instances": [
                {
                    "template_name": "objects/office_chair",
                    "translation_origin": origin,
                    "translation": [5, 1, 0],
                    "rotation": [half, 0, half, 0],
                    "uniform_scale": 2.0,
                    "non_uniform_scale": [1, 1, 0.5],
                }
            ],
            "semantic_scene_instance": "rooms",
        }
        write(tmp_path / "scenes" / f"{name}.scene_instance.json", scene)
    region = {
        "label": "office",
        "poly_loop": [[0, 0, 0], [1, 0, 0], [1, 0, 2]],
        "floor_height": 0.5,
    }
    write(tmp_path / "semantics" / "rooms.semantic_config.json", {"region_annotations": [region]})
    config = {
        "stages": {"paths": {".json": ["stages"]}},
        "objects": {"paths": {".json": ["objects/*"]}},
        "scene_instances": {"paths": {".json": ["scenes"]}},
    }
    return write(tmp_path / "home.scene_dataset_config.json", config)


@pytest.mark.parametrize(("scene", "center_y"), [("com", 1.0), ("local", 3.0)])
def test_instance_pose_scale_and_origin(dataset, scene, center_y):
    loaded = load_scene(f"{dataset}#{scene}")
    chair = loaded.objects[1]
    assert (chair.name, chair.category) == ("office_chair", "chair")
    assert chair.size == pytest.approx(
        (3, 4, 2)
    )  # (1, 2, 3) x 2 x (1, 1, 0.5), a quarter turn about y
    assert chair.center == pytest.approx((5, center_y, 0))
    assert loaded.objects[0].center == pytest.approx((0, -0.05, 0))
    assert loaded.rooms[0].category == "office"
    np.testing.assert_allclose(loaded.rooms[0].polygon, [[0, 0], [1, 0], [1, 2]])
    assert loaded.rooms[0].floor == 0.5


def test_scene_instance_finds_its_data_set(dataset):
    path = dataset.parent / "scenes" / "com.scene_instance.json"
    same = load_scene(f"{dataset}#com")
    np.testing.assert_array_equal(load_scene(path).vertices, same.vertices)


def test_scene_instance_without_any_data_set(dataset):
    dataset.unlink()
    scene = load_scene(dataset.parent / "scenes" / "com.scene_instance.json")
    assert scene.objects[1].category == "chair"


URDF = """<robot name="cupboard"><link name="base"/>
<joint name="fix" type="fixed"><origin xyz="0 1 0"/>
<parent link="base"/><child link="body"/></joint>
<link name="body"><visual><geometry><box size="1 2 1"/></geometry></visual></link>
<joint name="slide" type="prismatic"><axis xyz="0 0 1"/>
<parent link="body"/><child link="drawer"/></joint>
<link name="drawer"><visual><origin xyz="0 0.5 0"/><geometry><mesh filename="d.glb" scale="2 1 1"/>
</geometry></visual></link></robot>"""


@pytest.mark.parametrize("listed", [False, True])
def test_articulated_object_in_its_pose(dataset, listed):
    folder = dataset.parent
    place = folder / "urdf" / ("cupboard" if listed else "") / "cupboard.urdf"
    place.parent.mkdir(parents=True)
    place.write_text(URDF)
    box_file(place.parent / "d.glb", (0.25, 0.1, 0.5))
    if listed:
        config = json.loads(dataset.read_text())
        write(dataset, {**config, "articulated_objects": {"paths": {".urdf": ["urdf/*"]}}})
    path = folder / "scenes" / "com.scene_instance.json"
    content = json.loads(path.read_text())
    content["articulated_object_instances"] = [
        {
            "template_name": "cupboard",
            "translation": [0, 0, -4],
            "initial_joint_pose": {"slide": 0.75},
        }
    ]
    write(path, content)
    thing = load_scene(path).objects[-1]
    assert (thing.name, thing.category) == ("cupboard", "cabinet")
    assert thing.size == pytest.approx((1, 2, 1.5))  # the drawer sticks out to z = 1
    assert thing.center == pytest.approx((0, 1, -3.75))
    place.unlink()
    with pytest.raises(SceneError, match="articulated object 'cupboard' was not found"):
        load_scene(path)


def test_several_scenes_must_be_named(dataset):
    with pytest.raises(SceneError, match=r"has 2 scenes.*com, local"):
        load_scene(dataset)
    with pytest.raises(SceneError, match="did you mean 'local'"):
        load_scene(f"{dataset}#locale")


def test_labels_name_templates(dataset):
    scene = load_scene(f"{dataset}#com", labels={"office_chair": "throne"})
    assert scene.objects[1].category == "throne"


def test_missing_template_and_asset(dataset):
    folder = dataset.parent
    path = folder / "scenes" / "com.scene_instance.json"
    content = json.loads(path.read_text())
    content["object_instances"][0]["template_name"] = "ofice_chairs"
    write(path, content)
    with pytest.raises(
        SceneError, match="'ofice_chairs' was not found; did you mean 'office_chair'"
    ):
        load_scene(path)
    (folder / "stages" / "room.glb").unlink()
    with pytest.raises(SceneError, match=r"render_asset .*room\.glb does not exist"):
        load_scene(folder / "stages" / "room.stage_config.json")


def test_bare_stage_of_a_data_set_is_z_up(tmp_path):
    box_file(tmp_path / "scans" / "a.glb", (1, 2, 3))
    config = {"stages": {"paths": {".glb": ["scans/*.glb"]}}}
    scene = load_scene(write(tmp_path / "scans.scene_dataset_config.json", config))
    np.testing.assert_allclose(np.ptp(scene.bounds, axis=0), [1, 3, 2], atol=1e-6)
    config["stages"]["default_attributes"] = {"up": [0, 1, 0], "front": [0, 0, -1]}
    scene = load_scene(write(tmp_path / "scans.scene_dataset_config.json", config))
    np.testing.assert_allclose(np.ptp(scene.bounds, axis=0), [1, 2, 3], atol=1e-6)


def test_damaged_config(tmp_path):
    path = tmp_path / "s.stage_config.json"
    path.write_text('{"render_asset": ')
    with pytest.raises(SceneError, match=r"s\.stage_config\.json: cannot be read as JSON"):
        load_scene(path)
    write(path, {"scale": [1, 1, 1]})
    with pytest.raises(SceneError, match="names no render_asset"):
        load_scene(path)


def test_habitats_own_assets(shared_data, tmp_path):
    archive = shared_data("habitat_test_assets") / "test_assets.tar.xz"
    assets = unpack_archive(archive, tmp_path / "assets", progress=False) / "test_assets"
    room = load_scene(assets / "scenes" / "simple_room.stage_config.json")
    recorded = json.loads((shared_data("habitat_reference") / "simple_room.json").read_text())
    np.testing.assert_allclose(room.bounds, recorded["bounds"], atol=1e-4)
    floor = load_scene(assets / "scenes" / "stage_floor1.stage_config.json")
    np.testing.assert_allclose(np.ptp(floor.bounds, axis=0)[[0, 2]], [40, 40], atol=0.01)  # scale 2
    scene = load_scene(
        assets / "dataset_tests" / "dataset_0" / "test_dataset_0.scene_dataset_config.json"
    )
    centers = {o.name: o.center for o in scene.objects}
    assert centers["dataset_test_object1"] == pytest.approx((0.1, 0.2, 0.3), abs=0.01)
    assert [r.category for r in scene.rooms] == ["bedroom", "bathroom"]


@pytest.mark.parametrize(
    "bad", [{"scale": "big"}, {"up": [0, 1]}, {"up": [0, 0, 0]}, {"scale": [1, 2]}]
)
def test_senseless_values(tmp_path, bad):
    box_file(tmp_path / "s.glb")
    path = write(tmp_path / "s.stage_config.json", {"render_asset": "s.glb", **bad})
    with pytest.raises(SceneError, match=r"s\.stage_config\.json"):
        load_scene(path)
