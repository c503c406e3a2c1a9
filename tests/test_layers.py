"""Who may import whom: the import table of the architecture, enforced on every file."""

from __future__ import annotations

import ast
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

# Modules without behaviour of their own, which every part of `embodied` may use.
BASE = (
    "embodied.errors",
    "embodied.extras",
    "embodied.categories",
    "embodied.types",
    "embodied.files",
    "embodied.config",
    "embodied.config_aliases",
    "embodied.registry",
)

# importer -> what of our own it may import besides itself. The longest matching prefix counts.
MAY_IMPORT: dict[str, tuple[str, ...]] = {
    "maps": (),
    "robots": (
        "embodied.types",
        "embodied.errors",
        "embodied.extras",
        "embodied.config",
        "embodied.files",
        "embodied.serving.chunks",
        "embodied.serving.client",
        "embodied.serving.protocol",
        "embodied.serving.wire",
    ),
    "robots.kernels": ("maps.compiled",),
    "embodied": ("embodied.errors", "embodied.extras", "embodied.types", "embodied.files"),
    "embodied.config": ("embodied.config_aliases", "embodied.errors", "embodied.files"),
    "embodied.config_docs": ("embodied.config",),
    "embodied.nn": BASE,
    "embodied.perception": (*BASE, "embodied.nn", "maps"),
    "embodied.policies": (*BASE, "embodied.perception", "embodied.nn", "maps"),
    "embodied.simulators": (*BASE, "maps"),
    "embodied.simulators.scenes.urdf": (
        *BASE,
        "embodied.simulators",
        "robots.errors",
        "robots.kinematics",
        "robots.urdf",
    ),
    "embodied.simulators.bullet": (
        *BASE,
        "embodied.simulators",
        "robots.arm",
        "robots.bullet_body",
        "robots.kinematics",
        "robots.model",
        "robots.urdf",
    ),
    "embodied.tasks": (*BASE, "embodied.simulators", "maps"),
    # The table as an arm behind the drivers' protocol, and in pictures around one without cameras.
    "embodied.tasks.tabletop.mirror": (
        *BASE,
        "embodied.simulators",
        "embodied.tasks.tabletop",
        "robots.arm",
        "robots.model",
    ),
    "embodied.tasks.tabletop.twin": (
        *BASE,
        "embodied.simulators",
        "embodied.tasks.tabletop",
        "robots.arm",
        "robots.errors",
        "robots.model",
    ),
    # The same layout that robots' recordings are exported in.
    "embodied.tasks.datasets.lerobot": (
        *BASE,
        "robots.errors",
        "robots.lerobot_layout",
        "robots.video",
    ),
    "embodied.rollout": (*BASE, "embodied.policies.base"),
    "embodied.training": (
        *BASE,
        "embodied.rollout",
        "embodied.policies",
        "embodied.perception",
        "embodied.tasks",
        "embodied.results",
        "maps",
    ),
    "embodied.serving": (*BASE, "embodied.policies.base"),
    "embodied.viz": ("embodied", "maps", "robots"),
    "embodied.evaluation": (
        *BASE,
        "embodied.rollout",
        "embodied.policies",
        "embodied.perception",
        "embodied.simulators",
        "embodied.tasks",
        "embodied.training",
        "embodied.results",
        "embodied.viz",
        "maps",
    ),
    "embodied.demo": (
        *BASE,
        "embodied.rollout",
        "embodied.evaluation",
        "embodied.policies",
        "embodied.simulators",
        "embodied.tasks",
        "embodied.training",
        "embodied.results",
        "embodied.viz",
        "maps",
    ),
    "embodied.cli": ("embodied", "maps", "robots"),
    "embodied.__main__": ("embodied.cli",),
}

