"""SDF worlds: poses, shapes, labels, and the AWS small house against its recorded boxes."""

import gzip
import json
import tarfile

import numpy as np
import pytest
import trimesh

from embodied.errors import SceneError
from embodied.simulators.scenes import load_scene

MODEL = """<sdf version="1.6"><model name="cabinet"><pose>9 9 9 0 0 0</pose><link name="link">
<pose>0 0 1 0 0 0</pose><visual name="v"><geometry><mesh><uri>model://cabinet/meshes/a.stl</uri>
<scale>1 1 2</scale></mesh></geometry></visual></link></model></sdf>"""

WORLD = """<sdf version="1.6"><world name="w">
<light name="sun"/>
<model name="cabinet_7"><include><uri>model://cabinet</uri><pose>0 0 0 0 0 0</pose></include>
<pose>1 2 0 0 0 1.5707963267948966</pose></model>
<model name="beach_ball"><pose>0 0 0.5 0 0 0</pose><link name="l"><visual name="v">
<pose>0 0 0.25 0 0 0</pose><geometry><sphere><radius>0.25</radius></sphere></geometry>
<material><diffuse>0.1 0.2 0.9 1</diffuse></material></visual></link></model>
</world></sdf>"""


@pytest.fixture
def world(tmp_path):
    meshes = tmp_path / "home" / "models" / "cabinet" / "meshes"
    meshes.mkdir(parents=True)
    trimesh.creation.box(extents=(2, 1, 1)).export(meshes / "a.stl")
    (meshes.parent / "model.sdf").write_text(MODEL)
    path = tmp_path / "home" / "worlds" / "w.world"
    path.parent.mkdir()
    path.write_text(WORLD)
    return path


def test_poses_scales_and_shapes(world):
    scene = load_scene(world)
    cabinet, ball = scene.objects[1:]
    assert (cabinet.name, cabinet.category) == ("cabinet_7", "cabinet")
    assert cabinet.size == pytest.approx(
        (1, 2, 2)
    )  # quarter turn about z, height doubled, now y up
    assert cabinet.center == pytest.approx((1, 1, -2))
    assert (ball.name, ball.category) == ("beach_ball", "objects")
    assert ball.center == pytest.approx((0, 0.75, 0), abs=1e-3)
    assert ball.size == pytest.approx((0.5, 0.5, 0.5), abs=5e-3)
    material = scene.materials[scene.face_material[scene.face_object == 2][0]]
    assert material.color == pytest.approx((0.1, 0.2, 0.9))


def test_plain_labels_and_overrides(world):
    table = {"objects": [{"name": "cabinet_7", "label": "refrigerator"}]}
    with gzip.open(world.parent.parent / "scene_objects.json.gz", "wt") as file:
        json.dump(table, file)
    thing = load_scene(world).objects[1]
    assert (thing.name, thing.category) == ("refrigerator", "appliances")
    assert load_scene(world, labels={"refrigerator": "fridge"}).objects[1].category == "fridge"


def test_folder_and_archive_give_the_same_scene(world):
    root = world.parent.parent
    direct = load_scene(root)
    archive = root.parent / "packed" / "home.tar.xz"
    archive.parent.mkdir()
    with tarfile.open(archive, "w:xz") as tar:
        tar.add(root, "home")
    for path in (archive, archive.parent):
        np.testing.assert_array_equal(load_scene(path).vertices, direct.vertices)


def test_missing_model_and_damaged_world(world):
    (world.parent.parent / "models" / "cabinet" / "model.sdf").unlink()
    with pytest.raises(SceneError, match="'model://cabinet' is not in a 'models' folder"):
        load_scene(world)
    world.write_text("<sdf><world>")
    with pytest.raises(SceneError, match=r"w\.world: cannot be read as XML"):
        load_scene(world)


def test_models_that_include_each_other_are_refused(world):
    again = "<include><uri>model://cabinet</uri></include></model>"
    (world.parent.parent / "models" / "cabinet" / "model.sdf").write_text(
        MODEL.replace("</model>", again)
    )
    with pytest.raises(SceneError, match="in a circle"):
        load_scene(world)


def test_folder_without_a_world(tmp_path):
    with pytest.raises(SceneError, match=r"without a \*\.world file"):
        load_scene(tmp_path)


@pytest.fixture(scope="module")
def aws_house():
    from tests.conftest import shared_data

    folder = shared_data("aws_small_house")
    with pytest.warns(UserWarning, match=r"aws_Carpet_01\.png"):
        return folder, load_scene(folder)


def test_aws_house_matches_its_recorded_boxes(aws_house):
    folder, scene = aws_house
    with gzip.open(folder / "scene_objects.json.gz", "rt") as file:
        recorded = json.load(file)["objects"]
    assert len(scene.objects) == 1 + len(recorded)
    for thing, entry in zip(scene.objects[1:], recorded, strict=True):
        assert thing.name == entry["label"]
        if "visual" in entry:  # the ball is a sphere, without a mesh to record
            low, high = np.array(entry["visual"]["min"]), np.array(entry["visual"]["max"])
            center = ((low + high) / 2)[[0, 2, 1]] * [1, 1, -1]  # z up -> y up
            np.testing.assert_allclose(thing.center, center, atol=2e-3)
            np.testing.assert_allclose(thing.size, (high - low)[[0, 2, 1]], atol=3e-3)


def test_aws_house_classes_and_textures(aws_house):
    _, scene = aws_house
    classes = {o.name: o.category for o in scene.objects}
    expected = {
        "air conditioner": "appliances", "refrigerator": "appliances", "tv": "tv_monitor",
        "bed": "bed", "sofa": "sofa", "coffee table": "table", "photo frame": "picture",
        "chandelier": "lighting", "nightstand": "chest_of_drawers", "shoe rack": "shelving",
        "trash can": "objects", "fitness equipment": "gym_equipment", "wall": "wall",
        "kitchen cabinet": "cabinet", "rug": "floor", "folding door": "door",
    }  # fmt: skip
    assert {k: classes[k] for k in expected} == expected
    assert "unlabeled" not in [o.category for o in scene.objects[1:]]
    assert sum(m.texture is not None for m in scene.materials) > 50


def test_aws_house_agrees_with_the_merged_mesh(aws_house):
    from tests.conftest import shared_data

    merged = load_scene(shared_data("habitat_reference") / "scenes" / "aws_house.glb")
    scene = aws_house[1]
    np.testing.assert_allclose(scene.bounds, merged.bounds, atol=1e-3)
    balls = [i for i, o in enumerate(scene.objects) if o.name == "ball"]
    ours = scene.vertices[scene.faces[~np.isin(scene.face_object, balls)]].mean(axis=1)
    theirs = merged.vertices[merged.faces].mean(axis=1)
    assert len(ours) == len(theirs)
    difference = np.abs(np.sort(ours, axis=0) - np.sort(theirs, axis=0))
    assert np.percentile(difference, 99) < 1e-3
