"""Where an expert's hand should go now, for each task, from the true state and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from embodied.tasks.tabletop.cubes import HALF, PickTask, ReachTask
from embodied.tasks.tabletop.drawer import DrawerTask
from embodied.tasks.tabletop.insertion import InsertTask
from embodied.tasks.tabletop.placing import PlaceTrayTask, PushTask, StackTask
from embodied.tasks.tabletop.task import Array, Hand, axes_of, to_local, yaw_of

_PUSHING = 0.2  # opening of the fingers that push: two edges steady a cube, a corner cannot wedge
_CARRY = 0.05  # above where a thing belongs while it comes from aside, at scale 1 [m]
_HOVER = 0.07  # above a thing before going down to it, at scale 1 [m]
_IN_LINE = (0.006, 0.1)  # hand aside of the thing [m] and turned from it [rad]: straight down
_OUT_OF_LINE = (0.02, 0.5)  # by so much more it hovers


class ExpertTarget(NamedTuple):
    """Where the hand should go now.

    Attributes:
        position: (3,) of the tool [m].
        yaw: of the gripper about the vertical [rad].
        opening: of the gripper in [0, 1].
        pitch: of the gripper about the axis its fingers close along, before the yaw [rad].
    """

    position: Array
    yaw: float
    opening: float
    pitch: float = 0.0


def plan_reach(task: ReachTask, hand: Hand) -> ExpertTarget:
    """Go to the ball."""
    return ExpertTarget(task.goal[:3], 0.0, 0.0)


def plan_pick(task: PickTask, hand: Hand) -> ExpertTarget:
    """Grasp the cube and carry it to the ball."""
    cube = task.world.get_pose(task.bodies["cube"])
    if task.is_held("cube"):
        return ExpertTarget(
            task.goal[:3] + hand.position - cube[:3], wrap_quarter_turn(yaw_of(cube)), 0.0
        )
    return plan_grasp(cube, hand, task.scale)


def plan_push(task: PushTask, hand: Hand) -> ExpertTarget:
    """Come down behind the cube with fingers a little open, which keep it from turning, and push.

    As with `plan_grasp`, where to aim changes smoothly with where the hand is: how far it is from
    behind the cube says how high it goes, and how low and how well in line how much it pushes.
    """
    s, cube = task.scale, task.get_position("cube")
    if cube[2] > 1.3 * HALF * s:  # it hangs between the fingers all the same
        return ExpertTarget(hand.position, yaw_of_hand(hand), 1.0)
    way = task.goal[:2] - cube[:2]
    far = float(np.linalg.norm(way))
    ahead = way / max(far, 1e-6)
    aside = np.array([-ahead[1], ahead[0]])
    off, height = (hand.position[:2] - cube[:2]) / s, float(hand.position[2]) / s
    along, lateral = float(off @ ahead), float(off @ aside)
    # Low, it may touch the cube; from above, it comes down clear of it.
    front = -0.045 + 0.025 * _share(0.06 - height, 0.03)
    astray = float(
        np.hypot(max(along - front, -0.075 - along, 0.0), max(abs(lateral) - 0.008, 0.0))
    )
    stand = (-0.055 - along) * ahead - lateral * aside
    # Across it goes only where the cube is not in the way.
    free = max(
        _share(height - 0.05, 0.02),
        _share(float(np.linalg.norm(off)) - 0.038, 0.01),
        _share(-0.02 - along, 0.01),
    )
    pushes = (1 - _share(astray, 0.01)) * (1 - _share(height - 0.035, 0.02))
    onward = way / s - lateral * aside if far > 0.006 * s else 0 * way
    to = pushes * onward + (1 - pushes) * free * stand
    aim = np.array([*(hand.position[:2] + to * s), (0.028 + 0.072 * _share(astray, 0.02)) * s])
    return ExpertTarget(aim, float(np.arctan2(ahead[1], ahead[0])), _PUSHING)


def plan_stack(task: StackTask, hand: Hand) -> ExpertTarget:
    """Grasp one cube, set it down on the other, let go and rise."""
    base = task.world.get_pose(task.bodies["base"])
    goal = base[:3] + np.array([0, 0, 2 * HALF * task.scale])
    return plan_set_down(task, hand, goal, wrap_quarter_turn(yaw_of(base)), (0.010, 0.008))


def plan_place_tray(task: PlaceTrayTask, hand: Hand) -> ExpertTarget:
    """Grasp the cube, set it down in the middle of the tray, let go and rise."""
    tray = task.world.get_pose(task.bodies["tray"])
    return plan_set_down(task, hand, task.goal[:3], wrap_quarter_turn(yaw_of(tray)), (0.012, 0.015))


def plan_set_down(
    task: StackTask | PlaceTrayTask, hand: Hand, goal: Array, yaw: float, slack: tuple[float, float]
) -> ExpertTarget:
    """Bring the cube over a goal, down the more the better it is in line, and let go.

    Args:
        task: with the cube.
        hand: as it is now.
        goal: (3,) where the cube belongs [m].
        yaw: of the gripper there [rad].
        slack: how far aside is in line, and how far above it may fall, at scale 1 [m].
    """
    s, cube = task.scale, task.world.get_pose(task.bodies["cube"])
    in_line, drop = slack
    off = goal - cube[:3]
    aside = float(np.linalg.norm(off[:2])) / s
    if aside < in_line + 0.007 and -off[2] < drop * s:
        released = hand.opening > 0.7 and not task.is_held("cube")
        return ExpertTarget(hand.position + [0, 0, 0.05 * s * released], yaw_of_hand(hand), 1.0)
    if not task.is_held("cube"):
        return plan_grasp(cube, hand, s)
    height = _CARRY * _share(aside - in_line, _OUT_OF_LINE[0])
    # Up first, then across, so that nothing on the way is hit.
    risen = -off[2] > (_CARRY - 0.02) * s or aside < 0.03
    to = np.array([*(off[:2] if risen else 0 * off[:2]), off[2] + height * s])
    return ExpertTarget(hand.position + to, yaw, 0.0)


def plan_insert(task: InsertTask, hand: Hand) -> ExpertTarget:
    """Grasp the part, line it up before the mouth, and go in along the axis."""
    s, part = task.scale, task.world.get_pose(task.bodies["part"])
    mouth = axes_of(task.goal)
    yaw = yaw_of(task.goal)
    if not task.is_held("part"):
        return plan_grasp(part, hand, s, turns=np.pi)
    tip = task.tip_in_mouth()
    # The hand turns by what the part lacks: it may lie askew between the fingers.
    turn = _half(yaw - yaw_of(part))
    droop = float(np.arcsin(np.clip(axes_of(part)[2, 0], -1, 1)))
    hand_yaw, pitch = yaw_of_hand(hand) + turn, pitch_of_hand(hand) + droop
    aligned = np.abs(tip[1:]).max() < 0.0012 * s and abs(turn) < 0.03 and abs(droop) < 0.03
    if tip[0] > -0.002 * s or (aligned and tip[0] > -0.03 * s):
        to = np.array([min(tip[0] + 0.02 * s, task.insertion_depth * s * 1.3), 0.0, 0.0]) - tip
        return ExpertTarget(hand.position + mouth @ to, hand_yaw, 0.0, pitch)
    before = np.array([-0.018 * s, 0.0, 0.0])
    if tip[0] > -0.018 * s or np.linalg.norm(tip[1:]) > 0.02 * s:
        before[0] = -0.04 * s
    if abs(tip[2]) > 0.02 * s and np.linalg.norm(tip - before) > 0.03 * s:
        before[:2] = tip[:2]  # up first
    return ExpertTarget(hand.position + mouth @ (before - tip), hand_yaw, 0.0, pitch)


def plan_drawer(task: DrawerTask, hand: Hand) -> ExpertTarget:
    """Straddle the handle from above, close, and pull along the drawer's axis."""
    s, handle = task.scale, task.handle_pose()
    yaw = yaw_of(handle) - np.pi / 2
    local = to_local(handle, hand.position)
    if abs(local[0]) < 0.012 * s and abs(local[2]) < 0.012 * s and task.is_held("cabinet"):
        left = (task.opened + 0.02) * s - task.opening
        to = np.array([-min(0.05 * s, left), -local[1], -local[2]])
        return ExpertTarget(hand.position + axes_of(handle) @ to, yaw, 0.0)
    return plan_grasp(handle, hand, s, turns=np.pi, offset=-np.pi / 2)


