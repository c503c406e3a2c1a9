"""Mesh files: geometry, axes, units, textures, names and bad input."""

import contextlib
import json
import struct
import sys
import warnings

import numpy as np
import pytest
import trimesh
from PIL import Image

from embodied.errors import SceneError
from embodied.simulators.scenes import load_scene

QUAD = np.array([[0, 0, 0], [1, 0, 0], [1, 2, 0], [0, 2, 0]], float)
QUAD_FACES = np.array([[0, 1, 2], [0, 2, 3]])
QUAD_UV = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], float)


def four_color_image() -> Image.Image:
    """Red top left, green top right, blue bottom left, white bottom right."""
    pixels = np.zeros((8, 8, 3), np.uint8)
    pixels[:4, :4], pixels[:4, 4:] = (255, 0, 0), (0, 255, 0)
    pixels[4:, :4], pixels[4:, 4:] = (0, 0, 255), (255, 255, 255)
    return Image.fromarray(pixels)


def textured_quad() -> trimesh.Trimesh:
    material = trimesh.visual.material.PBRMaterial(baseColorTexture=four_color_image())
    visual = trimesh.visual.TextureVisuals(uv=QUAD_UV, material=material)
    return trimesh.Trimesh(QUAD, QUAD_FACES, visual=visual, process=False)


def color_at(scene, point):
    """Colour of the texel that a surface point shows."""
    for face in range(len(scene.faces)):
        corners = scene.vertices[scene.faces[face]].astype(float)
        weights, *_ = np.linalg.lstsq(np.vstack([corners.T, np.ones(3)]), [*point, 1.0], rcond=None)
        if (weights > -1e-6).all():
            u, v = weights @ scene.uv[face]
            texture = scene.materials[scene.face_material[face]].texture
            height, width = texture.shape[:2]
            return tuple(texture[int((1 - v) * height), int(u * width)].tolist())
    raise AssertionError(f"{point} is not on the mesh")


@pytest.mark.parametrize("extension", ["glb", "obj", "dae"])
def test_texture_stands_upright(tmp_path, extension):
    path = tmp_path / f"quad.{extension}"
    if extension == "dae":
        four_color_image().save(tmp_path / "image.png")
        path.write_text(DAE_TEXTURED)
    else:
        textured_quad().export(path)
    scene = load_scene(path)
    assert color_at(scene, (0.1, 1.9, 0)) == (255, 0, 0)
    assert color_at(scene, (0.9, 1.9, 0)) == (0, 255, 0)
    assert color_at(scene, (0.1, 0.1, 0)) == (0, 0, 255)
    assert color_at(scene, (0.9, 0.1, 0)) == (255, 255, 255)


@pytest.mark.parametrize("extension", ["glb", "gltf", "obj", "ply", "dae", "stl", "off"])
def test_every_format_keeps_the_triangles(tmp_path, extension):
    path = tmp_path / f"box.{extension}"
    trimesh.creation.box(extents=(1, 2, 3)).export(path)
    scene = load_scene(path)
    assert len(scene.faces) == 12
    np.testing.assert_allclose(scene.bounds, [[-0.5, -1, -1.5], [0.5, 1, 1.5]], atol=1e-6)
    corners = scene.vertices[scene.faces].astype(float)
    volume = np.einsum("ij,ij->", corners[:, 0], np.cross(corners[:, 1], corners[:, 2])) / 6
    assert volume == pytest.approx(6.0)  # right size, and every face looks outwards


@pytest.mark.parametrize("extension", ["glb", "ply"])
def test_vertex_colors_come_through(tmp_path, extension):
    colors = np.array(
        [[255, 0, 0, 255], [0, 255, 0, 255], [0, 0, 255, 255], [9, 9, 9, 255]], np.uint8
    )
    mesh = trimesh.Trimesh(QUAD, QUAD_FACES, vertex_colors=colors, process=False)
    path = tmp_path / f"quad.{extension}"
    mesh.export(path)
    scene = load_scene(path)
    np.testing.assert_array_equal(scene.colors, colors[:, :3])
    assert scene.materials[0].color == (1.0, 1.0, 1.0)


