from __future__ import annotations

import pytest
import torch
from torch import nn

from embodied.nn.transformer import (
    CrossAttention,
    CrossLayer,
    PostNormLayer,
    PreNormLayer,
    SelfAttention,
    build_mask_bias,
)

PRESENT = torch.tensor([[True, True, True, False, False], [True] * 5])


def copied(ours: PostNormLayer, theirs: nn.TransformerEncoderLayer) -> None:
    with torch.no_grad():
        for parameter in ours.parameters():
            parameter.normal_(std=0.3)
        pairs = {
            theirs.self_attn.in_proj_weight: ours.attention.project.weight,
            theirs.self_attn.in_proj_bias: ours.attention.project.bias,
            theirs.self_attn.out_proj.weight: ours.attention.output.weight,
            theirs.self_attn.out_proj.bias: ours.attention.output.bias,
            theirs.linear1.weight: ours.feed[0].weight,
            theirs.linear1.bias: ours.feed[0].bias,
            theirs.linear2.weight: ours.feed[2].weight,
            theirs.linear2.bias: ours.feed[2].bias,
            theirs.norm1.weight: ours.attention_norm.weight,
            theirs.norm1.bias: ours.attention_norm.bias,
            theirs.norm2.weight: ours.feed_norm.weight,
            theirs.norm2.bias: ours.feed_norm.bias,
        }
        for target, source in pairs.items():
            target.copy_(source)


@pytest.mark.parametrize("kind", [PostNormLayer, PreNormLayer])
def test_layers_are_torchs(kind: type[PostNormLayer]) -> None:
    torch.manual_seed(0)
    ours = kind(16, 4, 24)
    theirs = nn.TransformerEncoderLayer(
        16, 4, 24, 0.0, "gelu", batch_first=True, norm_first=kind is PreNormLayer
    )
    copied(ours, theirs)
    x = torch.randn(2, 5, 16)
    expected = theirs(x, src_key_padding_mask=~PRESENT)
    torch.testing.assert_close(ours(x, build_mask_bias(PRESENT))[PRESENT], expected[PRESENT])


def test_cross_attention_is_torchs() -> None:
    torch.manual_seed(0)
    ours, theirs = CrossAttention(16, 4), nn.MultiheadAttention(16, 4, batch_first=True)
    with torch.no_grad():
        theirs.in_proj_weight.copy_(torch.cat([ours.query.weight, ours.memory.weight]))
        theirs.in_proj_bias.copy_(torch.cat([ours.query.bias, ours.memory.bias]))
        theirs.out_proj.load_state_dict(ours.output.state_dict())
    x, memory = torch.randn(2, 3, 16), torch.randn(2, 5, 16)
    expected, _ = theirs(x, memory, memory, key_padding_mask=~PRESENT)
    torch.testing.assert_close(
        ours(x, ours.project_keys_values(memory), build_mask_bias(PRESENT)), expected
    )


def test_a_bias_between_pairs_is_added_to_the_scores() -> None:
    torch.manual_seed(1)
    layer = SelfAttention(8, 2)
    x, bias = torch.randn(1, 4, 8), torch.randn(1, 1, 4, 4)
    query, key, value = (
        part.unflatten(-1, (2, 4)).transpose(1, 2) for part in layer.project(x).chunk(3, dim=-1)
    )
    weights = torch.softmax(query @ key.transpose(-1, -2) / 2.0 + bias, dim=-1)
    expected = layer.output((weights @ value).transpose(1, 2).flatten(2))
    torch.testing.assert_close(layer(x, bias), expected)


def test_no_mask_is_one_that_hides_nothing() -> None:
    torch.manual_seed(0)
    layer, x = PreNormLayer(16, 2, 32), torch.randn(3, 5, 16)
    torch.testing.assert_close(layer(x, None), layer(x, torch.zeros(3, 1, 1, 5)))


def test_nothing_but_padding_stays_finite() -> None:
    layer = SelfAttention(8, 2)
    assert (
        layer(torch.randn(1, 3, 8), build_mask_bias(torch.zeros(1, 3, dtype=torch.bool)))
        .isfinite()
        .all()
    )


def test_the_text_side_shares_the_cross_attention() -> None:
    torch.manual_seed(0)
    layer = CrossLayer(8, 2, 12, words=True)
    text, tokens = torch.randn(2, 5, 8), torch.randn(2, 3, 8)
    there = build_mask_bias(torch.ones(2, 3, dtype=torch.bool))
    out = layer.update_text(text, build_mask_bias(PRESENT), tokens, there)
    assert out.shape == text.shape
    out.sum().backward()
    assert layer.cross.query.weight.grad is not None
    assert layer.own.feed[0].weight.grad is None  # the vision side is not used
    with pytest.raises(RuntimeError, match="words=False"):
        CrossLayer(8, 2, 12).update_text(text, build_mask_bias(PRESENT), tokens, there)
