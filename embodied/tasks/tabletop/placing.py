"""Tasks that leave a cube somewhere: push, stack, place in a tray."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from embodied.simulators.bullet import BodyBox
from embodied.tasks.tabletop.cubes import HALF, CubeTask
from embodied.tasks.tabletop.randomisation import COLORS, Layout, LayoutSampler
from embodied.tasks.tabletop.task import Hand, TaskResult, make_pose, proximity_reward, to_local


class PushTask(CubeTask):
    """Push the cube onto the disc without lifting it.

    Randomisation: place and turn of the cube, direction (within 0.6 rad of straight ahead) and
    distance (12 to 18 cm) of the disc; from level 2 on colours, friction, mass, two distractors,
    wording.
    Success: the cube's middle is within 20 mm of the disc's (times the rig's scale), on the table,
    and at rest (slower than 3 cm/s).
    Reward: a third for the hand near the cube, two thirds for the cube near the disc.
    """

    max_steps = 150
    observed = ("cube",)
    colors: ClassVar = {"cube": "blue", "goal": "yellow"}
    phrases = (
        "push the {cube} cube onto the {goal} disc",
        "slide the {cube} cube to the {goal} circle",
        "move the {cube} block over to the {goal} disc without lifting it",
        "shove the {cube} cube until it is on the {goal} disc",
    )

    def build_bodies(self) -> None:
        """Add the cube and the disc."""
        super().build_bodies()
        color = COLORS[self.colors["goal"]]
        self.bodies["goal"] = self.world.add_marker(0.03 * self.scale, color, flat=True)

    def draw_layout(self, sampler: LayoutSampler) -> Layout:
        """Lay the cube, and the disc ahead of it."""
        place = sampler.sample_place((0.05, 0.12), offset=(-0.06, 0.0))
        cube = self.pose_on_table(place, sampler.sample_uniform(-np.pi / 4, np.pi / 4))
        way, angle = (
            self.scale * sampler.sample_uniform(0.12, 0.18),
            sampler.sample_uniform(-0.6, 0.6),
        )
        goal = place + way * np.array([np.cos(angle), np.sin(angle)])
        # Nothing may lie on the way, nor where the hand has to stand to push.
        sampler.reserve_places(goal, (place + goal) / 2, place - 0.6 * (goal - place))
        return self.finish_layout(sampler, {"cube": cube, "goal": make_pose((*goal, 0.001))})

    def evaluate_task(self, hand: Hand) -> TaskResult:
        """See the class."""
        cube = self.get_position("cube")
        distance = float(np.linalg.norm(cube[:2] - self.goal[:2]))
        flat = cube[2] < 1.3 * HALF * self.scale
        if distance < 0.02 * self.scale and flat and self.is_at_rest("cube"):
            return TaskResult(True, 1.0)
        return TaskResult(
            False, (self.reach_reward(hand) + 2 * proximity_reward(distance, self.scale)) / 3
        )


class StackTask(CubeTask):
    """Put one cube on the other (ManiSkill's StackCube).

    Randomisation: places and turns of both cubes; from level 2 on colours, friction, mass, two
    distractors, wording.
    Success: the upper cube stands on the lower one, sideways within half a face's diagonal and
    5 mm, in height within 5 mm (times the rig's scale), at rest and released.
    Reward: a quarter each for the hand near the cube, a grasp, the cube near its place while
    grasped or when there, and its release there.
    """

    max_steps = 150
    observed = ("cube", "base")
    cubes = ("cube", "base")
    colors: ClassVar = {"cube": "red", "base": "green"}
    phrases = (
        "stack the {cube} cube on the {base} cube",
        "put the {cube} cube on top of the {base} cube",
        "place the {cube} block onto the {base} block",
        "pick up the {cube} cube and set it down on the {base} one",
    )

    def draw_layout(self, sampler: LayoutSampler) -> Layout:
        """Lay both cubes."""
        cube = self.pose_on_table(
            sampler.sample_place((0.12, 0.17)), sampler.sample_uniform(-np.pi / 4, np.pi / 4)
        )
        base = self.pose_on_table(
            sampler.sample_place((0.12, 0.17)), sampler.sample_uniform(-np.pi / 4, np.pi / 4)
        )
        goal = base + np.array([0, 0, 2 * HALF * self.scale, 0, 0, 0, 0])
        return self.finish_layout(sampler, {"cube": cube, "base": base, "goal": goal})

    def evaluate_task(self, hand: Hand) -> TaskResult:
        """See the class."""
        off = self.get_position("cube") - self.get_position("base")
        off[2] -= 2 * HALF * self.scale
        slack = 0.005 * self.scale
        there = (
            float(np.linalg.norm(off[:2])) < np.sqrt(2) * HALF * self.scale + slack
            and abs(off[2]) < slack
        )
        held = self.is_held("cube")
        if there and not held and self.is_at_rest("cube"):
            return TaskResult(True, 1.0)
        close = proximity_reward(float(np.linalg.norm(off)), self.scale)
        reward = self.reach_reward(hand) + (held or there) * (1 + close) + there * hand.opening
        return TaskResult(False, reward / 4)


class PlaceTrayTask(CubeTask):
    """Put the cube into the tray.

    Randomisation: place and turn of the cube and of the tray; from level 2 on colours, friction,
    mass, two distractors, wording.
    Success: the cube lies on the tray's floor within its rim, at rest and released.
    Reward: a quarter each for the hand near the cube, a grasp, the cube near the tray's middle
    while grasped or when there, and its release there.
    """

    max_steps = 150
    observed = ("cube", "tray")
    colors: ClassVar = {"cube": "red", "tray": "blue"}
    phrases = (
        "place the {cube} cube in the {tray} tray",
        "put the {cube} cube into the {tray} tray",
        "drop the {cube} block in the {tray} tray",
        "move the {cube} cube to the {tray} box",
    )
    inside = 0.06
    """Half the tray's inner edges at scale 1 [m]."""

    floor = 0.004
    rim = 0.024

    def build_bodies(self) -> None:
        """Add the cube and the tray."""
        super().build_bodies()
        s, inside, thick = self.scale, self.inside * self.scale, 0.004 * self.scale
        color, floor, height = COLORS[self.colors["tray"]], self.floor * s, self.rim * s
        out, side = inside + thick, inside + 2 * thick
        blocks = [BodyBox((side, side, floor / 2), (0, 0, floor / 2), color)]
        for sign in (-1, 1):
            at = sign * out
            blocks += [
                BodyBox((thick, side, height / 2), (at, 0, height / 2), color),
                BodyBox((side, thick, height / 2), (0, at, height / 2), color),
            ]
        self.bodies["tray"] = self.world.add_body(blocks)

    def draw_layout(self, sampler: LayoutSampler) -> Layout:
        """Lay the cube and the tray apart."""
        side = 1.0 if sampler.sample_uniform(-1, 1) >= 0 else -1.0
        tray = sampler.sample_place((0.08, 0.03), offset=(0.0, 0.13 * side))
        goal = make_pose(
            (*tray, (self.floor + HALF) * self.scale), sampler.sample_uniform(-0.6, 0.6)
        )
        place = sampler.sample_place((0.12, 0.05), offset=(0.0, -0.09 * side), clearance=0.14)
        # A distractor must not lie on the tray's rim.
        sampler.reserve_places(
            *(tray + 0.05 * self.scale * np.array(c) for c in ((1, 1), (1, -1), (-1, 1), (-1, -1)))
        )
        cube = self.pose_on_table(place, sampler.sample_uniform(-np.pi / 4, np.pi / 4))
        return self.finish_layout(
            sampler, {"cube": cube, "tray": goal - [0, 0, goal[2], 0, 0, 0, 0], "goal": goal}
        )

    def evaluate_task(self, hand: Hand) -> TaskResult:
        """See the class."""
        local = to_local(self.world.get_pose(self.bodies["tray"]), self.get_position("cube"))
        within = np.abs(local[:2]).max() < self.inside * self.scale
        there = bool(within and local[2] < (self.floor + 1.4 * HALF) * self.scale)
        held = self.is_held("cube")
        if there and not held and self.is_at_rest("cube"):
            return TaskResult(True, 1.0)
        middle = np.array([0.0, 0.0, (self.floor + HALF) * self.scale])
        close = proximity_reward(float(np.linalg.norm(local - middle)), self.scale)
        reward = self.reach_reward(hand) + (held or there) * (1 + close) + there * hand.opening
        return TaskResult(False, reward / 4)