def test_face_colors_come_through(tmp_path):
    mesh = trimesh.Trimesh(QUAD, QUAD_FACES, process=False)
    mesh.visual.face_colors = [[255, 0, 0, 255], [0, 0, 255, 255]]
    path = tmp_path / "quad.ply"
    mesh.export(path)
    scene = load_scene(path)
    np.testing.assert_array_equal(scene.colors[scene.faces[0]], [[255, 0, 0]] * 3)
    np.testing.assert_array_equal(scene.colors[scene.faces[1]], [[0, 0, 255]] * 3)


def test_z_up_turns_the_scene_upright(tmp_path):
    path = tmp_path / "box.glb"
    mesh = trimesh.creation.box(extents=(1, 2, 3))
    mesh.apply_translation((10, 20, 30))
    mesh.export(path)
    np.testing.assert_allclose(
        load_scene(path, up="z").bounds, [[9.5, 28.5, -21], [10.5, 31.5, -19]], atol=1e-5
    )


def test_node_transforms_and_names(tmp_path):
    scene = trimesh.Scene()
    box = trimesh.creation.box(extents=(1, 1, 1))
    for name, x in (("OfficeChair_01", 5.0), ("kitchen cabinet", -5.0), ("Cube.003", 0.0)):
        pose = np.eye(4)
        pose[0, 3] = x
        scene.add_geometry(box, node_name=name, geom_name=name, transform=pose)
    mirrored = np.diag([-1.0, 1, 1, 1])
    mirrored[1, 3] = 4.0
    scene.add_geometry(box, node_name="mirror", geom_name="mirror", transform=mirrored)
    path = tmp_path / "rooms.glb"
    scene.export(path)
    loaded = load_scene(path)
    by_name = {o.name: o for o in loaded.objects}
    assert by_name["OfficeChair_01"].category == "chair"
    assert by_name["OfficeChair_01"].center == pytest.approx((5, 0, 0))
    assert by_name["kitchen cabinet"].category == "cabinet"
    assert by_name["Cube.003"].category == "unlabeled"
    assert by_name["mirror"].center == pytest.approx((0, 4, 0))
    corners = loaded.vertices[loaded.faces].astype(float)
    volume = np.einsum("ij,ij->", corners[:, 0], np.cross(corners[:, 1], corners[:, 2])) / 6
    assert volume == pytest.approx(4.0)  # a mirroring node must not turn its faces inside out


def test_labels_by_name_append_new_categories(tmp_path):
    scene = trimesh.Scene()
    for name in ("thing_a", "thing_b"):
        scene.add_geometry(trimesh.creation.box(), node_name=name, geom_name=name)
    path = tmp_path / "two.glb"
    scene.export(path)
    table = tmp_path / "labels.json"
    table.write_text(json.dumps({"thing_a": "robot dock", "thing_b": "chair"}))
    loaded = load_scene(path, labels=table)
    assert loaded.categories[42:] == ("robot dock",)
    assert {o.name: o.category for o in loaded.objects[1:]} == {
        "thing_a": "robot dock",
        "thing_b": "chair",
    }
    assert set(loaded.compute_face_categories().tolist()) == {42, loaded.categories.index("chair")}


def test_labels_per_face(tmp_path):
    path = tmp_path / "quad.ply"
    trimesh.Trimesh(QUAD, QUAD_FACES, process=False).export(path)
    loaded = load_scene(path, labels=np.array([[7, 2], [9, 3]], np.int32))
    assert [(o.category, o.name) for o in loaded.objects[1:]] == [
        ("floor", "floor 7"),
        ("chair", "chair 9"),
    ]
    np.testing.assert_array_equal(loaded.compute_face_categories(), [2, 3])
    with pytest.raises(SceneError, match="one .instance, class. row per face"):
        load_scene(path, labels=np.zeros((5, 2), np.int32))


