"""The diffusion transformer: what it may see, where it starts, what it returns."""

from __future__ import annotations

import torch

from embodied.nn.dit import DiT, NoisyTokens
from embodied.nn.transformer import build_mask_bias

WIDTH = 32


def stack(layers: int = 3) -> DiT:
    torch.manual_seed(0)
    made = DiT(WIDTH, 4, layers)
    for block in made.blocks:  # open the gates, which start closed
        torch.nn.init.normal_(block.steer[1].weight, std=0.3)
    return made


def run(dit: DiT, x, time, context, present=None):
    present = torch.ones(context.shape[:2], dtype=torch.bool) if present is None else present
    return dit(x, time, dit.project_keys_values(context), build_mask_bias(present))


def test_it_starts_as_the_identity() -> None:
    x = torch.randn(2, 5, WIDTH)
    states = run(DiT(WIDTH, 4, 3), x, torch.rand(2), torch.randn(2, 4, WIDTH))
    assert len(states) == 4
    assert all(torch.equal(state, x) for state in states)


def test_time_and_context_steer_it() -> None:
    dit, x, context = stack(), torch.randn(2, 5, WIDTH), torch.randn(2, 4, WIDTH)
    base = run(dit, x, torch.zeros(2), context)[-1]
    assert not torch.allclose(base, run(dit, x, torch.ones(2), context)[-1], atol=1e-3)
    assert not torch.allclose(base, run(dit, x, torch.zeros(2), context + 1)[-1], atol=1e-3)


def test_padding_of_the_context_is_not_seen() -> None:
    dit, x, context = stack(), torch.randn(2, 5, WIDTH), torch.randn(2, 4, WIDTH)
    present = torch.tensor([[True] * 4, [True, True, False, False]])
    changed = context.clone()
    changed[1, 2:] = 100.0
    first, second = (run(dit, x, torch.rand(2).fill_(0.3), c, present) for c in (context, changed))
    assert torch.allclose(first[-1], second[-1])


def test_rows_do_not_mix() -> None:
    dit, x, context = stack(), torch.randn(3, 5, WIDTH), torch.randn(3, 4, WIDTH)
    time = torch.tensor([0.1, 0.5, 0.9])
    together = run(dit, x, time, context)[-1]
    alone = run(dit, x[1:2], time[1:2], context[1:2])[-1]
    assert torch.allclose(together[1:2], alone, atol=1e-5)


def test_packed_steps_keep_their_order() -> None:
    tokens = NoisyTokens(8, 3, 4, WIDTH, placed=True)
    values, time = torch.randn(2, 8, 3), torch.full((2,), 0.5)
    made = tokens.encode(values, time)
    assert made.shape == (2, 2, WIDTH)
    assert tokens.decode_values(made).shape == (2, 8, 3)
    later = values.clone()
    later[:, 5] += 1.0  # the sixth step lives in the second token
    changed = (tokens.encode(later, time) - made).abs().amax(dim=-1)
    assert (changed[:, 0] == 0).all()
    assert (changed[:, 1] > 0).all()


def test_places_in_the_sequence_differ() -> None:
    same = torch.zeros(1, 8, 3)
    placed = NoisyTokens(8, 3, 4, WIDTH, placed=True).encode(same, torch.zeros(1))
    plain = NoisyTokens(8, 3, 4, WIDTH).encode(same, torch.zeros(1))
    assert not torch.allclose(placed[:, 0], placed[:, 1])
    assert torch.allclose(plain[:, 0], plain[:, 1])
