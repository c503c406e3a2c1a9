"""HM3D and Matterport3D semantics, on tiny scans written here in their formats (z up)."""

import numpy as np
import pytest
import trimesh
from PIL import Image

from embodied.errors import SceneError
from embodied.simulators.scenes import load_scene

# two unit squares on the floor (z = 0) and one on a wall (x = 0), z up
SQUARES = np.array(
    [
        [[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]],
        [[1, 0, 0], [2, 0, 0], [2, 1, 0], [1, 1, 0]],
        [[0, 0, 0], [0, 1, 0], [0, 1, 1], [0, 0, 1]],
    ],
    float,
)
VERTICES = SQUARES.reshape(-1, 3)
FACES = np.array(
    [[4 * i + a, 4 * i + b, 4 * i + c] for i in range(3) for a, b, c in ((0, 1, 2), (0, 2, 3))]
)


def scan(path):
    trimesh.Trimesh(VERTICES, FACES, process=False).export(path)


def table(path):
    path.write_text(
        "HM3D Semantic Annotations\n"
        '1,FF0000,"dining table",0\n2,00FF00,"office chair",1\n'
        '3,0000FF,"wall",1\n9,010203,"lamp",-1\n'
    )


@pytest.mark.parametrize("painted", ["vertices", "texture"])
@pytest.mark.parametrize("stem", ["abc", "abc.basis"])
def test_hm3d(tmp_path, painted, stem):
    scan(tmp_path / f"{stem}.glb")
    table(tmp_path / "abc.semantic.txt")
    colors = np.array([[255, 0, 0, 255], [0, 255, 0, 255], [0, 0, 255, 255]], np.uint8)
    if painted == "vertices":
        mesh = trimesh.Trimesh(
            VERTICES, FACES, vertex_colors=np.repeat(colors, 4, axis=0), process=False
        )
    else:
        image = Image.fromarray(colors[None, :, :3].repeat(4, axis=0))  # three columns
        u = np.repeat((np.arange(3) + 0.5) / 3, 4)
        uv = np.stack([u, np.full(12, 0.5)], axis=1)
        material = trimesh.visual.material.PBRMaterial(baseColorTexture=image)
        visual = trimesh.visual.TextureVisuals(uv=uv, material=material)
        mesh = trimesh.Trimesh(VERTICES, FACES, visual=visual, process=False)
    mesh.faces = mesh.faces[::-1]  # another order than the scan's
    mesh.export(tmp_path / "abc.semantic.glb")
    scene = load_scene(tmp_path / f"{stem}.glb")
    assert scene.name == "abc"
    things = [(scene.objects[i].name, scene.objects[i].category) for i in scene.face_object[::2]]
    assert things == [("dining table", "table"), ("office chair", "chair"), ("wall", "wall")]
    assert [o.room for o in scene.objects[1:]] == [0, 1, 1]
    assert len(scene.rooms) == 2
    np.testing.assert_allclose(scene.bounds, [[0, 0, -1], [2, 1, 0]], atol=1e-6)  # turned y up
    chair = next(o for o in scene.objects if o.category == "chair")
    assert chair.center == pytest.approx((1.5, 0, -0.5))


def test_hm3d_semantic_mesh_in_other_axes(tmp_path):
    scan(tmp_path / "abc.glb")
    table(tmp_path / "abc.semantic.txt")
    colors = np.repeat(np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255]], np.uint8), 4, axis=0)
    upright = VERTICES[:, [0, 2, 1]] * [1, 1, -1]
    mesh = trimesh.Trimesh(upright, FACES, vertex_colors=colors, process=False)
    mesh.export(tmp_path / "abc.semantic.glb")
    scene = load_scene(tmp_path / "abc.glb")
    assert [scene.objects[i].category for i in scene.face_object[::2]] == ["table", "chair", "wall"]


def test_hm3d_damaged_table(tmp_path):
    scan(tmp_path / "abc.glb")
    scan(tmp_path / "abc.semantic.glb")
    path = tmp_path / "abc.semantic.txt"
    path.write_text('HM3D Semantic Annotations\n1,GG0000,"wall",0\n')
    with pytest.raises(SceneError, match=r"abc\.semantic\.txt, line 2"):
        load_scene(tmp_path / "abc.glb")
    path.write_text("HM3D Semantic Annotations\n")
    with pytest.raises(SceneError, match="no annotation lines"):
        load_scene(tmp_path / "abc.glb")
    table(path)
    with pytest.raises(SceneError, match="no labels"):
        load_scene(tmp_path / "abc.glb")