def test_collada_unit_and_axis(tmp_path):
    path = tmp_path / "quad.dae"
    path.write_text(DAE_TEXTURED.replace('meter="1"', 'meter="0.01"').replace("Y_UP", "Z_UP"))
    with pytest.warns(UserWarning, match=r"missing files image.png"):
        scene = load_scene(path)
    np.testing.assert_allclose(scene.bounds, [[0, 0, -0.02], [0.01, 0, 0]], atol=1e-7)
    with pytest.warns(UserWarning, match="missing"):
        upright = load_scene(path, up="y")
    np.testing.assert_allclose(upright.bounds, [[0, 0, 0], [0.01, 0.02, 0]], atol=1e-7)


def test_base_color_factor_is_linear_light(tmp_path):
    material = trimesh.visual.material.PBRMaterial(baseColorFactor=[128, 0, 255, 255])
    visual = trimesh.visual.TextureVisuals(material=material)
    path = tmp_path / "quad.glb"
    trimesh.Trimesh(QUAD, QUAD_FACES, visual=visual, process=False).export(path)
    expected = (1.055 * (128 / 255) ** (1 / 2.4) - 0.055, 0.0, 1.0)
    assert load_scene(path).materials[0].color == pytest.approx(expected, abs=1e-6)


def glb_with_image(payload: bytes, mime: str) -> bytes:
    """A textured quad whose image holds arbitrary bytes."""
    data = textured_quad().export(file_type="glb")
    length = struct.unpack_from("<I", data, 12)[0]
    header, binary = json.loads(data[20 : 20 + length]), data[28 + length :]
    view = header["bufferViews"][header["images"][0]["bufferView"]]
    view.update(byteOffset=len(binary), byteLength=len(payload))
    header["images"][0]["mimeType"] = mime
    binary += payload + b"\0" * (-len(payload) % 4)
    header["buffers"][0]["byteLength"] = len(binary)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 4)
    body = struct.pack("<II", len(text), 0x4E4F534A) + text
    body += struct.pack("<II", len(binary), 0x004E4942) + binary
    return struct.pack("<4sII", b"glTF", 2, 12 + len(body)) + body


def test_compressed_texture_without_its_decoder(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "opengl_basisu", None)
    path = tmp_path / "quad.glb"
    path.write_bytes(glb_with_image(b"\xabKTX 20\xbb\r\n\x1a\n" + bytes(100), "image/ktx2"))
    with pytest.warns(UserWarning, match=r"embodied-stack\[ktx\]"):
        scene = load_scene(path)
    assert len(scene.faces) == 2
    assert scene.materials[0].texture is None


def uastc_ktx2(colors, orientation=""):
    """A KTX2 file of one solid-colour 4x4 UASTC block per entry of (rows, columns, 3)."""
    blocks = b""
    for red, green, blue in np.reshape(colors, (-1, 3)).tolist():  # mode 8: code 0x17, then RGBA
        bits = 0x17 | red << 5 | green << 13 | blue << 21 | 255 << 29
        blocks += bits.to_bytes(16, "little")
    entry = b"KTXorientation\0" + orientation.encode() + b"\0"
    values = struct.pack("<I", len(entry)) + entry + b"\0" * (-len(entry) % 4)
    values = values if orientation else b""
    described = struct.pack("<IHHHH4B4B8B", 44, 0, 0, 2, 40, 166, 1, 2, 0, 3, 3, 0, 0, 16, *[0] * 7)
    described += struct.pack("<HBB4BII", 0, 127, 0, 0, 0, 0, 0, 0, 0xFFFFFFFF)
    at = 104 + 44 + len(values)
    start = at + -at % 16
    height, width = 4 * len(colors), 4 * len(colors[0])
    out = b"\xabKTX 20\xbb\r\n\x1a\n" + struct.pack("<9I", 0, 1, width, height, 0, 0, 1, 1, 0)
    out += struct.pack("<4I2Q", 104, 44, 148 if values else 0, len(values), 0, 0)
    out += struct.pack("<3Q", start, len(blocks), len(blocks)) + described + values
    return out + b"\0" * (start - len(out)) + blocks


