"""What the agent remembers between decisions, for a batch of episodes: instruction, map, tokens.

A visited place is remembered as the mean of its panorama's tokens at the latest visit; a place only
seen as the mean, over the visited places that see it, of the candidate token that stood for it
there (DUET, section 3.2). The tokens of all steps are kept in one pool and gathered by index, so
gradients reach the steps at which they were made and no Python loop runs over nodes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor
from torch.nn import functional

from embodied.errors import ConfigError
from embodied.nn.placement import to_tensor_like
from embodied.nn.transformer import MASKED_BIAS
from embodied.perception.vocabulary import PAD
from embodied.policies.vln.dual_scale.network import (
    DualScaleNetwork,
    DualScaleScores,
    MapTokens,
    TextMemory,
)
from embodied.policies.vln.dual_scale.tokens import Panorama, build_panorama, check_observations
from maps.graph.viewgraph import FEATURES, ViewGraph


@dataclass(frozen=True)
class Decision(DualScaleScores):
    """`DualScaleScores` (see there for all tensors and their shapes) and what their rows and
    columns are.

    Attributes:
        rows: (B,) episodes of the state that the B decisions belong to.
        places: B lists: `places[b][r]` is the place id of column 1 + r of the tables (B, 1 + M).
        current: (B,) place each agent is at.
        candidates: (B, C) place ids of the neighbours, -1 for padding.
        object_ids: (B, O) ids, -1 for padding, in the order of `objects`.
        one_step: only neighbours can be chosen: `fused` is `explore`.
    """

    rows: NDArray[np.int64]
    places: list[list[int]]
    current: NDArray[np.int64]
    candidates: NDArray[np.int64]
    object_ids: NDArray[np.int64]
    one_step: bool

    def find_column(self, index: int, place: int) -> int:
        """Return the column of a place in decision `index`; 0 for place -1 (STOP)."""
        return 0 if place < 0 else 1 + self.places[index].index(place)

    def find_place(self, index: int, column: int) -> int:
        """Return the place of a column of decision `index`; -1 for STOP."""
        return self.places[index][column - 1] if column else -1


@dataclass(frozen=True)
class _Seen:
    """The panoramas taken in last."""

    rows: NDArray[np.int64]
    panorama: Panorama
    tokens: Tensor
    heading: NDArray[np.float64]
    candidates: NDArray[np.int64]
    objects: NDArray[np.int64]


class DualScaleState:
    """The memory of N episodes side by side. One step: `observe`, then `score_choices`.

    Args:
        network: what encodes.
        count: N.

    Attributes:
        graphs: the map of each episode.
        decisions: (N,) decisions taken so far.
    """

    def __init__(self, network: DualScaleNetwork, count: int) -> None:
        if count < 1:
            raise ConfigError(f"a state holds at least 1 episode, got {count}")
        self.network = network
        self.graphs = [ViewGraph() for _ in range(count)]
        self.decisions = np.zeros(count, np.int64)
        # Token of the pool that row's place contributed to column's place; the diagonal holds the
        # mean token of a visit, whose column is otherwise empty.
        self._tokens = [np.full((32, 32), -1, np.int64) for _ in range(count)]
        self._like = network.visual  # device and precision of everything made here
        self._pool = self._like.new_zeros(0, network.width)
        self._text: TextMemory | None = None
        self._text_row = np.full(count, -1, np.int64)
        self._chosen: tuple[bytes, TextMemory] | None = None
        self._seen: _Seen | None = None

    def begin_episodes(
        self,
        rows: ArrayLike,
        instructions: Sequence[str],
        text: TextMemory | None = None,
    ) -> None:
        """Start new episodes in some rows; what these remembered is forgotten.

        Args:
            rows: (R,) which.
            instructions: R texts.
            text: of the same R texts, if they are encoded already.

        Raises:
            ConfigError: an instruction without a word.
        """
        index = np.asarray(rows, np.int64).reshape(-1)
        if len(index) != len(instructions):
            raise ConfigError(f"{len(index)} episodes begin with {len(instructions)} instructions")
        if not len(index):
            return
        for row in index.tolist():
            self.graphs[row] = ViewGraph()
            self._tokens[row] = np.full((32, 32), -1, np.int64)
        self.decisions[index] = 0
        self._forget()
        text = text or self.network.encode_text(instructions)
        self._text_row[index] = -1
        kept = np.flatnonzero(self._text_row >= 0)
        if len(kept) and self._text is not None:
            old = self._text.select_rows(to_tensor_like(self._like, self._text_row[kept]))
            text = _joined(old, text)
        self._text, self._chosen = text, None
        self._text_row[kept] = np.arange(len(kept))
        self._text_row[index] = len(kept) + np.arange(len(index))

    def _forget(self) -> None:
        """Drop the tokens of the pool that no map needs any more."""
        used = np.unique(np.concatenate([t[t >= 0] for t in self._tokens]))
        if len(used) < len(self._pool):
            self._pool = self._pool[to_tensor_like(self._like, used)]
            for tokens in self._tokens:
                tokens[tokens >= 0] = np.searchsorted(used, tokens[tokens >= 0])

    def observe(
        self,
        observations: Mapping[str, Any],
        rows: ArrayLike | None = None,
        hide: Callable[[Panorama], Panorama] | None = None,
    ) -> None:
        """Take in the panoramas of some episodes.

        Args:
            observations: entries (R, ...) as the VLN tasks give them; episodes not named (those
                that are over) cost nothing.
            rows: (R,) which episodes; all by default.
            hide: replaces tokens before they are encoded (pre-training).

        Raises:
            ConfigError: unusable observations, or an episode that was never begun.
        """
        index = np.arange(len(self.graphs)) if rows is None else np.asarray(rows, np.int64)
        network = self.network
        check_observations(observations, network.inputs)
        if (self._text_row[index] < 0).any():
            raise ConfigError(f"episodes {index[self._text_row[index] < 0]} were never begun")
        if len(observations["place"]) != len(index):
            raise ConfigError(f"{len(observations['place'])} observations for {len(index)} rows")
        seen = build_panorama(observations, network.config, self._like)
        seen = hide(seen) if hide else seen
        tokens = network.encode_panorama(seen)
        weight = seen.present[..., None].to(tokens.dtype)
        mean = (tokens * weight).sum(1) / weight.sum(1).clamp(min=1.0)
        base, count, width = len(self._pool), len(index), seen.candidates
        new = [self._pool, mean, tokens[:, :width].reshape(-1, tokens.shape[-1])]
        self._pool = torch.cat(new)
        candidates = np.asarray(observations["candidates"], np.int64)[:, :width]
        for b, row in enumerate(index.tolist()):
            first = base + count + b * width
            self._take_in(row, observations, b, candidates[b], base + b, first)
        self._seen = _Seen(
            index,
            seen,
            tokens,
            np.asarray(observations["heading"], np.float64).reshape(-1),
            candidates,
            np.asarray(observations["objects"], np.int64)[:, : seen.objects],
        )

    def _take_in(
        self,
        row: int,
        observations: Mapping[str, Any],
        b: int,
        candidates: NDArray[np.int64],
        mean_token: int,
        first_token: int,
    ) -> None:
        graph, place = self.graphs[row], int(observations["place"][b])
        positions = observations["candidate_positions"][b][: len(candidates)]
        try:
            here = graph.visit_place(place, observations["position"][b], candidates, positions)
        except ValueError as error:
            raise ConfigError(f"observation of episode {row}: {error}") from error
        tokens = self._tokens[row]
        if len(graph) > len(tokens):
            larger = np.full((2 * len(graph), 2 * len(graph)), -1, np.int64)
            larger[: len(tokens), : len(tokens)] = tokens
            tokens = self._tokens[row] = larger
        slots = np.flatnonzero(candidates >= 0)
        near = np.array([graph.get_row(c) for c in candidates[slots].tolist()], np.int64)
        fresh = graph.last_visit[near] == 0
        tokens[here, near[fresh]] = first_token + slots[fresh]
        tokens[:, here] = -1
        tokens[here, here] = mean_token

    def score_choices(self) -> Decision:
        """Score the choices of the episodes observed last; counts as one decision of each."""
        seen, on_map = self._now()
        rows = seen.rows
        graphs = [self.graphs[row] for row in rows.tolist()]
        scores = self.network(self.get_text(rows), seen.panorama, seen.tokens, on_map)
        self.decisions[rows] += 1
        return Decision(
            **{field.name: getattr(scores, field.name) for field in fields(DualScaleScores)},
            rows=rows,
            places=[list(graph.places) for graph in graphs],
            current=np.array([graph.places[graph.current] for graph in graphs]),
            candidates=seen.candidates,
            object_ids=seen.objects,
            one_step=self.network.config.one_step,
        )

    def predict_words(self) -> Tensor:
        """Return logits (B, L, words) of the words of the instructions of the episodes observed
        last, see `DualScaleNetwork.predict_words`.
        """
        seen, on_map = self._now()
        return self.network.predict_words(
            self.get_text(seen.rows), seen.panorama, seen.tokens, on_map
        )

    def _now(self) -> tuple[_Seen, MapTokens]:
        if self._seen is None:
            raise ConfigError("nothing to decide on: call observe() first")
        graphs = [self.graphs[row] for row in self._seen.rows.tolist()]
        return self._seen, self._map_tokens(graphs, self._seen)

    def get_text(self, rows: NDArray[np.int64]) -> TextMemory:
        """Return the encoded instructions of some episodes."""
        wanted = self._text_row[rows]
        if self._text is None:
            raise ConfigError("no episode was begun: call begin()")
        if len(wanted) == len(self._text.ids) and (wanted == np.arange(len(wanted))).all():
            return self._text
        if self._chosen is None or self._chosen[0] != wanted.tobytes():
            self._chosen = (
                wanted.tobytes(),
                self._text.select_rows(to_tensor_like(self._like, wanted)),
            )
        return self._chosen[1]

    def _map_tokens(self, graphs: list[ViewGraph], seen: _Seen) -> MapTokens:
        count, longest = len(graphs), max(map(len, graphs))
        steps = np.zeros((count, 1 + longest), np.int64)
        places = np.zeros((count, 1 + longest, FEATURES), np.float32)
        places[:, 0] = (0, 1, 0, 1, 0, 0, 0)
        distances = np.zeros((count, 1 + longest, 1 + longest), np.float32)
        present = np.zeros((count, longest), bool)
        slots = np.full((count, longest), -1, np.int64)
        toward = np.zeros((count, seen.panorama.candidates, FEATURES), np.float32)
        sizes = np.zeros((count, longest), np.int64)
        flat = []
        for b, (graph, row) in enumerate(zip(graphs, seen.rows.tolist(), strict=True)):
            size = len(graph)
            steps[b, 1 : 1 + size] = graph.last_visit
            places[b, 1 : 1 + size] = graph.compute_position_features(
                graph.current, seen.heading[b]
            )
            distances[b, 1 : 1 + size, 1 : 1 + size] = graph.distances
            present[b, :size] = True
            near = np.flatnonzero(seen.candidates[b] >= 0)
            near_rows = np.array([graph.get_row(c) for c in seen.candidates[b, near].tolist()], int)
            slots[b, near_rows] = near
            toward[b, near] = places[b, 1 + near_rows]
            tokens = self._tokens[row][:size, :size].T
            known = tokens >= 0
            sizes[b, :size] = known.sum(axis=1)
            flat.append(tokens[known])
        offsets = np.cumsum(sizes.reshape(-1)) - sizes.reshape(-1)
        nodes = functional.embedding_bag(
            to_tensor_like(self._like, np.concatenate(flat)),
            self._pool,
            to_tensor_like(self._like, offsets),
            mode="mean",
        )
        return MapTokens(
            nodes=nodes.unflatten(0, (count, longest)),
            steps=to_tensor_like(self._like, steps),
            places=to_tensor_like(self._like, places),
            distances=to_tensor_like(self._like, distances),
            present=to_tensor_like(self._like, present),
            visited=to_tensor_like(self._like, steps[:, 1:] > 0),
            slots=to_tensor_like(self._like, slots),
            # The place first in every map is where the episode began.
            start=to_tensor_like(self._like, places[:, 1]),
            toward=to_tensor_like(self._like, toward),
        )


def _joined(old: TextMemory, new: TextMemory) -> TextMemory:
    """Stack instructions of different lengths, padded to the longer."""
    longest = max(old.ids.shape[1], new.ids.shape[1])
    padded = []
    for text in (old, new):
        extra = longest - text.ids.shape[1]
        padded.append(
            TextMemory(
                functional.pad(text.keys, (0, 0, 0, extra)),
                functional.pad(text.bias, (0, extra), value=MASKED_BIAS),
                functional.pad(text.states, (0, 0, 0, extra)),
                functional.pad(text.ids, (0, extra), value=PAD),
            )
        )
    first, second = (text.parts for text in padded)
    return TextMemory(*(torch.cat(pair) for pair in zip(first, second, strict=True)))
