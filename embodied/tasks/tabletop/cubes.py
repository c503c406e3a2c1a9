"""Tasks with cubes and markers: reach, push, pick, stack, place in a tray."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from embodied.simulators.bullet import BodyBox
from embodied.tasks.tabletop.config import Triple
from embodied.tasks.tabletop.randomisation import COLORS, Layout, LayoutSampler
from embodied.tasks.tabletop.task import Array, Hand, Task, TaskResult, make_pose, proximity_reward

HALF = 0.02
"""Half the edge of a cube at scale 1 [m]."""

MASS = 0.08
"""Of a cube at scale 1 [kg]."""

_POST = 0.4  # below the ball of a goal, down to the table and into it [m]
_AREA = (0.12, 0.18)  # half the area that things lie in [m]
_LIES: dict[str, Triple] = {  # half edges of what only distracts, at scale 1 [m]
    "distractor_0": (0.022, 0.022, 0.018),
    "distractor_1": (0.035, 0.015, 0.015),
}


class CubeTask(Task):
    """Cubes on the table, from level 2 on with two things that do not matter."""

    colors: ClassVar[dict[str, str]] = {"cube": "red"}
    """Nominal colour names of what the instruction may name; `goal` is a marker."""

    phrases: ClassVar[tuple[str, ...]] = ()
    """Ways to say the task; {cube}, {goal}, ... are colours."""

    cubes: ClassVar[tuple[str, ...]] = ("cube",)
    """Which of them are cubes."""

    def build_bodies(self) -> None:
        """Add the cubes, and the distractors."""
        for name in self.cubes:
            block = BodyBox((HALF, HALF, HALF), color=COLORS[self.colors[name]])
            self.add_body(name, (self.scale_block(block),), MASS * self.scale**3)
        self.add_distractors()

    def add_distractors(self) -> None:
        """Add things that do not matter, at the levels that have them."""
        if self.level >= 2:
            for name, size in _LIES.items():
                block = self.scale_block(BodyBox(size, color=COLORS["white"]))
                self.add_body(name, (block,), MASS * self.scale**3)

    def scale_block(self, block: BodyBox) -> BodyBox:
        """Return a block given at scale 1 at the rig's scale."""
        half, center = np.multiply((block.half, block.center), self.scale).tolist()
        return BodyBox(tuple(half), tuple(center), block.color)

    def add_body(self, name: str, blocks: tuple[BodyBox, ...], mass: float) -> None:
        """Add a body that moves."""
        self.bodies[name] = self.world.add_body(blocks, mass, friction=0.9)
        self.masses[name] = mass

    def add_ball(self, radius: float) -> None:
        """Add the ball on its post that marks the goal, of a radius at scale 1 [m]."""
        color = COLORS[self.colors["goal"]]
        radius, post = radius * self.scale, _POST * self.scale
        self.bodies["goal"] = self.world.add_marker(radius, color, post=post)

    def finish_layout(self, sampler: LayoutSampler, poses: dict[str, Array]) -> Layout:
        """Finish a layout: distractors, colours, wording."""
        lies = _LIES if self.level >= 2 else {}
        for name, size in lies.items():
            place = sampler.sample_place((0.14, 0.22))
            poses[name] = make_pose(
                (*place, size[2] * self.scale), sampler.sample_uniform(-np.pi, np.pi)
            )
        named = {**self.colors, **dict.fromkeys(lies, "white")}
        chosen = dict(zip(named, sampler.sample_colors(list(named.values())), strict=True))
        text = sampler.sample_phrase(self.phrases).format(**{n: chosen[n] for n in self.colors})
        colors = {name: COLORS[color] for name, color in chosen.items()}
        return sampler.build_layout(text, poses, colors, len(self.rig.model.joints))

    def pose_on_table(self, place: Array, yaw: float = 0.0) -> Array:
        """Return the pose of a cube that lies at a place (2,)."""
        return make_pose((*place, HALF * self.scale), yaw)

    def reach_reward(self, hand: Hand, name: str = "cube") -> float:
        """Return a reward in [0, 1] for the hand at a body."""
        return proximity_reward(
            float(np.linalg.norm(hand.position - self.get_position(name))), self.scale
        )


class ReachTask(CubeTask):
    """Bring the tool to the ball.

    Randomisation: where the ball hangs in the air; from level 2 on its colour, and things below.
    Success: the tool is within 15 mm of the ball's middle (times the rig's scale).
    Reward: 1 - tanh(5 d), d the distance [m].
    """

    max_steps = 60
    subject = "goal"
    cubes = ()
    colors: ClassVar = {"goal": "green"}
    phrases = (
        "move the gripper to the {goal} ball",
        "reach the {goal} ball",
        "bring your hand to the {goal} sphere",
        "touch the {goal} ball with the gripper",
    )

    def build_bodies(self) -> None:
        """Add the ball."""
        super().build_bodies()
        self.add_ball(0.02)

    def draw_layout(self, sampler: LayoutSampler) -> Layout:
        """Hang the ball somewhere."""
        place = sampler.sample_place((0.14, 0.22))
        height = self.scale * sampler.sample_uniform(0.06, 0.34)
        return self.finish_layout(sampler, {"goal": make_pose((*place, height))})

    def evaluate_task(self, hand: Hand) -> TaskResult:
        """See the class."""
        distance = float(np.linalg.norm(hand.position - self.goal[:3]))
        done = distance < 0.015 * self.scale
        return TaskResult(done, 1.0 if done else proximity_reward(distance, self.scale))


class PickTask(CubeTask):
    """Pick the cube up and hold it at the ball (ManiSkill's PickCube).

    Randomisation: place and turn of the cube, place of the ball in the air; from level 2 on
    colours, friction, mass, two distractors, wording.
    Success: the cube's middle is within 25 mm of the ball's (times the rig's scale) and the arm is
    at rest (no joint faster than 0.2 rad/s).
    Reward: a quarter each for the hand near the cube, a grasp, the cube near the ball while grasped
    and the arm at rest there.
    """

    max_steps = 100
    observed = ("cube",)
    colors: ClassVar = {"cube": "red", "goal": "green"}
    phrases = (
        "pick up the {cube} cube and hold it at the {goal} ball",
        "lift the {cube} cube to the {goal} ball",
        "grasp the {cube} block and bring it to the {goal} ball",
        "take the {cube} cube and move it to where the {goal} sphere is",
    )

    def build_bodies(self) -> None:
        """Add the cube and the ball."""
        super().build_bodies()
        self.add_ball(0.02)

    def draw_layout(self, sampler: LayoutSampler) -> Layout:
        """Lay the cube and hang the ball."""
        cube = self.pose_on_table(
            sampler.sample_place(_AREA), sampler.sample_uniform(-np.pi / 4, np.pi / 4)
        )
        goal = sampler.sample_place(_AREA, clearance=0.03)
        height = self.scale * sampler.sample_uniform(0.12, 0.28)
        return self.finish_layout(sampler, {"cube": cube, "goal": make_pose((*goal, height))})

    def evaluate_task(self, hand: Hand) -> TaskResult:
        """See the class."""
        distance = float(np.linalg.norm(self.get_position("cube") - self.goal[:3]))
        close, held = distance < 0.025 * self.scale, self.is_held("cube")
        if close and hand.is_still:
            return TaskResult(True, 1.0)
        reward = self.reach_reward(hand) + held + held * proximity_reward(distance, self.scale)
        return TaskResult(False, (reward + close * (1 - min(1.0, hand.speed))) / 4)