@pytest.mark.parametrize("orientation", ["", "rd", "ru"])
def test_compressed_texture_stands_upright(tmp_path, orientation):
    pytest.importorskip("opengl_basisu", reason="the ktx extra is not installed")
    rows = [[(255, 0, 0), (0, 255, 0)], [(0, 0, 255), (200, 100, 50)]]
    payload = uastc_ktx2(rows[::-1] if orientation == "ru" else rows, orientation)
    path = tmp_path / "quad.glb"
    path.write_bytes(glb_with_image(payload, "image/ktx2"))
    scene = load_scene(path)
    assert color_at(scene, (0.1, 1.9, 0)) == (255, 0, 0)
    assert color_at(scene, (0.9, 0.1, 0)) == (200, 100, 50)


def test_damaged_compressed_texture(tmp_path):
    pytest.importorskip("opengl_basisu", reason="the ktx extra is not installed")
    path = tmp_path / "quad.glb"
    path.write_bytes(glb_with_image(b"\xabKTX 20\xbb\r\n\x1a\n" + bytes(100), "image/ktx2"))
    with pytest.raises(SceneError, match="compressed texture is damaged"):
        load_scene(path)


def test_missing_texture_warns_and_loads(tmp_path):
    path = tmp_path / "quad.obj"
    textured_quad().export(path)
    for image in tmp_path.glob("*.png"):
        image.unlink()
    with pytest.warns(UserWarning, match=r"quad\.obj: missing files .*\.png"):
        scene = load_scene(path)
    assert len(scene.faces) == 2
    assert scene.uv is None


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("absent.glb", None, "no such file"),
        ("scene.glb", b"", "cannot be read as glb"),
        ("scene.glb", b"version https://git-lfs.github.com/spec/v1\n", "Git-LFS pointer"),
        ("scene.gltf", b"{", "cannot be read as gltf"),
        ("scene.ply", b"ply\nformat ascii 1.0\nelement vertex 9\n", "cannot be read as ply"),
        ("scene.obj", b"# nothing here\n", "obj"),
        ("scene.dae", b"<COLLADA", "cannot be read as dae"),
        ("scene.fbx", b"Kaydara", r"unknown scene format '\.fbx'.*\.glb"),
        ("scene.gbl", b"", r"did you mean '\.glb'"),
    ],
)
def test_bad_files_are_named_with_cause(tmp_path, name, content, message):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SceneError, match=message) as error:
        load_scene(path)
    assert str(path) in str(error.value)


@pytest.mark.parametrize("keep", [0.1, 0.5, 0.95])
@pytest.mark.parametrize("extension", ["glb", "ply", "stl"])
def test_truncated_files(tmp_path, extension, keep):
    whole = trimesh.creation.icosphere(subdivisions=3).export(file_type=extension)
    path = tmp_path / f"sphere.{extension}"
    path.write_bytes(whole[: int(len(whole) * keep)])
    with pytest.raises(SceneError, match="sphere"):
        load_scene(path)


@pytest.mark.parametrize("kind", ["glb", "ply", "dae", "obj"])
def test_random_damage_is_reported_or_harmless(tmp_path, kind):
    """Whatever bytes are wrong, the answer is a scene or a SceneError, never another exception."""
    rng = np.random.default_rng(7)
    if kind == "dae":
        whole = DAE_TEXTURED.encode()
    else:
        whole = trimesh.creation.box().export(file_type=kind)
        whole = whole.encode() if isinstance(whole, str) else whole
    path = tmp_path / f"box.{kind}"
    for _ in range(60):
        damaged = bytearray(whole)
        for at in rng.integers(0, len(whole), 4):
            damaged[at] = rng.integers(0, 256)
        path.write_bytes(damaged)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with contextlib.suppress(SceneError):
                assert np.isfinite(load_scene(path).vertices).all()


