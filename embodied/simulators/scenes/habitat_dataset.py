"""Finds what names in Habitat's files refer to: templates, assets and scenes of a data set."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from embodied.errors import SceneError, suggest_nearest

_ENDINGS = (".stage_config.json", ".object_config.json", ".scene_instance.json")


@dataclass(frozen=True)
class HabitatTemplate:
    """A stage or object description.

    Attributes:
        path: the config file, or the mesh itself when there is none.
        attributes: its content over the data set's defaults.
        handle: the name it is known by, the file's when None.
        bare_stage: a stage mesh without a config.
    """

    path: Path
    attributes: Mapping[str, Any]
    handle: str | None = None
    bare_stage: bool = False

    @property
    def name(self) -> str:
        """The template's name without folder and ending."""
        return self.handle or _stem(self.path)

    def get_file(self, key: str) -> Path | None:
        """Return the path an attribute names, None when it is absent or empty."""
        value = self.attributes.get(key)
        if not value:
            return None
        for tag in ("%%CONFIG_NAME_AS_ASSET_FILENAME%%", "%%USE_FILENAME%%"):
            value = str(value).replace(tag, _stem(self.path).removesuffix(".basis"))
        return (self.path.parent / str(value)).resolve()


def read_json_object(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        SceneError: missing, damaged or not an object.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as cause:
        raise SceneError(
            f"{path}: cannot be read as JSON ({cause}). Correct or download the file again."
        ) from cause
    if not isinstance(data, dict):
        raise SceneError(f"{path}: must hold a JSON object")
    return data


def find_dataset(path: Path) -> HabitatDataset:
    """Return the data set a scene file belongs to: the nearest config in a folder above, if any."""
    for folder in list(path.resolve().parents)[:4]:
        found = sorted(folder.glob("*.scene_dataset_config.json"))
        if len(found) == 1:
            return HabitatDataset(found[0])
    return HabitatDataset(None)


class HabitatDataset:
    """A data set config and the files around it; also works without one, by file names alone."""

    def __init__(self, path: Path | None) -> None:
        self.path = path.resolve() if path is not None else None
        self.config = read_json_object(path) if path is not None else {}

    def find_stage(self, handle: str, near: Path) -> HabitatTemplate:
        """Return a stage by its handle."""
        return self._template("stages", ".stage_config.json", handle, near)

    def find_object(self, handle: str, near: Path) -> HabitatTemplate:
        """Return an object by its handle."""
        return self._template("objects", ".object_config.json", handle, near)

    def find_articulated_object(self, handle: str, near: Path) -> Path:
        """Return the URDF file of an articulated object."""
        short = Path(handle).name.removesuffix(".urdf").removesuffix(".ao_config.json")
        files = {p.name: p for p in self._files("articulated_objects", ".ao_config.json")}
        for root in [near, near.parent] + ([self.path.parent] if self.path is not None else []):
            for place in (root / f"{handle}.urdf", root / handle, root / "urdf" / f"{handle}.urdf"):
                if place.is_file() and place.suffix == ".urdf":
                    return place
        if f"{short}.ao_config.json" in files:
            config = files[f"{short}.ao_config.json"]
            return config.parent / str(
                read_json_object(config).get("urdf_filepath", f"{short}.urdf")
            )
        if f"{short}.urdf" in files:
            return files[f"{short}.urdf"]
        hint = suggest_nearest(short, sorted(files)[:200]) if files else "the data set lists none"
        raise SceneError(f"{near}: the articulated object '{handle}' was not found; {hint}")

    def find_scene(self, name: str | None) -> tuple[str, Path]:
        """Return ("instance" or "stage", file) of a scene; the only one when no name is given.

        Raises:
            SceneError: none, several or no such scene.
        """
        scenes = {_stem(p): p for p in self._files("scene_instances", ".scene_instance.json")}
        kind = "instance"
        if not scenes or (name is not None and _stem(Path(name)) not in scenes):
            stages = {p.removesuffix(".basis"): t.path for p, t in self._stages.items()}
            if not scenes or (name is not None and _stem(Path(name)) in stages):
                scenes, kind = stages, "stage"
        if name is None and len(scenes) == 1:
            return kind, next(iter(scenes.values()))
        if name is not None and _stem(Path(name)) in scenes:
            return kind, scenes[_stem(Path(name))]
        shown = ", ".join(sorted(scenes)[:12]) + (" ..." if len(scenes) > 12 else "")
        if not scenes:
            raise SceneError(
                f"{self.path}: lists no scene and no stage that exists. Check its paths."
            )
        if name is None:
            raise SceneError(
                f"{self.path}: has {len(scenes)} scenes; name one as '{self.path}#NAME'. "
                f"There are: {shown}"
            )
        raise SceneError(
            f"{self.path}: no scene '{name}'; {suggest_nearest(name, list(scenes)[:200])}"
        )

    def find_semantics(self, handle: str | None, scene: Path) -> Path | None:
        """Return the region descriptor of a scene instance, None when it has none."""
        section = self.config.get("scene_instances", {}).get("default_attributes", {})
        value = handle or section.get("semantic_scene_instance")
        if not value:
            return None
        value = value.replace("%%CONFIG_NAME_AS_ASSET_FILENAME%%", _stem(scene))
        known = self.config.get("semantic_scene_descriptor_instances", {})
        if isinstance(known.get(value), str) and self.path is not None:
            value = known[value]
        name = Path(value).name.removesuffix(".semantic_config.json") + ".semantic_config.json"
        root = self.path.parent if self.path is not None else scene.parent.parent
        return next(iter(sorted(root.glob(f"**/{name}"))), None)

    @cached_property
    def _stages(self) -> dict[str, HabitatTemplate]:
        return self._listed("stages", ".stage_config.json")

    @cached_property
    def _objects(self) -> dict[str, HabitatTemplate]:
        return self._listed("objects", ".object_config.json")

    def _listed(self, section: str, ending: str) -> dict[str, HabitatTemplate]:
        """Return every template the config lists, by handle."""
        part = self.config.get(section, {})
        defaults = part.get("default_attributes", {})
        found: dict[str, HabitatTemplate] = {}
        for file in self._files(section, ending):
            if file.name.endswith(ending):
                found[_stem(file)] = HabitatTemplate(file, {**defaults, **read_json_object(file)})
            else:
                attributes = {"render_asset": file.name, **defaults}
                found[_stem(file)] = HabitatTemplate(
                    file, attributes, bare_stage=section == "stages"
                )
        for entry in part.get("configs", []):
            base: Mapping[str, Any] = {}
            path = self.path
            if "original_file" in entry and self.path is not None:
                path = self.path.parent / entry["original_file"]
                base = read_json_object(path)
            if path is None:
                continue
            handle = entry.get("template_handle") or _stem(path)
            found[handle] = HabitatTemplate(
                path, {**defaults, **base, **entry.get("attributes", {})}, handle
            )
        return found

    def _files(self, section: str, ending: str) -> Iterator[Path]:
        """Yield the files under a section's `paths`: folders, files or patterns, by extension."""
        if self.path is None:
            return
        for extension, patterns in self.config.get(section, {}).get("paths", {}).items():
            suffix = ending if extension == ".json" else extension
            for pattern in patterns:
                for place in sorted(self.path.parent.glob(pattern.rstrip("/"))):
                    if place.is_dir():
                        yield from sorted(p for p in place.iterdir() if p.name.endswith(suffix))
                    elif place.name.endswith(suffix):
                        yield place

    def _template(self, section: str, ending: str, handle: str, near: Path) -> HabitatTemplate:
        listed = self._stages if section == "stages" else self._objects
        short = _stem(Path(handle))
        for name in (handle, short):
            if name in listed:
                return listed[name]
        defaults = self.config.get(section, {}).get("default_attributes", {})
        roots = [near, near.parent] + ([self.path.parent] if self.path is not None else [])
        for root in roots:
            for folder in (root, root / section):
                config = folder / f"{handle}{'' if handle.endswith(ending) else ending}"
                if config.is_file():
                    return HabitatTemplate(config, {**defaults, **read_json_object(config)})
                for mesh in (folder / handle, folder / f"{handle}.glb"):
                    if mesh.is_file() and mesh.suffix.lower() == ".glb":
                        attributes = {"render_asset": mesh.name, **defaults}
                        return HabitatTemplate(mesh, attributes, bare_stage=section == "stages")
        close = [name for name in listed if short in name]
        if len(close) == 1:  # Habitat accepts any unambiguous part of a handle
            return listed[close[0]]
        hint = (
            suggest_nearest(short, list(listed)[:200])
            if listed
            else "there is no data set config near it"
        )
        raise SceneError(
            f"{near}: the {section[:-1]} '{handle}' was not found; {hint}. "
            "Load the scene with its whole data set folder."
        )


def _stem(path: Path) -> str:
    name = path.name
    for ending in _ENDINGS:
        if name.endswith(ending):
            return name.removesuffix(ending)
    return name.removesuffix(".glb") if name.endswith(".glb") else name
