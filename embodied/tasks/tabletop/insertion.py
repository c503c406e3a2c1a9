"""Insertion tasks: peg and hole, plug and socket."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from embodied.simulators.bullet import BodyBox
from embodied.tasks.tabletop.cubes import CubeTask
from embodied.tasks.tabletop.randomisation import COLORS, Layout, LayoutSampler
from embodied.tasks.tabletop.task import (
    Array,
    Hand,
    TaskResult,
    axes_of,
    make_pose,
    proximity_reward,
    to_local,
)


class InsertTask(CubeTask):
    """Insert a part, its tip first and level, into a fixture that stands on the table.

    The fixture's frame lies at the middle of its mouth, x pointing into it.

    Attributes:
        tip_offset: from the part's middle to its tip along x, at scale 1 [m].
        part_height: height of the part's middle on the table, at scale 1 [m].
        mouth_height: height of the mouth's middle, at scale 1 [m].
        insertion_depth: of the tip that counts as inserted, at scale 1 [m].
        lateral_tolerance: of the tip, most, at scale 1 [m].
    """

    max_steps = 200
    observed = ("part", "fixture")
    subject = "part"
    tip_offset: ClassVar[float]
    part_height: ClassVar[float]
    mouth_height: ClassVar[float]
    insertion_depth: ClassVar[float]
    lateral_tolerance: ClassVar[float]

    def build_bodies(self) -> None:
        """Add part and fixture."""
        self.add_body(
            "part",
            tuple(self.scale_block(b) for b in self.build_part_blocks()),
            0.06 * self.scale**3,
        )
        self.bodies["fixture"] = self.world.add_body(
            [self.scale_block(b) for b in self.build_fixture_blocks()], friction=0.5
        )
        self.add_distractors()

    def build_part_blocks(self) -> list[BodyBox]:
        """Return what the part is made of, at scale 1."""
        raise NotImplementedError

    def build_fixture_blocks(self) -> list[BodyBox]:
        """Return what the fixture is made of, at scale 1."""
        raise NotImplementedError

    def draw_layout(self, sampler: LayoutSampler) -> Layout:
        """Lay the part near the arm and stand the fixture beyond it."""
        fixture = sampler.sample_place((0.03, 0.1), offset=(0.14, 0.0))
        stands = make_pose(
            (*fixture, self.mouth_height * self.scale), sampler.sample_uniform(-0.3, 0.3)
        )
        place = sampler.sample_place((0.05, 0.12), offset=(-0.09, 0.0), clearance=0.16)
        part = make_pose((*place, self.part_height * self.scale), sampler.sample_uniform(-0.5, 0.5))
        into = axes_of(stands)[:2, 0]
        sampler.reserve_places(fixture + 0.05 * into, fixture - 0.06 * into, fixture - 0.12 * into)
        way = axes_of(part)[:2, 0] * 0.05
        sampler.reserve_places(place + way, place - way)
        return self.finish_layout(sampler, {"part": part, "fixture": stands, "goal": stands})

    def tip_in_mouth(self) -> Array:
        """Return where the tip is in the fixture's frame, (3,) [m]; x > 0 is inside."""
        part = self.world.get_pose(self.bodies["part"])
        tip = part[:3] + axes_of(part)[:, 0] * self.tip_offset * self.scale
        return to_local(self.goal, tip)

    def evaluate_task(self, hand: Hand) -> TaskResult:
        """Judge depth, aside and how far along the part is."""
        tip, held = self.tip_in_mouth(), self.is_held("part")
        sideways = float(np.linalg.norm(tip[1:]))
        in_line = sideways < self.lateral_tolerance * self.scale
        if tip[0] > self.insertion_depth * self.scale and in_line:
            return TaskResult(True, 1.0)
        inside = np.clip(tip[0] / (self.insertion_depth * self.scale), 0, 1) * in_line
        close = proximity_reward(float(np.linalg.norm(tip)), self.scale)
        reward = self.reach_reward(hand, "part") + held * (1 + close + float(inside))
        return TaskResult(False, reward / 4)


