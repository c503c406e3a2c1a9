from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from graph_toy import VOCABULARY, WIDTH, GraphToy

sys.path.insert(0, str(Path(__file__).parents[2] / "perception"))

from tiny_models import save_bert  # noqa: E402

from embodied.errors import EmbodiedError  # noqa: E402
from embodied.perception.text import TextEncoder  # noqa: E402
from embodied.policies.vln.dual_scale import (  # noqa: E402
    DualScaleConfig,
    DualScaleInputs,
    DualScaleNetwork,
    DualScaleState,
)
from embodied.policies.vln.dual_scale.losses import mask_words  # noqa: E402

TEXTS = ["go to the red chair", "the bed next to the lamp and the sofa of the kitchen"]


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> DualScaleNetwork:
    folder = save_bert(tmp_path_factory.mktemp("bert"))
    config = DualScaleConfig(text=str(folder), dropout=0.0)
    return DualScaleNetwork(config, VOCABULARY, DualScaleInputs(WIDTH))


def test_a_pretrained_encoder_is_read_but_not_trained(network: DualScaleNetwork) -> None:
    world, state = GraphToy(), DualScaleState(network, 2)
    state.begin_episodes([0, 1], TEXTS)
    state.observe(world.observe([3, 4], [3, 4]))
    decision = state.score_choices()
    (decision.gate.sum() + decision.objects.exp().sum()).backward()
    assert network.text.project.weight.grad.abs().sum() > 0
    assert network.text.name.weight.grad.abs().sum() > 0
    names = [name for name, _ in network.named_parameters() if name.startswith("text.")]
    assert {name.split(".")[1] for name in names} == {"project", "norm", "name"}


def test_its_states_are_projected_token_features(network: DualScaleNetwork) -> None:
    features = TextEncoder.load(network.config.text).encode(TEXTS)
    memory = network.encode_text(TEXTS)
    expected = network.text.norm(network.text.project(features.tokens.clone()))
    torch.testing.assert_close(memory.states[features.mask], expected[features.mask])
    again = network.encode_text(TEXTS[::-1])  # from memory now
    torch.testing.assert_close(again.states[1], memory.states[0])
    pooled = network.text.embed_names(["chair", "", "red sofa"])
    expected = network.text.name(TextEncoder.load(network.config.text).encode(["red sofa"]).pooled)
    torch.testing.assert_close(pooled[2], expected[0])
    assert not pooled[1].any()


def test_its_words_cannot_be_predicted(network: DualScaleNetwork) -> None:
    with pytest.raises(EmbodiedError, match="pretrained encoder"):
        mask_words(network, TEXTS)
    state = DualScaleState(network, 1)
    state.begin_episodes([0], TEXTS[:1])
    state.observe(GraphToy().observe([3], [3]))
    with pytest.raises(EmbodiedError, match="masked-language-modelling"):
        state.predict_words()
    with pytest.raises(EmbodiedError, match="nowhere"):
        DualScaleNetwork(DualScaleConfig(text="./nowhere"), VOCABULARY, DualScaleInputs(WIDTH))
