"""Image bytes -> (H, W, 3) uint8, also from HM3D's Basis Universal files, which trimesh skips."""

from __future__ import annotations

import base64
import json
import struct
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from embodied.errors import SceneError
from embodied.extras import OPTIONAL

if TYPE_CHECKING:
    from PIL.Image import Image
    from trimesh.resolvers import Resolver

KTX2_MAGIC = b"\xabKTX 20\xbb\r\n\x1a\n"
BASIS_MAGIC = b"sB"
_EXTENSIONS = ("KHR_texture_basisu", "GOOGLE_texture_basis")


def to_rgb(image: Image) -> NDArray[np.uint8]:
    """Decode a PIL image to (H, W, 3) uint8, first row = top."""
    if image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")  # PIL warns about the direct way
    return np.ascontiguousarray(np.asarray(image.convert("RGB")))


def decode_compressed_textures(
    data: bytes, resolver: Resolver, path: Path
) -> tuple[bytes, dict[str, NDArray[np.uint8]]]:
    """Decode a glTF's Basis/KTX2 base-colour textures.

    Returns:
        The file, with its materials renamed to unique names when anything had to be decoded, and
        texture arrays by material name. Without the decoder package they are left out
        with a warning.
    """
    header, binary = _split(data, path)
    images: list[dict[str, Any]] = header.get("images", [])
    wanted: dict[int, int] = {}
    for number, material in enumerate(header.get("materials", [])):
        texture = material.get("pbrMetallicRoughness", {}).get("baseColorTexture")
        if texture is None:
            continue
        entry = header["textures"][texture["index"]]
        source = next(
            (
                entry["extensions"][e]["source"]
                for e in _EXTENSIONS
                if e in entry.get("extensions", {})
            ),
            entry.get("source"),
        )
        if source is not None and _may_be_compressed(images[source]):
            wanted[number] = source
    if not wanted:
        return data, {}
    pixels: dict[int, NDArray[np.uint8] | None] = {}
    for source in set(wanted.values()):
        blob = _image_bytes(images[source], header, binary, resolver)
        pixels[source] = _decode(blob, path) if _is_compressed(blob) else None
    if all(p is None for p in pixels.values()):
        return data, {}
    decoded = {}
    for number, source in wanted.items():
        name = f"material {number}"
        header["materials"][number]["name"] = name
        if (texels := pixels[source]) is not None:
            decoded[name] = texels
    return _join(data, header, binary), decoded


def _may_be_compressed(image: dict[str, Any]) -> bool:
    mime = image.get("mimeType", "")
    if mime in ("image/png", "image/jpeg", "image/webp"):
        return False
    return not image.get("uri", "").lower().endswith((".png", ".jpg", ".jpeg", ".webp"))


def _is_compressed(blob: bytes) -> bool:
    return blob.startswith((KTX2_MAGIC, BASIS_MAGIC))


def _decode(blob: bytes, path: Path) -> NDArray[np.uint8] | None:
    try:
        import opengl_basisu
    except ImportError:
        remedy = OPTIONAL["opengl_basisu"].remedy
        warnings.warn(
            f"{path}: its textures are Basis Universal (KTX2) and the package 'opengl-basisu' is "
            f"not installed, so the scene is shown without them. {remedy}",
            stacklevel=5,
        )
        return None
    try:
        texture = opengl_basisu.open(blob)
        pixels = np.asarray(texture.transcode("rgba8").data)[:, :, :3]
    except (opengl_basisu.BasisuError, ValueError) as cause:
        raise SceneError(
            f"{path}: a compressed texture is damaged ({cause}); download the file again"
        ) from cause
    bottom_first = texture.y_flipped or _ktx_orientation(blob).endswith("u")
    return np.ascontiguousarray(pixels[::-1] if bottom_first else pixels)


def _ktx_orientation(blob: bytes) -> str:
    """Return KTX2's KTXorientation value, "rd" (rows run down) when it has none."""
    if not blob.startswith(KTX2_MAGIC) or len(blob) < 68:
        return "rd"
    offset, length = struct.unpack_from("<II", blob, 56)
    values = blob[offset : offset + length]
    at = values.find(b"KTXorientation\0")
    return "rd" if at < 0 else values[at + 15 : at + 17].decode("ascii", "replace")


def _split(data: bytes, path: Path) -> tuple[dict[str, Any], bytes]:
    """Return a glTF's JSON header and binary chunk (empty for .gltf)."""
    try:
        if data[:4] != b"glTF":
            return json.loads(data.decode("utf-8")), b""
        length = struct.unpack_from("<I", data, 12)[0]
        header = json.loads(data[20 : 20 + length].decode("utf-8"))
        return header, data[28 + length :]
    except (ValueError, struct.error, UnicodeDecodeError) as cause:
        raise SceneError(
            f"{path}: cannot be read as {path.suffix[1:]} ({cause}). The file is damaged, "
            "truncated or a Git-LFS pointer: download it again."
        ) from cause


def _join(data: bytes, header: dict[str, Any], binary: bytes) -> bytes:
    text = json.dumps(header).encode()
    if data[:4] != b"glTF":
        return text
    text += b" " * (-len(text) % 4)
    chunks = struct.pack("<II", len(text), 0x4E4F534A) + text
    if binary:
        chunks += struct.pack("<II", len(binary), 0x004E4942) + binary
    return struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks


def _image_bytes(
    image: dict[str, Any], header: dict[str, Any], binary: bytes, resolver: Resolver
) -> bytes:
    if "bufferView" in image:
        view = header["bufferViews"][image["bufferView"]]
        buffer = binary
        uri = header["buffers"][view["buffer"]].get("uri")
        if uri is not None:
            buffer = _uri_bytes(uri, resolver)
        start = view.get("byteOffset", 0)
        return buffer[start : start + view["byteLength"]]
    return _uri_bytes(image.get("uri", ""), resolver)


def _uri_bytes(uri: str, resolver: Resolver) -> bytes:
    if uri.startswith("data:"):
        return base64.b64decode(uri.partition(",")[2])
    try:
        return resolver.get(uri)
    except FileNotFoundError:
        return b""