@pytest.mark.parametrize("content", ["[]", "7", '{"textures": 3, "materials": [4]}'])
def test_gltf_of_the_wrong_shape(tmp_path, content):
    path = tmp_path / "scene.gltf"
    path.write_text(content)
    with pytest.raises(SceneError, match="scene"):
        load_scene(path)


def test_mesh_without_faces(tmp_path):
    path = tmp_path / "points.ply"
    trimesh.PointCloud(QUAD).export(path)
    with pytest.raises(SceneError, match="no triangles"):
        load_scene(path)


def test_nan_vertices(tmp_path):
    path = tmp_path / "broken.obj"
    path.write_text("v 0 0 0\nv 1 0 nan\nv 0 1 0\nf 1 2 3\n")
    with pytest.raises(SceneError, match="1 of 3 vertices are NaN"):
        load_scene(path)


def test_unknown_up_axis(tmp_path):
    with pytest.raises(SceneError, match="use 'y' or 'z'"):
        load_scene(tmp_path, up="x")


@pytest.mark.parametrize("name", ["simple_room", "house_20k", "aws_house"])
def test_z_up_reproduces_habitats_frame(shared_data, name):
    folder = shared_data("habitat_reference")
    recorded = json.loads((folder / f"{name}.json").read_text())["bounds"]
    scene = load_scene(folder / "scenes" / f"{name}.glb", up="z")
    np.testing.assert_allclose(scene.bounds, recorded, atol=1e-4)


DAE_TEXTURED = """<?xml version="1.0"?>
<COLLADA xmlns="http://www.collada.org/2005/11/COLLADASchema" version="1.4.1">
<asset><unit meter="1" name="unit"/><up_axis>Y_UP</up_axis></asset>
<library_images><image id="img"><init_from>image.png</init_from></image></library_images>
<library_effects><effect id="fx"><profile_COMMON>
<newparam sid="surface"><surface type="2D"><init_from>img</init_from></surface></newparam>
<newparam sid="sampler"><sampler2D><source>surface</source></sampler2D></newparam>
<technique sid="common"><lambert><diffuse>
<texture texture="sampler" texcoord="UV"/></diffuse></lambert>
</technique></profile_COMMON></effect></library_effects>
<library_materials><material id="mat"><instance_effect url="#fx"/></material></library_materials>
<library_geometries><geometry id="quad"><mesh>
<source id="p"><float_array id="pa" count="12">0 0 0 1 0 0 1 2 0 0 2 0</float_array>
<technique_common><accessor source="#pa" count="4" stride="3"><param name="X" type="float"/>
<param name="Y" type="float"/><param name="Z" type="float"/></accessor></technique_common></source>
<source id="t"><float_array id="ta" count="8">0 0 1 0 1 1 0 1</float_array>
<technique_common><accessor source="#ta" count="4" stride="2"><param name="S" type="float"/>
<param name="T" type="float"/></accessor></technique_common></source>
<vertices id="v"><input semantic="POSITION" source="#p"/></vertices>
<triangles count="2" material="m"><input semantic="VERTEX" source="#v" offset="0"/>
<input semantic="TEXCOORD" source="#t" offset="1" set="0"/>
<p>0 0 1 1 2 2 0 0 2 2 3 3</p></triangles>
</mesh></geometry></library_geometries>
<library_visual_scenes><visual_scene id="scene"><node id="n"><instance_geometry url="#quad">
<bind_material><technique_common><instance_material symbol="m" target="#mat"/></technique_common>
</bind_material></instance_geometry></node></visual_scene></library_visual_scenes>
<scene><instance_visual_scene url="#scene"/></scene>
</COLLADA>
"""