def plan_grasp(
    thing: Array, hand: Hand, scale: float, turns: float = np.pi / 2, offset: float = 0.0
) -> ExpertTarget:
    """Come from above, go down the more the better it is in line, close.

    Where to aim is a continuous function of the hand's pose, which a policy that sees with some
    error can imitate; a height that jumps at a threshold it would straddle.

    Args:
        thing: (7,) pose of what to grasp.
        hand: as it is now.
        scale: of the rig.
        turns: after which the thing looks the same to the fingers [rad].
        offset: of the gripper's yaw from the thing's [rad].
    """
    yaw = _nearest(yaw_of(thing), turns) + offset
    error = hand.position - thing[:3]
    aside = float(np.linalg.norm(error[:2])) / scale
    turned = abs(_nearest(yaw_of_hand(hand) - yaw, turns))
    off = max((aside - _IN_LINE[0]) / _OUT_OF_LINE[0], (turned - _IN_LINE[1]) / _OUT_OF_LINE[1])
    height = _HOVER * scale * _share(off, 1.0)
    closing = error[2] < 0.006 * scale and aside < 0.014
    return ExpertTarget(thing[:3] + np.array([0, 0, height]), yaw, 0.0 if closing else 1.0)


def yaw_of_hand(hand: Hand) -> float:
    """Return the gripper's turn about the vertical [rad]."""
    return float(np.arctan2(hand.pose[1, 0], hand.pose[0, 0]))


def pitch_of_hand(hand: Hand) -> float:
    """Return the gripper's pitch, positive when it points backwards [rad]."""
    return float(np.arcsin(np.clip(-hand.pose[2, 0], -1, 1)))


def wrap_quarter_turn(angle: float) -> float:
    """Return an angle less whole quarter turns: a cube looks the same after one."""
    return _nearest(angle, np.pi / 2)


def _share(value: float, full: float) -> float:
    """Return how much of `full` a value is, within [0, 1]."""
    return min(max(value / full, 0.0), 1.0)


def _half(angle: float) -> float:
    return _nearest(angle, np.pi)


def _nearest(angle: float, turns: float) -> float:
    """Return an angle [rad] less whole `turns`, nearest to zero."""
    return float((angle + turns / 2) % turns - turns / 2)


EXPERT_PLANNERS: dict[str, Callable[[Any, Hand], ExpertTarget]] = {
    "reach": plan_reach,
    "push": plan_push,
    "pick": plan_pick,
    "stack": plan_stack,
    "place_tray": plan_place_tray,
    "peg_insert": plan_insert,
    "drawer": plan_drawer,
    "plug_in": plan_insert,
}
"""task -> function(task, hand)."""
