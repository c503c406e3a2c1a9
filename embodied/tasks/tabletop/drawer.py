"""The task with a drawer that stands on the table."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from embodied.simulators.bullet import BodyBox, SlidingPart
from embodied.tasks.tabletop.cubes import CubeTask
from embodied.tasks.tabletop.randomisation import COLORS, Layout, LayoutSampler
from embodied.tasks.tabletop.task import (
    Array,
    Hand,
    TaskResult,
    axes_of,
    make_pose,
    proximity_reward,
)


class DrawerTask(CubeTask):
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

    def build_bodies(self) -> None:
        """Add the cabinet; its frame lies on the table below the middle of its front."""
        color, steel = COLORS["white"], (0.35, 0.35, 0.38)
        wide, deep, high, thick = 0.11, 0.1, 0.042, 0.005
        shell = [
            BodyBox((deep, wide, thick), (deep, 0, thick), color),
            BodyBox((deep, wide, thick), (deep, 0, 2 * high - thick), color),
            BodyBox((deep, thick, high), (deep, wide - thick, high), color),
            BodyBox((deep, thick, high), (deep, -wide + thick, high), color),
            BodyBox((thick, wide, high), (2 * deep - thick, 0, high), color),
        ]
        z, out, post = self.height, self.handle, self.handle / 2
        drawer = [
            BodyBox((0.006, wide - 0.014, high - 0.014), (0.006, 0, high), (0.8, 0.78, 0.72)),
            BodyBox((0.08, wide - 0.02, 0.004), (0.09, 0, 0.02), (0.8, 0.78, 0.72)),
            BodyBox((0.006, 0.05, 0.006), (-out, 0, z), steel),
            BodyBox((post, 0.005, 0.005), (-post, 0.045, z), steel),
            BodyBox((post, 0.005, 0.005), (-post, -0.045, z), steel),
        ]
        slide = SlidingPart(
            tuple(self.scale_block(b) for b in drawer), self.slide_mass, self.travel * self.scale
        )
        self.bodies["cabinet"] = self.world.add_body(
            [self.scale_block(b) for b in shell], slide=slide
        )
        self.add_distractors()

    @property
    def slide_mass(self) -> float:
        """Nominal mass of the drawer [kg]."""
        return 0.4 * self.scale**3

    @property
    def objects_size(self) -> int:
        """Numbers in the privileged observation: the way the drawer is open comes last."""
        return super().objects_size + 1

    def observe_objects(self) -> NDArray[np.float32]:
        """Return poses (7,) of the cabinet and of the handle's goal, and the opening [m]."""
        return np.append(super().observe_objects(), np.float32(self.opening))

    @property
    def opening(self) -> float:
        """How far the drawer is open [m]."""
        return self.world.get_travel(self.bodies["cabinet"])

    def draw_layout(self, sampler: LayoutSampler) -> Layout:
        """Stand the cabinet beyond the middle, its front to the arm."""
        place = sampler.sample_place((0.03, 0.09), offset=(0.16, 0.0))
        cabinet = make_pose((*place, 0.0), sampler.sample_uniform(-0.25, 0.25))
        out = -axes_of(cabinet)[:2, 0] * self.scale
        for way in (0.0, 0.06, 0.12, 0.2):
            sampler.reserve_places(place + way * out)
        end = place + (self.handle + self.opened) * out
        goal = make_pose((*end, self.height * self.scale), 0.0)
        return self.finish_layout(sampler, {"cabinet": cabinet, "goal": goal})

    def apply_layout(self, layout: Layout) -> None:
        """Close the drawer too."""
        super().apply_layout(layout)
        cabinet = self.bodies["cabinet"]
        self.world.set_mass(cabinet, self.slide_mass * layout.mass_scale, slide=True)
        self.world.set_travel(cabinet, 0.0)

    def handle_pose(self) -> Array:
        """Return where the handle's middle is, turned as the cabinet, (7,)."""
        cabinet = self.world.get_pose(self.bodies["cabinet"])
        local = np.array([-self.handle * self.scale - self.opening, 0.0, self.height * self.scale])
        return np.concatenate([cabinet[:3] + axes_of(cabinet) @ local, cabinet[3:]])

    def get_approach_point(self) -> Array:
        """Return the handle's middle."""
        return self.handle_pose()[:3]

    def evaluate_task(self, hand: Hand) -> TaskResult:
        """See the class."""
        share = self.opening / (self.opened * self.scale)
        if share > 1 and self.world.get_travel_speed(self.bodies["cabinet"]) < 0.1:
            return TaskResult(True, 1.0)
        reached = proximity_reward(
            float(np.linalg.norm(hand.position - self.handle_pose()[:3])), self.scale
        )
        return TaskResult(
            False, (reached + self.is_held("cabinet") + min(1.0, max(0.0, share))) / 3
        )
