from __future__ import annotations

import torch

from embodied.nn.convolution import ConvEncoder
from embodied.nn.recurrent import ResetGRU


def test_without_resets_it_is_torchs_gru() -> None:
    torch.manual_seed(0)
    ours, theirs = ResetGRU(5, 7), torch.nn.GRU(5, 7)
    with torch.no_grad():
        for parameter in ours.parameters():
            parameter.normal_()
        theirs.weight_ih_l0.copy_(ours.input.weight)
        theirs.weight_hh_l0.copy_(ours.state.weight)
        theirs.bias_ih_l0.copy_(ours.input.bias)
        theirs.bias_hh_l0.copy_(ours.state.bias)
    x, state = torch.randn(9, 3, 5), torch.randn(3, 7)
    out, last = ours(x, state, torch.zeros(9, 3, dtype=torch.bool))
    expected, final = theirs(x, state[None])
    torch.testing.assert_close(out, expected)
    torch.testing.assert_close(last, final[0])


def test_a_reset_cuts_the_sequence_in_two() -> None:
    gru = ResetGRU(4, 6)
    x, first = torch.randn(8, 2, 4), torch.zeros(8, 2, dtype=torch.bool)
    first[5, 1] = True
    state = torch.randn(2, 6)
    out, _ = gru(x, state, first)
    rest, _ = gru(x[5:, 1:], torch.zeros(1, 6), torch.zeros(3, 1, dtype=torch.bool))
    torch.testing.assert_close(out[5:, 1:], rest)
    whole, _ = gru(x, state, torch.zeros_like(first))
    torch.testing.assert_close(out[:, 0], whole[:, 0])
    assert not torch.allclose(out[5:, 1], whole[5:, 1])


def test_no_gradient_crosses_a_reset() -> None:
    gru = ResetGRU(4, 6)
    x = torch.randn(6, 1, 4, requires_grad=True)
    first = torch.tensor([[False], [False], [False], [True], [False], [False]])
    out, _ = gru(x, torch.zeros(1, 6), first)
    out[-1].sum().backward()
    assert not x.grad[:3].any()
    assert x.grad[3:].any()


def test_images_of_odd_sizes_are_encoded() -> None:
    encoder = ConvEncoder((2, 33, 47), (4, 8, 8), 12)
    assert encoder(torch.rand(3, 2, 33, 47)).shape == (3, 12)
