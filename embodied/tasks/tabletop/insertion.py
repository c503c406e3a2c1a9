"""Tasks with things that stand on the table: peg and hole, plug and socket, drawer."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from embodied.simulators.bullet import Block, Slide
from embodied.tasks.tabletop.cubes import CubeTask
from embodied.tasks.tabletop.randomisation import COLORS, Draw, Layout
from embodied.tasks.tabletop.task import Array, Hand, Verdict, axes_of, near, pose, to_local


class InsertTask(CubeTask):
    """Insert a part, its tip first and level, into a fixture that stands on the table.

    The fixture's frame lies at the middle of its mouth, x pointing into it.

    Attributes:
        tip: from the part's middle to its tip along x, at scale 1 [m].
        lies: height of the part's middle on the table, at scale 1 [m].
        mouth: height of the mouth's middle, at scale 1 [m].
        depth: of the tip that counts as inserted, at scale 1 [m].
        aside: of the tip, most, at scale 1 [m].
    """

    max_steps = 200
    observed = ("part", "fixture")
    subject = "part"
    tip: ClassVar[float]
    lies: ClassVar[float]
    mouth: ClassVar[float]
    depth: ClassVar[float]
    aside: ClassVar[float]

    def build(self) -> None:
        """Add part and fixture."""
        self.add("part", tuple(self.scaled(b) for b in self.part_blocks()), 0.06 * self.scale**3)
        self.bodies["fixture"] = self.world.add(
            [self.scaled(b) for b in self.fixture_blocks()], friction=0.5
        )
        self.add_distractors()

    def part_blocks(self) -> list[Block]:
        """Return what the part is made of, at scale 1."""
        raise NotImplementedError

    def fixture_blocks(self) -> list[Block]:
        """Return what the fixture is made of, at scale 1."""
        raise NotImplementedError

    def draw(self, draw: Draw) -> Layout:
        """Lay the part near the arm and stand the fixture beyond it."""
        fixture = draw.spot((0.03, 0.1), offset=(0.14, 0.0))
        stands = pose((*fixture, self.mouth * self.scale), draw.uniform(-0.3, 0.3))
        place = draw.spot((0.05, 0.12), offset=(-0.09, 0.0), clearance=0.16)
        part = pose((*place, self.lies * self.scale), draw.uniform(-0.5, 0.5))
        into = axes_of(stands)[:2, 0]
        draw.occupy(fixture + 0.05 * into, fixture - 0.06 * into, fixture - 0.12 * into)
        way = axes_of(part)[:2, 0] * 0.05
        draw.occupy(place + way, place - way)
        return self.lay(draw, {"part": part, "fixture": stands, "goal": stands})

    def tip_in_mouth(self) -> Array:
        """Return where the tip is in the fixture's frame, (3,) [m]; x > 0 is inside."""
        part = self.world.pose(self.bodies["part"])
        tip = part[:3] + axes_of(part)[:, 0] * self.tip * self.scale
        return to_local(self.goal, tip)

    def judge(self, hand: Hand) -> Verdict:
        """Judge depth, aside and how far along the part is."""
        tip, held = self.tip_in_mouth(), self.held("part")
        sideways = float(np.linalg.norm(tip[1:]))
        in_line = sideways < self.aside * self.scale
        if tip[0] > self.depth * self.scale and in_line:
            return Verdict(True, 1.0)
        inside = np.clip(tip[0] / (self.depth * self.scale), 0, 1) * in_line
        close = near(float(np.linalg.norm(tip)), self.scale)
        reward = self.reached(hand, "part") + held * (1 + close + float(inside))
        return Verdict(False, reward / 4)


class PegInsert(InsertTask):
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
    tip, lies, mouth, depth, aside = 0.05, 0.012, 0.05, 0.03, 0.012

    def part_blocks(self) -> list[Block]:
        """Return the peg."""
        return [Block((0.05, 0.012, 0.012), color=COLORS["orange"])]

    def fixture_blocks(self) -> list[Block]:
        """Return a box with a hole through it, made of four."""
        hole, length, wide, high = 0.0135, 0.03, 0.05, 0.04
        bottom = (self.mouth - hole) / 2
        side, top = (wide - hole) / 2, (high - hole) / 2
        color = COLORS["blue"]
        return [
            Block((length, wide, bottom), (length, 0, -hole - bottom), color),
            Block((length, wide, top), (length, 0, hole + top), color),
            Block((length, side, hole), (length, hole + side, 0), color),
            Block((length, side, hole), (length, -hole - side, 0), color),
        ]


class PlugIn(InsertTask):
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
    tip, lies, mouth, depth, aside = 0.043, 0.0175, 0.06, 0.014, 0.004
    apart = 0.011  # each prong from the middle

    def part_blocks(self) -> list[Block]:
        """Return body and prongs."""
        color, steel = COLORS["white"], (0.7, 0.7, 0.72)
        prong = (0.009, 0.003, 0.003)
        return [
            Block((0.025, 0.0175, 0.0175), color=color),
            Block(prong, (0.034, self.apart, 0), steel),
            Block(prong, (0.034, -self.apart, 0), steel),
        ]

    def fixture_blocks(self) -> list[Block]:
        """Return a wall with two slots, made of five boxes."""
        slot, length, wide, high = 0.004, 0.012, 0.045, 0.03
        bottom, top = (self.mouth - slot) / 2, (high - slot) / 2
        inner, outer = self.apart - slot, self.apart + slot
        side = (wide - outer) / 2
        color = COLORS["purple"]
        return [
            Block((length, wide, bottom), (length, 0, -slot - bottom), color),
            Block((length, wide, top), (length, 0, slot + top), color),
            Block((length, inner, slot), (length, 0, 0), color),
            Block((length, side, slot), (length, outer + side, 0), color),
            Block((length, side, slot), (length, -outer - side, 0), color),
        ]


