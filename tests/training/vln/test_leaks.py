"""What no agent can have seen must not change what it does.

Each episode is played twice: as it is, and in a fog where the percept of every place that was not
entered yet is noise. An agent that only uses what it saw decides the same, score by score.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from embodied.perception.vocabulary import Vocabulary
from embodied.policies.vln.baselines import BlindPolicy, DetectorPolicy, RandomPlacePolicy
from embodied.policies.vln.dual_scale import DualScaleConfig, DualScaleInputs, DualScaleNetwork
from embodied.policies.vln.local_goals import SCENE_RULES
from embodied.policies.vln.meta_explore import MetaExploreConfig, MetaExplorePolicy
from embodied.policies.vln.trace import EXPLOIT, EpisodeTrace
from embodied.simulators.graph import GraphWorld
from embodied.tasks.vln.batch import VLNBatch
from embodied.tasks.vln.config import VLNConfig
from embodied.tasks.vln.houses_config import HousesConfig
from embodied.tasks.vln.source import VLNSource, load_source
from maps.panorama.observation import PanoramaObservation


class Fog:
    """A world in which places that were not entered look like noise."""

    def __init__(self, world: GraphWorld, seed: int) -> None:
        self._world, self._seed = world, seed
        self.entered: set[int] = set()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._world, name)

    def observe_place(self, place: int) -> PanoramaObservation:
        seen = self._world.observe_place(place)
        if place in self.entered:
            return seen
        rng = np.random.default_rng([self._seed, place])
        count = 5
        return PanoramaObservation(
            views=rng.random(seen.views.shape, np.float32),
            objects=10_000_000 + rng.permutation(100)[:count],
            names=("chair",) * count,
            categories=rng.integers(0, len(seen.canvas), count),
            boxes=rng.random((count, 4), np.float32),
            features=rng.random((count, 6), np.float32),
            canvas=rng.random(seen.canvas.shape) < 0.3,
        )


def play(policy: Any, task: VLNConfig, source: VLNSource, number: int, foggy: bool) -> EpisodeTrace:
    """Play one episode and return the policy's trace."""
    episode = source.episodes[number]
    fog = Fog(source.worlds[episode.world], number)
    worlds = {episode.world: fog if foggy else source.worlds[episode.world]}
    batch = VLNBatch(task, 1, VLNSource(worlds, [episode]))
    fog.entered.add(episode.start)
    batch.begin_episodes([0], [0])
    first, over = np.ones(1, bool), False
    while not over:
        seen = batch.observe()
        action = policy.act(seen, first)
        if action[0, 0]:
            fog.entered.add(int(seen["candidates"][0, action[0, 0] - 1]))
        _, ended, cut = batch.step(action)
        first, over = np.zeros(1, bool), bool(ended[0] or cut[0])
    return policy.get_traces()[0]


@lru_cache(maxsize=2)
def episodes(dataset: str, root: str) -> tuple[VLNConfig, VLNSource, DualScaleNetwork]:
    """A few real episodes and a network with random weights that looks at everything."""
    houses = HousesConfig(count=1, rooms=(4, 4), textures=False)
    task = VLNConfig(
        dataset=dataset, data=root, split="val_unseen", episodes=8, houses=houses, max_steps=40
    )
    source = load_source(task)
    words = Vocabulary.from_texts([e.instruction for e in source.episodes])
    torch.manual_seed(5)
    space = VLNBatch(task, 1, source).observation_space
    network = DualScaleNetwork(DualScaleConfig(), words, DualScaleInputs.from_spaces(space))
    with torch.no_grad():
        for parameter in (*network.map_head.parameters(), *network.local_head.parameters()):
            parameter.mul_(4.0)  # decisions that depend on what is seen
    return task, source, network.eval()


@pytest.fixture(params=["reverie", "houses"])
def setting(
    request: pytest.FixtureRequest, shared_data: Callable[[str], Path]
) -> tuple[VLNConfig, VLNSource, DualScaleNetwork]:
    root = shared_data("reverie").parent if request.param == "reverie" else Path("data")
    return episodes(request.param, str(root))


# A threshold of 1 corrects wherever there is something to correct, so every rule gets to decide.
ALWAYS = MetaExploreConfig(mode="learned", threshold=1.0, max_decisions=6)
VARIANTS = {
    "explore_only": MetaExploreConfig(mode="never", max_decisions=10),
    "anti_loop": MetaExploreConfig(mode="never", anti_loop=1.0, memory_decay=0.9),
    "global": MetaExploreConfig(mode="global", max_decisions=10),
    "fused": MetaExploreConfig(mode="fused", local_goal="network", max_decisions=10),
    **{
        rule: replace(ALWAYS, local_goal=rule)
        for rule in (
            "backtrack", "random", "nearest", "bag_cosine", "bag", "sos_cosine", "sos",
            "goal_only", "learned", "network",
        )
    },
    "sos_log1p": replace(ALWAYS, local_goal="sos", scale="log1p"),
}  # fmt: skip


@pytest.mark.parametrize("name", VARIANTS)
def test_noise_in_unvisited_places_changes_no_decision(
    name: str, setting: tuple[VLNConfig, VLNSource, DualScaleNetwork]
) -> None:
    task, source, network = setting
    config = VARIANTS[name]
    policies = [MetaExplorePolicy(network, config) for _ in range(2)]
    task = replace(task, canvas="canvas" in policies[0].observation_keys)
    corrected = 0
    for number in range(4):
        clear, foggy = (
            play(policy, task, source, number, fog).to_json()
            for policy, fog in zip(policies, (False, True), strict=True)
        )
        assert clear == foggy
        corrected += sum(record["mode"] == EXPLOIT for record in clear["decisions"])
    if config.mode != "fused":  # which corrects where the network happens to prefer it
        assert (corrected > 0) == (config.mode == "learned")


@pytest.mark.parametrize("make", [RandomPlacePolicy, BlindPolicy, DetectorPolicy])
def test_noise_in_unvisited_places_changes_no_baseline(
    make: Callable[[], Any], setting: tuple[VLNConfig, VLNSource, DualScaleNetwork]
) -> None:
    task, source, _ = setting
    for number in range(4):
        clear, foggy = (play(make(), task, source, number, fog) for fog in (False, True))
        assert clear.to_json() == foggy.to_json()


def test_the_upper_bound_that_looks_ahead_does_change(
    setting: tuple[VLNConfig, VLNSource, DualScaleNetwork],
) -> None:
    """Without this the test above could not fail."""
    task, source, network = setting
    for rule in ("sos", "bag"):
        config = replace(ALWAYS, local_goal=rule, oracle_sos=True)
        policies = [MetaExplorePolicy(network, config) for _ in range(2)]
        assert policies[0].observation_keys == ("canvas", "candidate_canvas")
        ahead = replace(task, canvas=True, oracle_canvas=True)
        pairs = [
            [play(policy, ahead, source, n, f) for policy, f in zip(policies, (0, 1), strict=True)]
            for n in range(4)
        ]
        assert any(clear.path != foggy.path for clear, foggy in pairs)


def test_no_variant_without_oracle_asks_for_the_truth(
    setting: tuple[VLNConfig, VLNSource, DualScaleNetwork],
) -> None:
    network = setting[2]
    for config in VARIANTS.values():
        looks = config.mode == "learned" and config.local_goal in SCENE_RULES
        assert MetaExplorePolicy(network, config).observation_keys == (("canvas",) if looks else ())
    for oracle in (replace(ALWAYS, mode="oracle"), replace(ALWAYS, local_goal="oracle")):
        assert "goal_distance" in MetaExplorePolicy(network, oracle).observation_keys
