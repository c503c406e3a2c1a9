"""Where networks live: the one reading of the settings `device`."""

from __future__ import annotations

import torch

from embodied.errors import ConfigError, suggest_nearest

DEVICES = ("auto", "cpu", "cuda")


def check_device(key: str, name: str) -> None:
    """Check the value of a setting: "auto", "cpu", or "cuda", also with a number ("cuda:1").

    Raises:
        ConfigError: another; names the setting `key`.
    """
    kind, _, number = name.partition(":")
    if kind not in DEVICES or (":" in name and not (kind == "cuda" and number.isdecimal())):
        raise ConfigError(f"{key} '{name}': {suggest_nearest(name, DEVICES)}")


def choose_device(name: str) -> torch.device:
    """Return the torch device of a setting that `check_device` accepts; "auto" takes a GPU where
    there is one.

    Raises:
        ConfigError: a GPU that is not there.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ConfigError(
            f"device '{name}': PyTorch sees {torch.cuda.device_count()} GPUs here. Set device=auto "
            "or cpu, or install a PyTorch built for your GPU"
        )
    return device
