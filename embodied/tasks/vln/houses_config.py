"""Settings of language-guided navigation in scenes of one's own. Data only."""

from __future__ import annotations

from dataclasses import dataclass

from embodied.errors import ConfigError, suggest_nearest

STYLES = ("goal", "route", "mixed")
PHRASINGS = ("auto", "train", "held_out")


@dataclass(frozen=True)
class HousesConfig:
    """Houses, their waypoints, and the instructions given in them.

    Attributes:
        count: different houses of a split; 0 takes 300 for training (also val_seen) and 60 else.
        offset: first house of the split.
        rooms: fewest and most rooms of a house.
        floors: storeys.
        textures: draw textures; without them colours are plain and building is a little faster.
        files: scene files instead of generated houses (anything `load_scene` reads). All splits
            then share them, with different episodes and phrasings.
        up: up axis of the files, "y" or "z"; empty for the format's own.
        labels: JSON file of category names for the files, see `load_scene`; empty for none.
        episodes: per house; 0 takes 20 for training and 10 else.
        style: "goal" ("go to the kitchen and stop by the red chair"), "route" ("leave the bedroom,
            turn left ...") or "mixed".
        phrasing: sentence patterns of "train", "held_out" ones, or "auto": held out exactly for
            val_unseen and test.
        seed: of starts, targets and words.
        min_hops, max_hops: moves on the shortest way to the nearest goal.
        spacing: distance between waypoints [m].
        max_edge: longest straight walk between neighbours [m].
        height: of the camera above the floor [m].
        width: columns of the rendered panorama.
        reach: objects farther away are neither seen as objects nor reached [m] (REVERIE: 3).
        semantics: "ground_truth", or the run folder of a trained segmenter that labels the images.
        workers: processes that build houses that are not in the cache.
        cache: folder for built houses; empty builds them anew each time.
    """

    count: int = 0
    offset: int = 0
    rooms: tuple[int, int] = (4, 8)
    floors: int = 1
    textures: bool = True
    files: tuple[str, ...] = ()
    up: str = ""
    labels: str = ""
    episodes: int = 0
    style: str = "goal"
    phrasing: str = "auto"
    seed: int = 0
    min_hops: int = 3
    max_hops: int = 12
    spacing: float = 1.9
    max_edge: float = 3.5
    height: float = 1.4
    width: int = 192
    reach: float = 3.0
    semantics: str = "ground_truth"
    workers: int = 1
    cache: str = "~/.cache/embodied/houses"

    def __post_init__(self) -> None:
        if self.style not in STYLES:
            raise ConfigError(
                f"houses.style = '{self.style}': {suggest_nearest(self.style, STYLES)}"
            )
        if self.phrasing not in PHRASINGS:
            raise ConfigError(
                f"houses.phrasing = '{self.phrasing}': {suggest_nearest(self.phrasing, PHRASINGS)}"
            )
        for name in ("count", "offset", "episodes", "seed"):
            if getattr(self, name) < 0:
                raise ConfigError(f"houses.{name} = {getattr(self, name)} must not be negative")
        if not 1 <= self.rooms[0] <= self.rooms[1]:
            raise ConfigError(f"houses.rooms {self.rooms} must be (fewest, most), fewest >= 1")
        if not 1 <= self.min_hops <= self.max_hops:
            raise ConfigError(
                f"houses.min_hops = {self.min_hops}, max_hops = {self.max_hops}: give a rising "
                "range from 1 on"
            )
        for name in ("spacing", "height", "reach"):
            if not 0 < getattr(self, name) < float("inf"):
                raise ConfigError(f"houses.{name} = {getattr(self, name)} m must be positive")
        if self.max_edge < self.spacing:
            raise ConfigError(
                f"houses.max_edge = {self.max_edge} m must not be below spacing = {self.spacing} m"
            )
        if self.up not in ("", "y", "z"):
            raise ConfigError(f"houses.up = '{self.up}' must be y, z or empty")
        if self.workers < 1:
            raise ConfigError(f"houses.workers = {self.workers} must be at least 1")