class Drawer(CubeTask):
    """Pull the drawer open by its handle (ManiSkill's OpenCabinetDrawer).

    Randomisation: place and turn of the cabinet; from level 2 on colours, mass, two distractors,
    wording.
    Success: the drawer is more than 12 cm open (times the rig's scale) and slower than 10 cm/s.
    Reward: a third each for the hand near the handle, holding it, and the share of the way.
    """

    max_steps = 150
    observed = ("cabinet",)
    subject = "cabinet"
    colors: ClassVar = {"cabinet": "white"}
    phrases = (
        "open the drawer of the {cabinet} cabinet",
        "pull the drawer of the {cabinet} cabinet open",
        "slide out the drawer in the {cabinet} cabinet",
        "grab the handle of the {cabinet} cabinet and pull it",
    )
    height = 0.062
    """Of the handle above the table, at scale 1 [m]."""

    handle = 0.065
    """From the cabinet's front to the handle's middle, at scale 1 [m]."""

    opened = 0.12
    travel = 0.17

    def build(self) -> None:
        """Add the cabinet; its frame lies on the table below the middle of its front."""
        color, steel = COLORS["white"], (0.35, 0.35, 0.38)
        wide, deep, high, thick = 0.11, 0.1, 0.042, 0.005
        shell = [
            Block((deep, wide, thick), (deep, 0, thick), color),
            Block((deep, wide, thick), (deep, 0, 2 * high - thick), color),
            Block((deep, thick, high), (deep, wide - thick, high), color),
            Block((deep, thick, high), (deep, -wide + thick, high), color),
            Block((thick, wide, high), (2 * deep - thick, 0, high), color),
        ]
        z, out, post = self.height, self.handle, self.handle / 2
        drawer = [
            Block((0.006, wide - 0.014, high - 0.014), (0.006, 0, high), (0.8, 0.78, 0.72)),
            Block((0.08, wide - 0.02, 0.004), (0.09, 0, 0.02), (0.8, 0.78, 0.72)),
            Block((0.006, 0.05, 0.006), (-out, 0, z), steel),
            Block((post, 0.005, 0.005), (-post, 0.045, z), steel),
            Block((post, 0.005, 0.005), (-post, -0.045, z), steel),
        ]
        slide = Slide(
            tuple(self.scaled(b) for b in drawer), self.slide_mass, self.travel * self.scale
        )
        self.bodies["cabinet"] = self.world.add([self.scaled(b) for b in shell], slide=slide)
        self.add_distractors()

    @property
    def slide_mass(self) -> float:
        """Nominal mass of the drawer [kg]."""
        return 0.4 * self.scale**3

    @property
    def objects_size(self) -> int:
        """Numbers in the privileged observation: the way the drawer is open comes last."""
        return super().objects_size + 1

    def objects(self) -> NDArray[np.float32]:
        """Return poses (7,) of the cabinet and of the handle's goal, and the opening [m]."""
        return np.append(super().objects(), np.float32(self.opening))

    @property
    def opening(self) -> float:
        """How far the drawer is open [m]."""
        return self.world.travel(self.bodies["cabinet"])

    def draw(self, draw: Draw) -> Layout:
        """Stand the cabinet beyond the middle, its front to the arm."""
        place = draw.spot((0.03, 0.09), offset=(0.16, 0.0))
        cabinet = pose((*place, 0.0), draw.uniform(-0.25, 0.25))
        out = -axes_of(cabinet)[:2, 0] * self.scale
        for way in (0.0, 0.06, 0.12, 0.2):
            draw.occupy(place + way * out)
        end = place + (self.handle + self.opened) * out
        goal = pose((*end, self.height * self.scale), 0.0)
        return self.lay(draw, {"cabinet": cabinet, "goal": goal})

    def begin(self, layout: Layout) -> None:
        """Close the drawer too."""
        super().begin(layout)
        cabinet = self.bodies["cabinet"]
        self.world.set_mass(cabinet, self.slide_mass * layout.mass, slide=True)
        self.world.set_travel(cabinet, 0.0)

    def handle_pose(self) -> Array:
        """Return where the handle's middle is, turned as the cabinet, (7,)."""
        cabinet = self.world.pose(self.bodies["cabinet"])
        local = np.array([-self.handle * self.scale - self.opening, 0.0, self.height * self.scale])
        return np.concatenate([cabinet[:3] + axes_of(cabinet) @ local, cabinet[3:]])

    def approached(self) -> Array:
        """Return the handle's middle."""
        return self.handle_pose()[:3]

    def judge(self, hand: Hand) -> Verdict:
        """See the class."""
        share = self.opening / (self.opened * self.scale)
        if share > 1 and self.world.travel_speed(self.bodies["cabinet"]) < 0.1:
            return Verdict(True, 1.0)
        reached = near(float(np.linalg.norm(hand.position - self.handle_pose()[:3])), self.scale)
        return Verdict(False, (reached + self.held("cabinet") + min(1.0, max(0.0, share))) / 3)