# Third-party packages of the parts that also run on a robot: nothing else may appear there.
ONLY_THIRD_PARTY: dict[str, set[str]] = {
    "maps": {"numpy", "scipy", "cv2", "numba", "lazy_loader"},
    "robots": {"numpy", "ruckig", "yaml", "lazy_loader"},
    "robots.kernels": {"numpy", "numba"},
    # Each driver its one SDK, each file format its one library.
    "robots.bullet": {"numpy"},
    "robots.bullet_body": {"numpy", "pybullet"},
    "robots.feetech_bus": {"numpy", "scservo_sdk"},
    "robots.franka": {"numpy", "franky"},
    "robots.franka_hand": {"franky"},
    "robots.ur_process": {"rtde_receive", "rtde_control"},
    "robots.ros2_types": {"numpy", "cyclonedds"},
    "robots.ros2_link": {"numpy", "cyclonedds", "zenoh"},
    "robots.recorder": {"numpy", "mcap"},
    "robots.episode": {"numpy", "mcap", "zstandard"},
    "robots.video": {"numpy", "av"},
    "robots.lerobot_layout": {"numpy", "pyarrow"},
}

# Heavy packages -> the only places that may import them.
HEAVY: dict[str, tuple[str, ...]] = {
    "torch": (
        "embodied.nn",
        "embodied.perception",
        "embodied.policies",
        "embodied.training",
        "embodied.evaluation",
    ),
    "transformers": ("embodied.perception",),
    "peft": ("embodied.perception.lora",),
    "rerun": ("embodied.viz.rerun",),
    "open3d": ("embodied.simulators.bullet.points",),
    "habitat_sim": ("embodied.simulators.habitat.sim",),
    "habitat": ("embodied.simulators.habitat",),
    "gym": ("embodied.simulators.habitat",),
    "quaternion": ("embodied.simulators.habitat.lab",),
    "pybullet": ("robots.bullet_body",),
    "opengl_basisu": ("embodied.simulators.scenes",),
}

# (importer, imported): deviations from the tables, each with its reason.
EXCEPTIONS: dict[tuple[str, str], str] = {}


def _modules() -> dict[str, Path]:
    found = {}
    for top in ("embodied", "maps", "robots"):
        for file in sorted((ROOT / top).rglob("*.py")):
            parts = file.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
    return found


MODULES = _modules()


def _imports(name: str, file: Path) -> set[str]:
    """Every module a file imports, inside functions too."""
    package = name if file.name == "__init__.py" else name.rpartition(".")[0]
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*parents, base] if base else parents)
            for alias in node.names:
                whole = f"{base}.{alias.name}"
                found.add(whole if whole in MODULES else base)
    return found


def _inside(module: str, prefix: str) -> bool:
    return module == prefix or module.startswith(f"{prefix}.")


def _row(module: str, table: dict[str, object] | dict[str, tuple[str, ...]]) -> str | None:
    rows = [prefix for prefix in table if _inside(module, prefix)]
    return max(rows, key=len) if rows else None


def violations(name: str, imports: set[str]) -> list[str]:
    """Return the imports of a module that the tables forbid."""
    wrong = []
    row = _row(name, MAY_IMPORT)
    assert row is not None
    third_party = _row(name, ONLY_THIRD_PARTY)  # type: ignore[arg-type]
    for target in sorted(imports):
        top = target.split(".")[0]
        if (name, target) in EXCEPTIONS or top in sys.stdlib_module_names or top == "__future__":
            continue
        if top in ("embodied", "maps", "robots"):
            # A row named after a package covers the package; top-level modules share one row.
            own = row if row != "embodied" else name
            allowed = (own, *MAY_IMPORT[row])
            if target != "embodied" and not any(_inside(target, a) for a in allowed):
                wrong.append(f"{name} imports {target}")
        elif third_party and top not in ONLY_THIRD_PARTY[third_party]:
            wrong.append(f"{name} imports {target}")
        elif top in HEAVY and not any(_inside(name, place) for place in HEAVY[top]):
            wrong.append(f"{name} imports {target}: only {', '.join(HEAVY[top])} may")
    return wrong