class PegInsertTask(InsertTask):
    """Put the peg into the hole of the box from the side (ManiSkill's PegInsertionSide).

    Randomisation: place and turn of the peg (24 mm square, 10 cm long) and of the box, whose hole
    is 3 mm wider and higher; from level 2 on colours, friction, mass, two distractors, wording.
    Success: the peg's head is 30 mm past the rim and within 12 mm of the hole's middle (times the
    rig's scale).
    Reward: a quarter each for the hand near the peg, a grasp, the head near the hole while grasped,
    and the share of the way in.
    """

    colors: ClassVar = {"part": "orange", "fixture": "blue"}
    phrases = (
        "insert the {part} peg into the hole of the {fixture} box",
        "put the {part} peg in the {fixture} box",
        "push the {part} stick into the hole in the {fixture} block",
        "pick up the {part} peg and insert it into the {fixture} box",
    )
    tip_offset, part_height, mouth_height, insertion_depth, lateral_tolerance = (
        0.05,
        0.012,
        0.05,
        0.03,
        0.012,
    )

    def build_part_blocks(self) -> list[BodyBox]:
        """Return the peg."""
        return [BodyBox((0.05, 0.012, 0.012), color=COLORS["orange"])]

    def build_fixture_blocks(self) -> list[BodyBox]:
        """Return a box with a hole through it, made of four."""
        hole, length, wide, high = 0.0135, 0.03, 0.05, 0.04
        bottom = (self.mouth_height - hole) / 2
        side, top = (wide - hole) / 2, (high - hole) / 2
        color = COLORS["blue"]
        return [
            BodyBox((length, wide, bottom), (length, 0, -hole - bottom), color),
            BodyBox((length, wide, top), (length, 0, hole + top), color),
            BodyBox((length, side, hole), (length, hole + side, 0), color),
            BodyBox((length, side, hole), (length, -hole - side, 0), color),
        ]


class PlugInTask(InsertTask):
    """Put the plug's two prongs into the socket (ManiSkill's PlugCharger).

    Randomisation: place and turn of the plug and of the socket, whose slots are 2 mm wider and
    higher than the prongs (6 mm square, 18 mm long); from level 2 on colours, friction, mass, two
    distractors, wording.
    Success: the prongs are 14 mm in and within 4 mm of the slots' middle (times the rig's scale).
    Reward: a quarter each for the hand near the plug, a grasp, the prongs near the socket while
    grasped, and the share of the way in.
    """

    colors: ClassVar = {"part": "white", "fixture": "purple"}
    phrases = (
        "plug the {part} charger into the {fixture} socket",
        "put the {part} plug in the {fixture} socket",
        "insert the {part} plug into the {fixture} outlet",
        "pick up the {part} charger and plug it into the {fixture} outlet",
    )
    tip_offset, part_height, mouth_height, insertion_depth, lateral_tolerance = (
        0.043,
        0.0175,
        0.06,
        0.014,
        0.004,
    )
    apart = 0.011  # each prong from the middle

    def build_part_blocks(self) -> list[BodyBox]:
        """Return body and prongs."""
        color, steel = COLORS["white"], (0.7, 0.7, 0.72)
        prong = (0.009, 0.003, 0.003)
        return [
            BodyBox((0.025, 0.0175, 0.0175), color=color),
            BodyBox(prong, (0.034, self.apart, 0), steel),
            BodyBox(prong, (0.034, -self.apart, 0), steel),
        ]

    def build_fixture_blocks(self) -> list[BodyBox]:
        """Return a wall with two slots, made of five boxes."""
        slot, length, wide, high = 0.004, 0.012, 0.045, 0.03
        bottom, top = (self.mouth_height - slot) / 2, (high - slot) / 2
        inner, outer = self.apart - slot, self.apart + slot
        side = (wide - outer) / 2
        color = COLORS["purple"]
        return [
            BodyBox((length, wide, bottom), (length, 0, -slot - bottom), color),
            BodyBox((length, wide, top), (length, 0, slot + top), color),
            BodyBox((length, inner, slot), (length, 0, 0), color),
            BodyBox((length, side, slot), (length, outer + side, 0), color),
            BodyBox((length, side, slot), (length, -outer - side, 0), color),
        ]
