"""Optional packages: which extra brings each of them, and one clear sentence where it is absent."""

from __future__ import annotations

import importlib.util
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from embodied.errors import MissingExtraError

_PYTHON = sys.version_info[:2]
_LINUX_X86 = sys.platform == "linux" and platform.machine() == "x86_64"
_MAC = sys.platform == "darwin"


@dataclass(frozen=True)
class OptionalPackage:
    """A package that not every installation has.

    Attributes:
        name: its own on the package index.
        extra: the extra of embodied-stack that brings it; empty where pip installs it by its name.
        has_wheel: whether it has a wheel for this Python and machine; the extra leaves it out
            elsewhere. The markers in setup.py say the same.
        builds_with: what building it takes.
    """

    name: str
    extra: str
    has_wheel: bool = True
    builds_with: str = "a C++ compiler"

    @property
    def remedy(self) -> str:
        """How to get it."""
        if not self.has_wheel:
            here = f"Python {_PYTHON[0]}.{_PYTHON[1]} on {platform.system()} {platform.machine()}"
            return (
                f"There is no wheel of it for {here}; with {self.builds_with} it is built from "
                f"source: pip install {self.name}"
            )
        return f'Install it: pip install "embodied-stack[{self.extra}]"' if self.extra else (
            f"Install it: pip install {self.name}"
        )  # fmt: skip


_PYBULLET = OptionalPackage("pybullet", "bullet", _LINUX_X86 and _PYTHON < (3, 12))
OPTIONAL: dict[str, OptionalPackage] = {
    "torch": OptionalPackage("torch", "train"),
    "transformers": OptionalPackage("transformers", "train"),
    "safetensors": OptionalPackage("safetensors", "train"),
    "tensorboard": OptionalPackage("tensorboard", "train"),
    "peft": OptionalPackage("peft", "lora"),
    "rerun": OptionalPackage("rerun-sdk", "viz"),
    "open3d": OptionalPackage("open3d", "bench"),
    "opengl_basisu": OptionalPackage("opengl-basisu", "ktx", _LINUX_X86 or _MAC),
    "habitat": OptionalPackage("habitat-lab", "habitat"),
    "ruckig": OptionalPackage("ruckig", "", _LINUX_X86 or (_MAC and platform.machine() == "arm64")),
    "pybullet": _PYBULLET,
    "pybullet_data": _PYBULLET,
    "franky": OptionalPackage("franky-control", "franka", _LINUX_X86, "libfranka and Pinocchio"),
    "franky_sim": OptionalPackage("franky-sim", "franka"),
    "scservo_sdk": OptionalPackage("feetech-servo-sdk", "feetech"),
    "rtde_control": OptionalPackage(
        "ur-rtde", "ur", _LINUX_X86 and _PYTHON < (3, 13), "a C++ compiler and Boost"
    ),
    "cyclonedds": OptionalPackage(
        "cyclonedds", "ros2", (_LINUX_X86 or _MAC) and _PYTHON < (3, 14), "the Cyclone DDS library"
    ),
    "zenoh": OptionalPackage("eclipse-zenoh", "ros2"),
    "mcap": OptionalPackage("mcap", "record"),
    "pyarrow": OptionalPackage("pyarrow", "lerobot-export"),
    "lerobot": OptionalPackage("lerobot", ""),
}
"""What is imported -> the package that holds it."""


@contextmanager
def require_extra(purpose: str) -> Iterator[None]:
    """Explain the absence of an optional package that is imported inside.

    Args:
        purpose: what needs it, as the subject of a sentence: "The viewer".

    Raises:
        MissingExtraError: a package of `OPTIONAL` is not installed or cannot be imported.
    """
    try:
        yield
    except ImportError as error:
        package = OPTIONAL.get((error.name or "").partition(".")[0])
        if package is None:
            raise
        absent = isinstance(error, ModuleNotFoundError) and error.name in OPTIONAL
        state = "is not installed" if absent else f"cannot be used as it is ({error})"
        raise MissingExtraError(
            f"{purpose} needs the package '{package.name}', which {state}. {package.remedy}"
        ) from error


def require_package(module: str, purpose: str) -> None:
    """Make sure that an optional package is installed, without importing it.

    Args:
        module: a key of `OPTIONAL`.
        purpose: what needs it, as the subject of a sentence.

    Raises:
        MissingExtraError: it is not installed.
    """
    with require_extra(purpose):
        if importlib.util.find_spec(module) is None:
            raise ModuleNotFoundError(f"No module named '{module}'", name=module)
