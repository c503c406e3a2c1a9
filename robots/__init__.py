"""The safe way from a policy to a real arm: drivers, limits, the guard and the bridge.

Only `robots.bridge` moves an arm, and nothing reaches a driver that `robots.guard` has not checked.
No torch and no simulator here, so that the same code runs on the computer beside the robot. What a
user imports is loaded when it is used; the list is in `__init__.pyi`.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
