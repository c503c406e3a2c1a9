"""Maps a robot builds while it moves: no torch, no simulator, the same code on a real machine."""
