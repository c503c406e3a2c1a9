"""Tasks that leave a cube somewhere: push, stack, place in a tray."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from embodied.simulators.bullet import Block
from embodied.tasks.tabletop.cubes import HALF, CubeTask
from embodied.tasks.tabletop.randomisation import COLORS, Draw, Layout
from embodied.tasks.tabletop.task import Hand, Verdict, near, pose, to_local


class Push(CubeTask):
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

    def build(self) -> None:
        """Add the cube and the disc."""
        super().build()
        color = COLORS[self.colors["goal"]]
        self.bodies["goal"] = self.world.marker(0.03 * self.scale, color, flat=True)

    def draw(self, draw: Draw) -> Layout:
        """Lay the cube, and the disc ahead of it."""
        place = draw.spot((0.05, 0.12), offset=(-0.06, 0.0))
        cube = self.on_table(place, draw.uniform(-np.pi / 4, np.pi / 4))
        way, angle = self.scale * draw.uniform(0.12, 0.18), draw.uniform(-0.6, 0.6)
        goal = place + way * np.array([np.cos(angle), np.sin(angle)])
        # Nothing may lie on the way, nor where the hand has to stand to push.
        draw.occupy(goal, (place + goal) / 2, place - 0.6 * (goal - place))
        return self.lay(draw, {"cube": cube, "goal": pose((*goal, 0.001))})

    def judge(self, hand: Hand) -> Verdict:
        """See the class."""
        cube = self.position("cube")
        distance = float(np.linalg.norm(cube[:2] - self.goal[:2]))
        flat = cube[2] < 1.3 * HALF * self.scale
        if distance < 0.02 * self.scale and flat and self.at_rest("cube"):
            return Verdict(True, 1.0)
        return Verdict(False, (self.reached(hand) + 2 * near(distance, self.scale)) / 3)


class Stack(CubeTask):
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

    def draw(self, draw: Draw) -> Layout:
        """Lay both cubes."""
        cube = self.on_table(draw.spot((0.12, 0.17)), draw.uniform(-np.pi / 4, np.pi / 4))
        base = self.on_table(draw.spot((0.12, 0.17)), draw.uniform(-np.pi / 4, np.pi / 4))
        goal = base + np.array([0, 0, 2 * HALF * self.scale, 0, 0, 0, 0])
        return self.lay(draw, {"cube": cube, "base": base, "goal": goal})

    def judge(self, hand: Hand) -> Verdict:
        """See the class."""
        off = self.position("cube") - self.position("base")
        off[2] -= 2 * HALF * self.scale
        slack = 0.005 * self.scale
        there = (
            float(np.linalg.norm(off[:2])) < np.sqrt(2) * HALF * self.scale + slack
            and abs(off[2]) < slack
        )
        held = self.held("cube")
        if there and not held and self.at_rest("cube"):
            return Verdict(True, 1.0)
        close = near(float(np.linalg.norm(off)), self.scale)
        reward = self.reached(hand) + (held or there) * (1 + close) + there * hand.opening
        return Verdict(False, reward / 4)


class PlaceTray(CubeTask):
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

    def build(self) -> None:
        """Add the cube and the tray."""
        super().build()
        s, inside, thick = self.scale, self.inside * self.scale, 0.004 * self.scale
        color, floor, height = COLORS[self.colors["tray"]], self.floor * s, self.rim * s
        out, side = inside + thick, inside + 2 * thick
        blocks = [Block((side, side, floor / 2), (0, 0, floor / 2), color)]
        for sign in (-1, 1):
            at = sign * out
            blocks += [
                Block((thick, side, height / 2), (at, 0, height / 2), color),
                Block((side, thick, height / 2), (0, at, height / 2), color),
            ]
        self.bodies["tray"] = self.world.add(blocks)

    def draw(self, draw: Draw) -> Layout:
        """Lay the cube and the tray apart."""
        side = 1.0 if draw.uniform(-1, 1) >= 0 else -1.0
        tray = draw.spot((0.08, 0.03), offset=(0.0, 0.13 * side))
        goal = pose((*tray, (self.floor + HALF) * self.scale), draw.uniform(-0.6, 0.6))
        place = draw.spot((0.12, 0.05), offset=(0.0, -0.09 * side), clearance=0.14)
        # A distractor must not lie on the tray's rim.
        draw.occupy(
            *(tray + 0.05 * self.scale * np.array(c) for c in ((1, 1), (1, -1), (-1, 1), (-1, -1)))
        )
        cube = self.on_table(place, draw.uniform(-np.pi / 4, np.pi / 4))
        return self.lay(
            draw, {"cube": cube, "tray": goal - [0, 0, goal[2], 0, 0, 0, 0], "goal": goal}
        )

    def judge(self, hand: Hand) -> Verdict:
        """See the class."""
        local = to_local(self.world.pose(self.bodies["tray"]), self.position("cube"))
        within = np.abs(local[:2]).max() < self.inside * self.scale
        there = bool(within and local[2] < (self.floor + 1.4 * HALF) * self.scale)
        held = self.held("cube")
        if there and not held and self.at_rest("cube"):
            return Verdict(True, 1.0)
        middle = np.array([0.0, 0.0, (self.floor + HALF) * self.scale])
        close = near(float(np.linalg.norm(local - middle)), self.scale)
        reward = self.reached(hand) + (held or there) * (1 + close) + there * hand.opening
        return Verdict(False, reward / 4)
