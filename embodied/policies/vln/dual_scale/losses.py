"""Losses of the dual-scale agent as pure functions: decisions, and the four tasks of pre-training
(DUET, section 3.5): masked words (MLM), masked contents (MRC), next step (SAP), object (OG).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from embodied.errors import ConfigError
from embodied.perception.vocabulary import MASK, SPECIAL
from embodied.policies.vln.dual_scale.experts import IGNORED, ExpertLabels
from embodied.policies.vln.dual_scale.network import DualScaleNetwork, TextMemory
from embodied.policies.vln.dual_scale.state import Decision, DualScaleState
from embodied.policies.vln.dual_scale.text import WordText
from embodied.policies.vln.dual_scale.tokens import Panorama

ReplayStep = tuple[NDArray[np.int64], Mapping[str, Any]]
"""Rows (R,) and their observations (R, ...)."""


def cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """Return the cross-entropies (B,) of logits (B, C); 0 where the target is `IGNORED`."""
    return functional.cross_entropy(logits, target, ignore_index=IGNORED, reduction="none")


def compute_decision_losses(decision: Decision, labels: ExpertLabels) -> dict[str, Tensor]:
    """Return the losses (B,) of B decisions by name: fused, explore, objects; 0 where ignored.

    A one-step agent (scale "local") chooses among neighbours: its label is the neighbours'.
    """
    losses = {
        "fused": cross_entropy(
            decision.fused, labels.explore if decision.one_step else labels.fused
        ),
        "explore": cross_entropy(decision.explore, labels.explore),
    }
    if decision.objects.shape[1]:
        losses["objects"] = cross_entropy(decision.objects, labels.objects)
    return losses


def compute_sap_losses(decision: Decision, labels: ExpertLabels) -> dict[str, Tensor]:
    """Return the losses (B,) of single-step action prediction: map, panorama and both together."""
    losses = compute_decision_losses(decision, labels)
    losses.pop("objects", None)
    losses["global"] = cross_entropy(decision.global_logits, labels.fused)
    losses["local"] = cross_entropy(decision.local_logits, labels.explore)
    return losses


def replay_paths(
    network: DualScaleNetwork,
    instructions: Sequence[str],
    steps: Iterable[ReplayStep],
    text: TextMemory | None = None,
    hide: PanoramaMasking | None = None,
) -> DualScaleState:
    """Walk B paths and stop before the decision at their ends.

    Args:
        network: what encodes.
        instructions: B texts.
        steps: rows and observations, in order. Paths of different lengths begin at different
            steps, so that all of them end at the last one.
        text: the instructions, encoded already.
        hide: what to hide in the last panorama.

    Raises:
        ConfigError: not all paths reach the last step.
    """
    state = DualScaleState(network, len(instructions))
    state.begin_episodes(np.arange(len(instructions)), instructions, text)
    all_steps = list(steps)
    for number, (rows, observations) in enumerate(all_steps):
        last = number == len(all_steps) - 1
        state.observe(observations, rows, hide if last else None)
    if not all_steps or sorted(all_steps[-1][0]) != list(range(len(instructions))):
        raise ConfigError(
            f"the last of {len(all_steps)} steps must hold the ends of all "
            f"{len(instructions)} paths"
        )
    return state


@dataclass(frozen=True)
class MaskedWords:
    """Instructions with words taken out.

    Attributes:
        text: encoded.
        targets: (B, L) the word that was there, `IGNORED` elsewhere.
    """

    text: TextMemory
    targets: Tensor


def mask_words(
    network: DualScaleNetwork,
    instructions: Sequence[str],
    share: float = 0.15,
    generator: torch.Generator | None = None,
) -> MaskedWords:
    """Take out a share of the words: 80 % become the mask, 10 % a random word, 10 % stay (BERT).

    At least one word of each instruction is taken out.

    Raises:
        ConfigError: the network has no text encoder of its own.
    """
    if not isinstance(network.text, WordText):
        raise ConfigError(
            f"policy.text = '{network.config.text}' is a pretrained encoder: words cannot be "
            "hidden from it; leave masked-language-modelling out"
        )
    ids, present = network.text.tokenize_texts(instructions)
    word = present & (ids >= len(SPECIAL))
    word = torch.where(word.any(1, keepdim=True), word, present)
    draw = _uniform(ids, generator).masked_fill(~word, 2.0)
    chosen = (draw < share) | (draw == draw.amin(1, keepdim=True))
    kind = _uniform(ids, generator)
    most = len(network.vocabulary)
    bounds = len(SPECIAL), max(most, len(SPECIAL) + 1)
    random = torch.randint(*bounds, ids.shape, generator=generator, device="cpu")
    random = random.clamp(max=most - 1).to(ids.device)
    shown = torch.where(chosen & (kind < 0.8), MASK, ids)
    shown = torch.where(chosen & (kind >= 0.9), random, shown)
    text = network.encode_text_ids(shown, present)
    return MaskedWords(text, torch.where(chosen, ids, IGNORED))


def compute_mlm_loss(state: DualScaleState, targets: Tensor) -> Tensor:
    """Return the mean cross-entropy of the hidden words, given what was seen on the way."""
    return functional.cross_entropy(state.predict_words().flatten(0, 1), targets.flatten())


class PanoramaMasking:
    """Hides a share of the views and objects of a panorama and keeps what was there.

    The target of a view is how its area divides among the categories and "nothing"; that of an
    object is its category. (The paper predicts the 1000 class probabilities of an image classifier
    instead; our choice, because it needs no images.) Views of an image encoder have no categories:
    then only objects are hidden.

    Args:
        network: for the number of categories.
        share: of the tokens; at least one per panorama where there is any.
        generator: of the draw.
    """

    def __init__(
        self,
        network: DualScaleNetwork,
        share: float = 0.15,
        generator: torch.Generator | None = None,
    ) -> None:
        self.categories = network.inputs.categories
        self.histograms = network.histograms
        self.share, self.generator = share, generator
        self.chosen = network.visual.new_zeros(0, 0, dtype=torch.bool)
        """(B, S) what was hidden in the panorama seen last."""
        self.targets = network.visual.new_zeros(0, 0, 0)
        """(B, S, categories + 1) distributions; column 0 is "nothing"."""

    def __call__(self, panorama: Panorama) -> Panorama:
        """Return the panorama with tokens hidden."""
        views = panorama.views.shape[1]
        can = panorama.present.clone()
        if self.histograms:
            can[:, :views] &= panorama.views[..., : self.categories].any(-1)
        else:
            can[:, :views] = False
        draw = _uniform(can, self.generator).masked_fill(~can, 2.0)
        chosen = (draw < self.share) | (draw == draw.amin(1, keepdim=True))
        self.chosen = chosen & can
        self.targets = self._targets(panorama)
        on_views, on_objects = self.chosen[:, :views], self.chosen[:, views:]
        return replace(
            panorama,
            views=panorama.views.masked_fill(on_views[..., None], 0.0),
            features=panorama.features.masked_fill(on_objects[..., None], 0.0),
            categories=panorama.categories.masked_fill(on_objects, 0),
            instruction_features=panorama.instruction_features.masked_fill(
                on_objects[..., None], 0.0
            ),
            names=panorama.names.masked_fill(on_objects, len(panorama.words)),
            words=(*panorama.words, ""),
        )

    def _targets(self, panorama: Panorama) -> Tensor:
        parts = []
        if self.histograms:
            shares = panorama.views[..., : self.categories].clamp(min=0.0)
            nothing = (1.0 - shares.sum(-1, keepdim=True)).clamp(min=0.0)
            whole = torch.cat([nothing, shares], dim=-1)
            parts.append(whole / whole.sum(-1, keepdim=True).clamp(min=1e-6))
        else:
            shape = *panorama.views.shape[:2], self.categories + 1
            parts.append(panorama.views.new_zeros(shape))
        objects = functional.one_hot(panorama.categories, self.categories + 1)
        parts.append(objects.to(panorama.views.dtype))
        return torch.cat(parts, dim=1)


def _uniform(like: Tensor, generator: torch.Generator | None) -> Tensor:
    """Draw a number in [0, 1) per element; on the CPU, so that every device draws the same."""
    return torch.rand(like.shape, generator=generator, device="cpu").to(like.device)


def compute_mrc_loss(
    network: DualScaleNetwork, decision: Decision, masking: PanoramaMasking
) -> Tensor:
    """Return the mean divergence KL(target || prediction) of the hidden tokens; 0 without any."""
    states = decision.local_states[:, 1:][masking.chosen]
    if not len(states):
        return decision.local_states.sum() * 0.0
    predicted = functional.log_softmax(network.content_head(states), dim=-1)
    return functional.kl_div(predicted, masking.targets[masking.chosen], reduction="batchmean")
