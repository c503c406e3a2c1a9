"""`embodied eval` of agents that find, reach and pick: success by phase, traces, a film."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from embodied import config as configuration
from embodied import registry
from embodied.errors import CheckpointError, ConfigError, suggest_nearest
from embodied.evaluation.base import Episodes
from embodied.evaluation.navigation import describe_body
from embodied.files import write_text
from embodied.policies.base import Policy
from embodied.policies.mapping.frontier import FrontierConfig
from embodied.policies.mapping.mobile_pick import (
    APPROACH,
    FAILED,
    MANIPULATE,
    PHASES,
    ExpertArmPolicy,
    MobilePickAgent,
    MobilePickAgentConfig,
    MobilePickPolicy,
)
from embodied.policies.mapping.object_frontier import ObjectFrontierConfig
from embodied.tasks.mobile_pick import MobilePickConfig, MobilePickEnv
from embodied.tasks.mobile_pick.config import STAND_HEIGHT
from embodied.training.navigation.evaluation_config import EvaluationConfig

EXPERT = "expert"
FILMED_EPISODES = 2

_NUMBERS = ("steps", "seconds", "collisions", "docks", "path_length", "geodesic", "spl")
_SEARCHES = ("frontier", "objectnav_frontier")


@dataclass(frozen=True)
class MobilePickEvalConfig:
    """Everything that decides an evaluation.

    Attributes:
        evaluator: "mobile_pick"; tells a recipe of this kind from others.
        search: how to explore, "frontier" or "objectnav_frontier", or "module:attribute" of a class
            built without arguments.
        frontier, objectnav_frontier: settings of the policy of that name.
        arm: "expert", or the run or checkpoint folder of a policy trained on the task "pick".
        agent: phases and hand-over; body, camera and measures of the arm are those of the task.
        task: the environment.
        evaluation: how many episodes, in which houses; they are played one by one.
        key: start of the published names.
    """

    evaluator: str = "mobile_pick"
    search: str = "frontier"
    frontier: FrontierConfig = field(default_factory=FrontierConfig)
    objectnav_frontier: ObjectFrontierConfig = field(default_factory=ObjectFrontierConfig)
    arm: str = EXPERT
    agent: MobilePickAgentConfig = field(default_factory=MobilePickAgentConfig)
    task: MobilePickConfig = field(default_factory=MobilePickConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    key: str = "mobile_pick"


@dataclass(frozen=True)
class PickStep:
    """One step, seen from both sides.

    Attributes:
        env: the environment after the step.
        agent: the agent that chose it.
        observation: the observation it was chosen on.
        info: of the environment.
        done: the episode has ended.
    """

    env: MobilePickEnv
    agent: MobilePickAgent
    observation: Mapping[str, Any]
    info: Mapping[str, Any]
    done: bool


class MobilePickEvaluator:
    """Mobile picks; see `embodied.evaluation.base.Evaluator`.

    Args:
        what: recipe.
        overrides: key.path=value; `arm=runs/...` names a trained policy of the arm.
        which: its checkpoint, "latest" or "best".
    """

    shown_metrics = (
        "success", "found", "docked", "spl", "attempts", "path_length", "collisions", "steps",
        "seconds", *(f"seconds_{phase}" for phase in PHASES[:4]),
        *(f"failed_in_{phase}" for phase in PHASES[:4]),
        "dock_error", "violations_force", "violations_workspace", "violations_velocity",
    )  # fmt: skip
    published_names: ClassVar[Mapping[str, str]] = {}

    def __init__(self, what: str, overrides: Sequence[str], which: str) -> None:
        self.which = which
        tree = configuration.read_recipe(what)
        tree = configuration.merge(tree, configuration.parse_overrides(overrides))
        self.settings = configuration.build(MobilePickEvalConfig, tree, source=f"recipe {what}")

    @property
    def key(self) -> str:
        """Start of the published names."""
        return self.settings.key

    @property
    def seed(self) -> int:
        """Number of the first episode."""
        return self.settings.evaluation.seed

    def use_scene(self, scene: Path, episodes: int) -> None:
        """Play in one scene file, at most so many episodes."""
        settings = self.settings
        source = dataclasses.replace(
            settings.task.navigation.scene, files=(str(scene),), episodes="", count=1
        )
        navigation = dataclasses.replace(settings.task.navigation, scene=source)
        count = min(settings.evaluation.episodes, episodes)
        self.settings = dataclasses.replace(
            settings,
            task=dataclasses.replace(settings.task, navigation=navigation),
            evaluation=dataclasses.replace(settings.evaluation, episodes=count),
        )

    def list_episode_names(self, count: int) -> Sequence[str]:
        """Number the episodes: the same for every policy."""
        wanted = self.settings.evaluation
        return [f"{wanted.split}-{wanted.seed + number}" for number in range(count)]

    def play_episodes(self, explain: Path | None = None) -> Episodes:
        """Play the episodes; `explain` is a folder for the changes of phase, told and shown.

        Raises:
            ConfigError: unknown policy.
            CheckpointError: a policy of the arm that was made for another task.
        """
        from embodied.evaluation.mobile_pick_film import Stills

        policy = make_policy(self.settings, self.which)
        env = MobilePickEnv(task_of(self.settings))
        wanted, episodes = self.settings.evaluation, []
        try:
            for number in range(wanted.episodes):
                meter, stills = _Meter(), Stills()
                for moment in iter_steps(env, policy, wanted.seed + number):
                    meter.add(moment)
                    if explain is not None:
                        stills.add_step(moment)
                episodes.append(meter.figures())
                if explain is not None:
                    name = self.list_episode_names(number + 1)[-1]
                    text = json.dumps(meter.story(), indent=1)
                    write_text(explain / f"{name}.json", text + "\n")
                    stills.write(explain / f"{name}.jpg")
        finally:
            env.close()
        return episodes

    def group_episodes(self) -> Mapping[str, Episodes]:
        """Return nothing: there is one task."""
        return {}

    def write_film(self, path: Path) -> int:
        """Film some episodes one after the other; return the number of frames."""
        from embodied.evaluation.mobile_pick_film import write_film

        count = min(FILMED_EPISODES, self.settings.evaluation.episodes)
        return write_film(path, self.settings, self.which, count)

    def write_page(self, folder: Path, line: str) -> Path:
        """Gather the changes of phase of all episodes in one text; return its path."""
        stories = [json.loads(file.read_text()) for file in sorted(folder.glob("*.json"))]
        lines = [f"{line}\n"]
        for story in stories:
            end = "picked up" if story["success"] else "failed"
            lines.append(f"\nepisode {story['seed']} ({story['room']}): {end}")
            lines += [
                f"  {t['step']:4d}  {t['before']:>10} -> {t['after']:<10}  {t['reason']}"
                for t in story["trace"]
            ]
        write_text(folder / "phases.txt", "\n".join(lines) + "\n")
        return folder / "phases.txt"


class _Meter:
    """Measures one episode."""

    def __init__(self) -> None:
        self._spent = dict.fromkeys(PHASES, 0.0)
        self._before = 0.0
        self._errors: list[float] = []
        self._docks = 0
        self._last: PickStep | None = None

    def add(self, moment: PickStep) -> None:
        """Take in one step."""
        now = float(moment.info["seconds"])
        self._spent[moment.agent.phase] += now - self._before
        self._before, self._last = now, moment
        if moment.info["docks"] > self._docks:
            self._docks = moment.info["docks"]
            true = np.array([moment.info["dock_ahead"], moment.info["dock_aside"]])
            self._errors.append(float(np.linalg.norm(moment.agent.docked - true)))

    def figures(self) -> dict[str, float]:
        """Return the figures of the episode.

        "found": the thing was seen; "docked": the arm was brought where it reaches the thing, with
        SPL of the way there; "dock_error": of where the thing was believed to be when the arm took
        over [m]; "seconds_<phase>": simulated time; "failed_in_<phase>": the phase that an episode
        without success ended in, or gave up in.
        """
        moment = self._moment
        info, agent = moment.info, moment.agent
        failed = "" if info["success"] else self._failing()
        return {
            "success": float(info["success"]),
            "found": float(any(step.after == APPROACH for step in agent.trace)),
            "docked": float(info["docked"]),
            "attempts": float(sum(step.after == MANIPULATE for step in agent.trace)),
            "dock_error": self._errors[0] if self._errors else np.nan,
            **{name: float(info[name]) for name in _NUMBERS},
            **{f"seconds_{phase}": self._spent[phase] for phase in PHASES[:4]},
            **{f"failed_in_{phase}": float(failed == phase) for phase in PHASES[:4]},
            **{f"violations_{name}": float(n) for name, n in info["violations"].items()},
        }

    def story(self) -> dict[str, Any]:
        """Return what happened, in plain values."""
        info, trace = self._moment.info, self._moment.agent.trace
        return {
            "seed": info["episode_seed"],
            "room": info["room"],
            "success": info["success"],
            "trace": [dataclasses.asdict(step) for step in trace],
        }

    @property
    def _moment(self) -> PickStep:
        assert self._last is not None  # noqa: S101
        return self._last

    def _failing(self) -> str:
        agent = self._moment.agent
        gave_up = [step.before for step in agent.trace if step.after == FAILED]
        return gave_up[-1] if gave_up else agent.phase


def task_of(settings: MobilePickEvalConfig) -> MobilePickConfig:
    """Return the task as it is played: its houses, and what its policies need."""
    wanted, navigation = settings.evaluation, settings.task.navigation
    arm = settings.task.arm
    if settings.arm != EXPERT:
        arm = dataclasses.replace(arm, observation="rgb")
    scene = dataclasses.replace(navigation.scene, split=wanted.split)
    return dataclasses.replace(
        settings.task,
        navigation=dataclasses.replace(navigation, scene=scene),
        arm=arm,
        expert=settings.arm == EXPERT,
    )


def make_policy(settings: MobilePickEvalConfig, which: str = "latest") -> MobilePickPolicy:
    """Build the agent for a task.

    Raises:
        ConfigError: unknown policy.
        CheckpointError: a folder without a policy of an arm, or one made for another task.
    """
    from embodied.simulators.bullet import RIGS

    body = describe_body(settings.task.navigation)
    reach = RIGS[settings.task.arm.robot].center[0]
    agent = dataclasses.replace(settings.agent, body=body, mount=STAND_HEIGHT, reach=reach)
    return MobilePickPolicy(agent, lambda: _search(settings), lambda: _arm(settings, which))


def _search(settings: MobilePickEvalConfig) -> Policy:
    body = describe_body(settings.task.navigation)
    made = registry.resolve("policy", settings.search)
    if settings.search == "frontier":
        policy = made(dataclasses.replace(settings.frontier, body=body))
    elif settings.search == "objectnav_frontier":
        search = settings.objectnav_frontier
        explore = dataclasses.replace(search.frontier, body=body)
        policy = made(dataclasses.replace(search, frontier=explore))
    elif ":" in settings.search:
        policy = made()
    else:
        raise ConfigError(
            f"search = '{settings.search}': {suggest_nearest(settings.search, _SEARCHES)}, or "
            "module:attribute of a class of your own"
        )
    if not isinstance(policy, Policy):
        raise ConfigError(f"search = '{settings.search}' has no method act(observations, first)")
    return policy


def _arm(settings: MobilePickEvalConfig, which: str) -> Policy:
    if settings.arm == EXPERT:
        return ExpertArmPolicy()
    import torch

    from embodied.policies.chunk.base import ChunkPolicy
    from embodied.training.checkpoint import load_policy
    from embodied.training.manipulation.validation import require_fit

    torch.set_num_threads(1)
    policy = load_policy(settings.arm, which)
    if not isinstance(policy, ChunkPolicy):
        raise CheckpointError(
            f"arm = {settings.arm} holds the policy '{getattr(policy, 'name', '?')}', which does "
            "not command an arm. Give a run of a recipe manip/..., or 'expert'"
        )
    require_fit(policy, task_of(settings).arm)
    policy.seed(settings.evaluation.seed)
    return policy


def iter_steps(env: MobilePickEnv, policy: MobilePickPolicy, seed: int) -> Iterator[PickStep]:
    """Play one episode and yield its steps."""
    observation, info = env.reset(seed=seed)
    first, over = np.ones(1, bool), False
    while not over:
        batch = {name: _row(value) for name, value in observation.items()}
        action = policy.act(batch, first)
        chosen = {name: values[0] for name, values in action.items()}
        seen = observation
        observation, _, ended, cut, info = env.step(chosen)
        first, over = np.zeros(1, bool), ended or cut
        yield PickStep(env, policy.agents[0], seen, info, over)


def _row(value: Any) -> NDArray[Any]:
    """Return a value as that of a batch of one."""
    return np.array([value], dtype=object) if isinstance(value, str) else np.asarray(value)[None]
