"""What an agent saw from the places of its map, as scene object spectra.

A place that was not visited is known only by what its visited neighbours saw in its direction
(within 45 deg, averaged over the neighbours: our choice, as for the map's node embeddings). Nothing
that is only visible from the place itself is ever asked for, unless the caller hands it in and
thereby labels the result an upper bound.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from embodied.perception.landmarks import find_landmarks, find_target_landmark
from embodied.perception.sos import ReferenceSpectra, compute_spectrum, crop_sector
from maps.graph.viewgraph import ViewGraph

HALF_WIDTH = float(np.pi / 4)


@dataclass(frozen=True)
class InstructionWords:
    """The object words of an instruction.

    A category counts once however often it is named: the spectra of two words for one category are
    equal, and would weigh twice in every mean.

    Attributes:
        names: B words as written, in the order of the text.
        rows: (B,) their canvas rows, all different.
        goal: index of the word that the instruction is about, -1 if there are no words.
        spectra: (B, K, F) reference spectra.
        areas: (B, K) shares of the canvas that the reference boxes cover.
    """

    names: tuple[str, ...]
    rows: tuple[int, ...]
    goal: int
    spectra: Tensor
    areas: Tensor

    @staticmethod
    def from_instruction(
        instruction: str, references: ReferenceSpectra, extra: Mapping[str, int] | None = None
    ) -> InstructionWords:
        """Find the words; see `find_landmarks` for `extra`."""
        marks = find_landmarks(instruction, extra)
        target = find_target_landmark(instruction, marks)
        rows = list(dict.fromkeys(mark.row for mark in marks))
        names = [next(mark.word for mark in marks if mark.row == row) for row in rows]
        goal = rows.index(marks[target].row) if marks else -1
        if goal >= 0:
            names[goal] = marks[target].word
        masks = references.build_masks(rows)
        return InstructionWords(
            tuple(names),
            tuple(rows),
            goal,
            references.compute_spectra(rows),
            masks.float().mean((2, 3)),
        )

    def __len__(self) -> int:
        return len(self.rows)


class SceneMemory:
    """Category masks seen from visited places; spectra and areas are made when asked for.

    Args:
        scale: of the spectra, `lin` or `log1p`.
        row_l2: as in `spectrum`.
    """

    def __init__(self, scale: Any = "lin", row_l2: bool = False) -> None:
        self.scale, self.row_l2 = scale, row_l2
        self._canvases: dict[int, Tensor] = {}
        self._made: dict[tuple[int, int], tuple[Tensor, Tensor]] = {}

    def __contains__(self, place: int) -> bool:
        return place in self._canvases

    def add_view(self, place: int, canvas: NDArray[Any] | Tensor) -> None:
        """Remember the masks (K, H, W) seen from a place; later ones replace earlier ones."""
        self._canvases[place] = _masks(canvas)
        self._made = {key: made for key, made in self._made.items() if key[0] != place}

    def describe_rows(
        self,
        graph: ViewGraph,
        rows: Sequence[int] | NDArray[np.int64],
        own: Mapping[int, NDArray[Any] | Tensor] | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Return spectra (N, K, F) and areas (N, K) of N rows of the map.

        Args:
            graph: the agent's map.
            rows: N rows of it, visited or not.
            own: masks (K, H, W) of unvisited places seen from those places themselves: makes an
                upper bound.

        Raises:
            ValueError: a visited place without masks.
        """
        views: list[list[tuple[int, int]]] = []
        upper = {place: _masks(canvas) for place, canvas in (own or {}).items()}
        visited = graph.visited
        for row in rows:
            place = graph.places[row]
            if visited[row]:
                views.append([(place, -1)])
            elif place in upper:
                views.append([(place, -2)])
            else:
                views.append([(other, place) for other in graph.list_observers(place)])
        self._make(graph, dict.fromkeys(v for group in views for v in group), upper)
        spectra = torch.stack([_mean([self._made[v][0] for v in group]) for group in views])
        return spectra, torch.stack([_mean([self._made[v][1] for v in group]) for group in views])

    def _make(
        self, graph: ViewGraph, views: Mapping[tuple[int, int], None], upper: Mapping[int, Tensor]
    ) -> None:
        """Make what is missing in one batch; a view is a place and the place it looks to."""
        missing = [view for view in views if view not in self._made]
        if not missing:
            return
        masks = []
        for place, toward in missing:
            if toward == -2:
                masks.append(upper[place])
                continue
            if place not in self._canvases:
                raise ValueError(
                    f"place {place} was visited, but its masks were not seen: the task must give "
                    "'canvas' (config.canvas = True)"
                )
            canvas = self._canvases[place]
            if toward >= 0:
                here, there = graph.positions[[graph.get_row(place), graph.get_row(toward)]]
                heading = float(np.arctan2(there[0] - here[0], here[2] - there[2]))
                canvas = crop_sector(canvas, heading, HALF_WIDTH)
            masks.append(canvas)
        batch = torch.stack(masks)
        spectra = compute_spectrum(batch, self.scale, self.row_l2)
        areas = batch.sum(dim=(2, 3), dtype=torch.float32) / batch[0, 0].numel()
        self._made.update(zip(missing, zip(spectra, areas, strict=True), strict=True))


def _masks(canvas: NDArray[Any] | Tensor) -> Tensor:
    """Return an own bool copy."""
    return torch.from_numpy(np.array(canvas, bool))


def _mean(parts: list[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.stack(parts).mean(dim=0)
