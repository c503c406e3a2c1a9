"""Maps a robot builds while it moves: no torch, no simulator, the same code on a real machine.

What a user imports is loaded when it is used; the list is in `__init__.pyi`.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
