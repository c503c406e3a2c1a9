"""The network of the dual-scale agent: text, panorama, map and fusion (DUET, section 3).

The three inputs of a decision - instruction, panorama, map - are encoded by `encode_text`,
`encode_panorama` and `forward`; `state.py` keeps what has to be remembered between decisions.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from embodied.errors import ConfigError
from embodied.nn.transformer import (
    CrossLayer,
    Packing,
    PreNormLayer,
    build_mask_bias,
    initialise_weights,
)
from embodied.perception.vocabulary import Vocabulary
from embodied.policies.vln.dual_scale.config import DualScaleConfig, DualScaleInputs
from embodied.policies.vln.dual_scale.instruction_features import INSTRUCTION_FEATURES
from embodied.policies.vln.dual_scale.text import FrozenText, WordText
from embodied.policies.vln.dual_scale.tokens import ANGLES, BOX, Panorama
from embodied.policies.vln.local_goals import FrontierRanker
from embodied.policies.vln.mode_selector import ModeSelector
from maps.graph.viewgraph import FEATURES
from maps.panorama.observation import VIEW_EXTRAS

NEGATIVE = float("-inf")
SHARE_SCALE = 1000.0
"""Area shares s of a view are read as log(1 + 1000 s) / log(1001) (our choice: far objects cover
less than a thousandth of a view, walls all of it)."""

STEPS = 100
"""Rows of the table of step embeddings; later steps share the last."""


@dataclass(frozen=True)
class TextMemory:
    """Instructions, ready to be attended to at every step.

    Attributes:
        keys: (B, 2 * layers, 2 * heads, L, D / heads): keys and values of every cross-modal layer,
            those of the map's stack first.
        bias: (B, 1, 1, L) additive mask.
        states: (B, L, D) the text encoder's output.
        ids: (B, L) token ids.
    """

    keys: Tensor
    bias: Tensor
    states: Tensor
    ids: Tensor

    def select_rows(self, index: Tensor) -> TextMemory:
        """Return some of the instructions."""
        return TextMemory(*(part.index_select(0, index) for part in self.parts))

    @property
    def parts(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The four tensors."""
        return self.keys, self.bias, self.states, self.ids


@dataclass(frozen=True)
class MapTokens:
    """The maps of B episodes, M rows each (padded).

    Attributes:
        nodes: (B, M, D) what is remembered of each place.
        steps: (B, 1 + M) index of the step embedding; column 0 is STOP.
        places: (B, 1 + M, 7) relative to the agent.
        distances: (B, 1 + M, 1 + M) [m]; 0 to and from STOP.
        present: (B, M) bool.
        visited: (B, M) bool.
        slots: (B, M) index of the place among the panorama's candidates, -1 if it is none.
        start: (B, 7) where the episode began, relative to the agent.
        toward: (B, C, 7) the candidates, relative to the agent.
    """

    nodes: Tensor
    steps: Tensor
    places: Tensor
    distances: Tensor
    present: Tensor
    visited: Tensor
    slots: Tensor
    start: Tensor
    toward: Tensor


@dataclass(frozen=True)
class DualScaleScores:
    """What the network says about B decisions. Columns 1 + r of the (B, 1 + M) tables are the rows
    r of the map, column 0 is STOP; what cannot be chosen is -inf.

    Attributes:
        fused: (B, 1 + M) logits over STOP and all unvisited places.
        explore: (B, 1 + M) logits over STOP and all neighbours, visited or not.
        global_logits: (B, 1 + M) the map's share of `fused`: over STOP and unvisited places.
        local_logits: (B, 1 + M) the panorama's share: over STOP and all neighbours.
        objects: (B, O) logits of the panorama's objects, -inf for padding.
        gate: (B,) weight of the map.
        stop_states: (B, 2 D) STOP token of the map and of the panorama.
        map_states: (B, 1 + M, D) tokens of the map after the stack.
        local_states: (B, 1 + S, D) tokens of the panorama after the stack, STOP first.
    """

    fused: Tensor
    explore: Tensor
    global_logits: Tensor
    local_logits: Tensor
    objects: Tensor
    gate: Tensor
    stop_states: Tensor
    map_states: Tensor
    local_states: Tensor


