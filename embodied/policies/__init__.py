"""Policies: one method, one file or folder. What a user imports is loaded when it is used."""

from typing import Any

import lazy_loader

from embodied.extras import require_extra

_load, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)


def __getattr__(name: str) -> Any:
    with require_extra(f"embodied.policies.{name}"):
        return _load(name)