HOUSE = """ASCII 1.1
H abc label 0 0 12 3 0 3 3 2 0 1  0 0 0 0 0  0 0 0 2 1 1  0 0 0 0 0
L 0 2 label 1 0.5 0.5 0 0 0 2 1 1 0 0 0 0 0
R 0 0 0 0 k 0.5 0.5 0.5 0 0 0 1 1 1 1 0 0 0 0
R 1 0 0 0 b 1.5 0.5 0.5 1 0 0.25 2 1 1 1 0 0 0 0
S 0 0 0 floor 0.5 0.5 0 0 0 1 0 0 0 1 1 0 0 0 0 0 0
V 0 0 c 0 0 0 0 0 1 0 0 0
V 1 0 c 1 0 0 0 0 1 0 0 0
V 2 0 c 0 1 0 0 0 1 0 0 0
C 0 3 dining#table 5 table 0 0 0 0 0
C 1 8 night#stand 13 chest_of_drawers 0 0 0 0 0
C 2 99 mystery 40 nonsense 0 0 0 0 0
O 0 0 0 0 0 0 1 0 0 0 1 0 1 1 1 0 0 0 0 0 0 0 0
O 1 1 1 0 0 0 1 0 0 0 1 0 1 1 1 0 0 0 0 0 0 0 0
O 2 -1 2 0 0 0 1 0 0 0 1 0 1 1 1 0 0 0 0 0 0 0 0
"""


def semantic_ply(path, objects, form="binary_little_endian"):
    header = (
        f"ply\nformat {form} 1.0\nelement vertex {len(VERTICES)}\nproperty float x\n"
        f"property float y\nproperty float z\nelement face {len(FACES)}\n"
        "property list uchar int vertex_indices\n"
        "property int materialId\nproperty int objectId\nend_header\n"
    )
    if form == "ascii":
        body = "".join("{} {} {}\n".format(*v) for v in VERTICES)
        body += "".join(
            "3 {} {} {} 0 {}\n".format(*f, o) for f, o in zip(FACES, objects, strict=True)
        )
        path.write_text(header + body)
        return
    order = "<" if form == "binary_little_endian" else ">"
    fields = [("n", "u1"), ("v", f"{order}i4", 3), ("m", f"{order}i4"), ("o", f"{order}i4")]
    faces = np.zeros(len(FACES), fields)
    faces["n"], faces["v"], faces["o"] = 3, FACES, objects
    path.write_bytes(header.encode() + VERTICES.astype(f"{order}f4").tobytes() + faces.tobytes())


@pytest.mark.parametrize("form", ["ascii", "binary_little_endian", "binary_big_endian"])
def test_matterport(tmp_path, form):
    scan(tmp_path / "abc.glb")
    (tmp_path / "abc.house").write_text(HOUSE)
    semantic_ply(tmp_path / "abc_semantic.ply", [0, 0, 1, 1, -1, 2], form)
    scene = load_scene(tmp_path / "abc.glb")
    things = [(scene.objects[i].name, scene.objects[i].category) for i in scene.face_object]
    assert things[0] == things[1] == ("dining table", "table")
    assert things[2] == things[3] == ("night stand", "chest_of_drawers")
    assert things[4] == ("abc", "unlabeled")
    assert things[5] == ("mystery", "unlabeled")
    assert [(r.category, r.floor) for r in scene.rooms] == [("kitchen", 0.0), ("bedroom", 0.25)]
    np.testing.assert_allclose(
        scene.rooms[0].polygon, [[0, 0], [1, 0], [0, -1]]
    )  # its floor surface
    np.testing.assert_allclose(
        scene.rooms[1].polygon, [[1, 0], [2, 0], [2, -1], [1, -1]]
    )  # its box
    assert [o.room for o in scene.objects[1:]] == [0, 1, None]


def test_matterport_damaged(tmp_path):
    scan(tmp_path / "abc.glb")
    semantic_ply(tmp_path / "abc_semantic.ply", [0] * 6)
    (tmp_path / "abc.house").write_text(HOUSE + "O 3 x\n")
    with pytest.raises(SceneError, match=r"abc\.house, line 16: damaged 'O' row"):
        load_scene(tmp_path / "abc.glb")
    (tmp_path / "abc.house").write_text(HOUSE)
    whole = (tmp_path / "abc_semantic.ply").read_bytes()
    (tmp_path / "abc_semantic.ply").write_bytes(whole[:-30])
    with pytest.raises(SceneError, match="damaged or truncated"):
        load_scene(tmp_path / "abc.glb")
    scan(tmp_path / "abc_semantic.ply")
    with pytest.raises(SceneError, match="carry no 'objectId'"):
        load_scene(tmp_path / "abc.glb")