class ScoreHead(nn.Sequential):
    """Linear, ReLU, layer norm, linear to one score."""

    def __init__(self, inputs: int, inner: int) -> None:
        super().__init__(
            nn.Linear(inputs, inner), nn.ReLU(), nn.LayerNorm(inner), nn.Linear(inner, 1)
        )


def fuse_scores(
    on_map: Tensor,
    nearby: Tensor,
    gate: Tensor,
    tokens: MapTokens,
    scale: str = "dual",
) -> dict[str, Tensor]:
    """Combine the scores of the two scales (DUET, section 3.4, "dynamic fusion").

    A place seen from here gets both scores. To reach any other unvisited place the agent first has
    to go back, so these get, besides the map's score, the summed panorama scores of the visited
    neighbours.

    Args:
        on_map: (B, 1 + M) scores of STOP and the map's rows.
        nearby: (B, 1 + C) scores of STOP and the candidates.
        gate: (B,) weight of the map, in [0, 1].
        tokens: for what is visited and which rows are candidates.
        scale: one of `config.SCALES`.

    Returns:
        fused, explore, global_logits and local_logits of `DualScaleScores`, and the gate that was
        used.
    """
    if scale == "global":
        gate = torch.ones_like(gate)
    elif scale == "local":
        gate = torch.zeros_like(gate)
    elif scale == "average":
        gate = torch.full_like(gate, 0.5)
    near = tokens.slots >= 0
    map_share = gate[:, None] * on_map
    # A row that is no candidate has slot -1 and reads STOP's score here; it is masked below.
    columns = torch.cat([nearby[:, :1], nearby.gather(1, tokens.slots + 1)], dim=1)
    local_share = (1 - gate[:, None]) * columns
    back = local_share[:, 1:].masked_fill(~(near & tokens.visited), 0.0).sum(1, keepdim=True)
    step = torch.where(near, local_share[:, 1:], back)
    stop = torch.ones_like(near[:, :1])
    choosable = torch.cat([stop, tokens.present & ~tokens.visited], dim=1)
    reachable = torch.cat([stop, near], dim=1)
    explore = (map_share + local_share).masked_fill(~reachable, NEGATIVE)
    fused = map_share + torch.cat([local_share[:, :1], step], dim=1)
    return {
        "fused": explore if scale == "local" else fused.masked_fill(~choosable, NEGATIVE),
        "explore": explore,
        "global_logits": map_share.masked_fill(~choosable, NEGATIVE),
        "local_logits": local_share.masked_fill(~reachable, NEGATIVE),
        "gate": gate,
    }


