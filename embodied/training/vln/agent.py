"""A dual-scale agent as checkpoints hold it: its network, and what it was made for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from embodied import config as configuration
from embodied.perception.vocabulary import Vocabulary
from embodied.policies.vln.dual_scale import DualScaleConfig, DualScaleInputs, DualScaleNetwork
from embodied.policies.vln.dual_scale.policy import DualScalePolicy


@dataclass(frozen=True)
class AgentInputs:
    """What the network was made for; stored with its weights.

    Attributes:
        widths: of the observations.
        vocabulary: words it knows, in the order of their embeddings.
    """

    widths: DualScaleInputs
    vocabulary: Vocabulary

    def to_json(self) -> dict[str, Any]:
        """Return plain values for meta.json."""
        return {**self.widths.to_json(), "words": list(self.vocabulary.words)}

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> AgentInputs:
        """Build from `to_json`'s values."""
        return AgentInputs(DualScaleInputs.from_json(data), Vocabulary(tuple(data["words"])))


class DualScaleAgent:
    """The network that all graph policies share, stored under the name "dual_scale".

    Args:
        inputs: what it is made for.
        config: size and options.
        seed: of the weights.

    Attributes:
        policy: acts by the plain dual-scale rule.
        network: the weights.
    """

    name = "dual_scale"

    def __init__(self, inputs: AgentInputs, config: DualScaleConfig, seed: int = 0) -> None:
        self.inputs = inputs
        self.policy = DualScalePolicy(inputs.widths, inputs.vocabulary, config, seed)
        self.network: DualScaleNetwork = self.policy.network
        self.normalization: dict[str, Any] = {}  # the network's layer norms do that


def restore_policy(
    inputs: Mapping[str, Any], tree: Mapping[str, Any], source: str = "configuration"
) -> DualScaleAgent:
    """Rebuild the agent of a checkpoint, without its weights.

    Args:
        inputs: what `AgentInputs.to_json` wrote.
        tree: configuration of its run; the part "policy" is read.
        source: where that stands, for messages.
    """
    config = configuration.build(DualScaleConfig, tree["policy"], source=source)
    return DualScaleAgent(AgentInputs.from_json(inputs), config)