@pytest.mark.parametrize("name", MODULES)
def test_imports_follow_the_layers(name: str) -> None:
    assert not violations(name, _imports(name, MODULES[name]))


def test_every_row_is_about_a_module() -> None:
    named = {*BASE, *MAY_IMPORT, *ONLY_THIRD_PARTY}
    named |= {place for rows in (*MAY_IMPORT.values(), *HEAVY.values()) for place in rows}
    assert not {row for row in named if not any(_inside(module, row) for module in MODULES)}


def test_every_heavy_package_is_imported_where_it_may_be() -> None:
    imported = {
        (target.split(".")[0], name) for name, file in MODULES.items()
        for target in _imports(name, file)
    }  # fmt: skip
    for package, places in HEAVY.items():
        for place in places:
            used = any(top == package and _inside(name, place) for top, name in imported)
            assert used, f"nothing in {place} imports {package}"


def find_circles(imports: Mapping[str, set[str]]) -> list[set[str]]:
    """Return the groups of modules that import each other (strongly connected, Tarjan 1972)."""
    order: dict[str, int] = {}
    lowest: dict[str, int] = {}
    open_modules: list[str] = []
    circles: list[set[str]] = []

    def visit(module: str) -> None:
        order[module] = lowest[module] = len(order)
        open_modules.append(module)
        for target in sorted(imports[module]):
            if target not in order:
                visit(target)
                lowest[module] = min(lowest[module], lowest[target])
            elif target in open_modules:
                lowest[module] = min(lowest[module], order[target])
        if lowest[module] == order[module]:
            start = open_modules.index(module)
            circle = set(open_modules[start:])
            del open_modules[start:]
            if len(circle) > 1:
                circles.append(circle)

    for module in imports:
        if module not in order:
            visit(module)
    return circles


def test_no_modules_import_each_other_in_a_circle() -> None:
    """Imports inside functions and for types only count, too: they hide a circle, no more."""
    graph = {
        name: {target for target in _imports(name, file) if target in MODULES and target != name}
        for name, file in MODULES.items()
    }
    assert not find_circles(graph)


def test_a_circle_is_seen() -> None:
    graph = {"a": {"b"}, "b": {"c"}, "c": {"b", "d"}, "d": set(), "e": {"a"}}
    assert find_circles(graph) == [{"b", "c"}]


def test_public_class_names_are_unique() -> None:
    places: dict[str, list[str]] = {}
    for name, file in MODULES.items():
        for node in ast.parse(file.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places.setdefault(node.name, []).append(name)
    assert not {name: modules for name, modules in places.items() if len(modules) > 1}


def test_every_exception_is_still_needed() -> None:
    for importer, imported in EXCEPTIONS:
        assert imported in _imports(importer, MODULES[importer]), (importer, imported)


@pytest.mark.parametrize(
    ("name", "target"),
    [
        ("maps.grid.occupancy", "torch"),
        ("maps.grid.occupancy", "embodied.errors"),
        ("maps.grid.occupancy", "open3d"),
        ("embodied.policies.mapping.frontier", "embodied.simulators.base"),
        ("embodied.tasks.navigation.vector", "embodied.policies.base"),
        ("embodied.simulators.embedded", "embodied.tasks.navigation.config"),
        ("embodied.training.ppo", "embodied.viz.report"),
        ("embodied.training.ppo", "transformers"),
        ("embodied.simulators.embedded", "torch"),
        ("embodied.config", "embodied.tasks.navigation.config"),
        ("robots.guard", "embodied.policies.base"),
    ],
)
def test_a_forbidden_import_is_seen(name: str, target: str) -> None:
    assert violations(name, {target})


def test_imports_inside_functions_are_seen(tmp_path: Path) -> None:
    file = tmp_path / "late.py"
    file.write_text("def f():\n    from embodied.training import ppo\n    import torch.nn\n")
    seen = _imports("maps.late", file)
    assert "torch.nn" in seen
    assert {s.split(".")[1] for s in seen if s.startswith("embodied")} == {"training"}