class DualScaleNetwork(nn.Module):
    """All learned parts of the agent, its mode selector and the heads of pre-training.

    Args:
        config: size and options.
        vocabulary: words of the instructions and object names.
        inputs: widths of the observations.
    """

    def __init__(
        self, config: DualScaleConfig, vocabulary: Vocabulary, inputs: DualScaleInputs
    ) -> None:
        super().__init__()
        self.config, self.inputs, self.vocabulary = config, inputs, vocabulary
        size, drop = config.sizes, config.dropout
        self.width = width = size.width
        self.text: WordText | FrozenText = (
            FrozenText(config.text, size) if config.text else WordText(vocabulary, size, drop)
        )

        self.histograms = inputs.views == 2 * inputs.categories + len(VIEW_EXTRAS)
        self.view = nn.Sequential(nn.Linear(inputs.views, width), nn.LayerNorm(width))
        self.object = nn.Sequential(nn.Linear(inputs.objects, width), nn.LayerNorm(width))
        self.category = nn.Embedding(inputs.categories + 1, width)
        self.mention = (
            nn.Linear(len(INSTRUCTION_FEATURES), width) if config.instruction_features else None
        )
        self.place = nn.Sequential(nn.Linear(ANGLES + BOX, width), nn.LayerNorm(width))
        self.kind = nn.Embedding(3, width)
        # The paper adds BERT's second token type to every visual token.
        self.visual = nn.Parameter(torch.zeros(width))
        self.panorama_norm = nn.LayerNorm(width)
        self.drop = nn.Dropout(drop)
        self.feature_drop = nn.Dropout(config.feature_dropout)
        self.panorama_layers = nn.ModuleList(
            PreNormLayer(*size.get_layer_options(drop)) for _ in range(size.panorama_layers)
        )
        self.panorama_out = nn.LayerNorm(width)

        self.step = nn.Embedding(STEPS, width)
        self.map_place = nn.Sequential(nn.Linear(FEATURES, width), nn.LayerNorm(width))
        self.local_place = nn.Sequential(nn.Linear(2 * FEATURES, width), nn.LayerNorm(width))
        self.distance = nn.Linear(1, 1)
        self.map_layers = nn.ModuleList(
            CrossLayer(*size.get_layer_options(drop), config.predicts_words)
            for _ in range(size.cross_layers)
        )
        self.local_layers = nn.ModuleList(
            CrossLayer(*size.get_layer_options(drop), config.predicts_words)
            for _ in range(size.cross_layers)
        )

        self.map_head = ScoreHead(width, width)
        self.local_head = ScoreHead(width, width)
        self.object_head = ScoreHead(width, width)
        self.gate_head = ScoreHead(2 * width, width)
        # Meta-Explore's own, trained on the frozen rest: when to correct, and where to.
        self.mode_head = ModeSelector(2 * width, size.mode_width)
        self.ranker = FrontierRanker(hidden=32)
        # Heads of pre-training: what stands in a hidden view or object, and which word was hidden.
        self.content_head = nn.Sequential(
            nn.Linear(width, width), nn.ReLU(), nn.LayerNorm(width)
        ).append(nn.Linear(width, inputs.categories + 1))
        if config.predicts_words:
            self.word_head = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.LayerNorm(width))
            self.word_bias = nn.Parameter(torch.zeros(len(vocabulary)))
        initialise_weights(self, width)
        for part in (self.view, self.object, self.place, self.map_place, self.local_place):
            first = part[0]
            if isinstance(first, nn.Linear):
                # The layer norms behind these divide by what comes out, which is nothing for a
                # view without any feature: gradients would be 300 times too large.
                nn.init.normal_(first.weight, std=first.in_features**-0.5)
                nn.init.normal_(first.bias, std=0.1)

    def encode_text(self, instructions: Sequence[str]) -> TextMemory:
        """Encode B instructions once for a whole episode: the text is the same at every step."""
        return self._remember(*self.text.encode(instructions))

    def encode_text_ids(self, ids: Tensor, present: Tensor) -> TextMemory:
        """Encode token ids (B, L), of which `present` (B, L) are words."""
        return self._remember(self.text(ids, present), present, ids)

    def _remember(self, states: Tensor, present: Tensor, ids: Tensor) -> TextMemory:
        keys = [layer.cross.project_keys_values(states) for layer in self.cross_layers]
        return TextMemory(torch.stack(keys, dim=1), build_mask_bias(present), states, ids)

    @property
    def cross_layers(self) -> list[CrossLayer]:
        """Those of the map's stack, then those of the panorama's."""
        both = [*self.map_layers, *self.local_layers]
        return [layer for layer in both if isinstance(layer, CrossLayer)]

    def encode_panorama(self, panorama: Panorama) -> Tensor:
        """Return (B, S, D) tokens that know of each other, 0 for padding (DUET, section 3.2)."""
        p = panorama
        views = p.views
        if self.histograms:  # area shares span four decades
            shares = views[..., : self.inputs.categories].clamp(min=0.0)
            shares = torch.log1p(SHARE_SCALE * shares) / math.log1p(SHARE_SCALE)
            views = torch.cat([shares, views[..., self.inputs.categories :]], dim=-1)
        tokens = [self.view(self.feature_drop(views))]
        if p.objects:
            names = self.text.embed_names(p.words)[p.names]
            seen = self.object(self.feature_drop(p.features))
            told = 0.0 if self.mention is None else self.mention(p.instruction_features)
            tokens.append(seen + self.category(p.categories) + names + told)
        packing = Packing(p.present)
        x = packing.pack(torch.cat(tokens, dim=1)) + self.place(packing.pack(p.places))
        x = x + self.kind(p.kinds[p.present]) + self.visual
        x = self.drop(self.panorama_norm(x))
        for layer in self.panorama_layers:
            x = layer(x, packing.bias, packing)
        return packing.unpack(self.panorama_out(x))

    def forward(
        self, text: TextMemory, panorama: Panorama, tokens: Tensor, on_map: MapTokens
    ) -> DualScaleScores:
        """Score the choices of B decisions.

        Args:
            text: B instructions.
            panorama: where the agents are.
            tokens: (B, S, D) of it, encoded.
            on_map: the maps.
        """
        x, packing = self._map_input(on_map)
        # Equation 5 of the paper: how far two places are apart [m], scaled, biases their attention.
        bias = on_map.distances * self.distance.weight[0] + self.distance.bias
        bias = bias[:, None] + packing.bias
        for number, layer in enumerate(self.map_layers):
            x = layer(x, text.keys[:, number], text.bias, bias, packing)
        nodes = packing.unpack(x)
        x, packing = self._local_input(panorama, tokens, on_map)
        for number, layer in enumerate(self.local_layers):
            keys = text.keys[:, len(self.map_layers) + number]
            x = layer(x, keys, text.bias, packing.bias, packing)
        local = packing.unpack(x)

        stops = torch.cat([nodes[:, 0], local[:, 0]], dim=-1)
        gate = torch.sigmoid(self.gate_head(stops)).squeeze(-1)
        nearby = self.local_head(local[:, : 1 + panorama.candidates]).squeeze(-1)
        fused = fuse_scores(
            self.map_head(nodes).squeeze(-1), nearby, gate, on_map, self.config.scale
        )
        shown = panorama.present[:, panorama.present.shape[1] - panorama.objects :]
        objects = self.object_head(local[:, local.shape[1] - panorama.objects :]).squeeze(-1)
        return DualScaleScores(
            **fused,
            objects=objects.masked_fill(~shown, NEGATIVE),
            stop_states=stops,
            map_states=nodes,
            local_states=local,
        )

    def predict_words(
        self, text: TextMemory, panorama: Panorama, tokens: Tensor, on_map: MapTokens
    ) -> Tensor:
        """Return logits (B, L, words) of every word of the instruction, from what was seen.

        The text attends to the tokens as they enter the two stacks; the states of both stacks are
        added (DUET, section 3.5, masked language modelling).

        Raises:
            ConfigError: the network was built without `word_heads`.
        """
        if not (self.config.predicts_words and isinstance(self.text, WordText)):
            raise ConfigError(
                f"policy.word_heads = {self.config.word_heads}, policy.text = "
                f"'{self.config.text}': only a network with word heads and a text encoder of its "
                "own predicts words; leave masked-language-modelling out"
            )
        total = torch.zeros_like(text.states)
        map_side = (self.map_layers, *self._map_input(on_map))
        local_side = (self.local_layers, *self._local_input(panorama, tokens, on_map))
        for layers, x, packing in (map_side, local_side):
            states, seen = text.states, packing.unpack_left(x)
            for layer in layers:
                states = layer.update_text(states, text.bias, seen, packing.bias)  # type: ignore[operator]
            total = total + states
        hidden = self.word_head(total)
        return functional.linear(hidden, self.text.words.weight, self.word_bias)

    def _map_input(self, on_map: MapTokens) -> tuple[Tensor, Packing]:
        """Tokens (T, D) of STOP and all places of B maps, and where they lie in (B, 1 + M)."""
        packing = Packing(functional.pad(on_map.present, (1, 0), value=True))
        zeros = on_map.nodes.new_zeros(len(on_map.nodes), 1, self.width)
        nodes = packing.pack(torch.cat([zeros, on_map.nodes], dim=1))
        steps = on_map.steps.flatten()[packing.slots].clamp(max=STEPS - 1)
        nodes = nodes + self.map_place(packing.pack(on_map.places)) + self.step(steps)
        return self.drop(nodes), packing

    def _local_input(
        self, panorama: Panorama, tokens: Tensor, on_map: MapTokens
    ) -> tuple[Tensor, Packing]:
        """Tokens (T, D) of STOP and B panoramas, and where they lie in (B, 1 + S)."""
        packing = Packing(functional.pad(panorama.present, (1, 0), value=True))
        count = len(tokens)
        zeros = tokens.new_zeros(count, 1, self.width)
        # The paper's 14 numbers: where the episode began (every token), where the candidate lies.
        beside = tokens.new_zeros(count, tokens.shape[1] - panorama.candidates, FEATURES)
        toward = torch.cat([zeros[..., :FEATURES], on_map.toward, beside], dim=1)
        start = on_map.start[:, None].expand_as(toward)
        place = self.local_place(packing.pack(torch.cat([start, toward], dim=-1)))
        return self.drop(packing.pack(torch.cat([zeros, tokens], dim=1)) + place), packing
