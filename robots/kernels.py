"""What is asked of every setpoint, compiled: where the tool is, how to brake, what is wrong.

The loop asks this of some 20 setpoints a tick. At this size numpy takes the time of its calls,
100 us for a path, and this takes 7. It is compiled when it is imported, and kept on disk: nothing
is compiled while an arm moves. Unlike the kernels of `maps` it keeps the interpreter's lock, for
whose return a loop might wait longer than it takes.
"""

from __future__ import annotations

from math import ceil, cos, isfinite, sin, sqrt

import numpy as np
from numba import boolean, float64, int64, njit, types, void
from numpy.typing import NDArray

from maps.compiled import announce_compiling

Array = NDArray[np.float64]
announce_compiling()

# What is wrong with a path, by its number.
FINE, NOT_FINITE, POSITION, WORKSPACE, TOOL_SPEED, VELOCITY, ACCELERATION, JERK = range(8)

# Inputs; the limits in force may not be written to.
_ROW, _ROWS, _, _CHAIN = (types.Array(float64, n, "C", readonly=True) for n in (1, 2, 3, 4))


@njit(void(_CHAIN, _ROW, float64[::1]), cache=True)
def transform_point(chain: Array, angles: Array, point: Array) -> None:
    """Carry a point of the last joint's frame to the base.

    Args:
        chain: (J, 3, 3, 4) of each joint its origin O, O [a] and O [a]^2 with the axis' cross
            product [a]: Rodrigues' formula, all but the angle of it known beforehand.
        angles: (J,) [rad].
        point: (3,) [m], overwritten.
    """
    for joint in range(len(chain) - 1, -1, -1):
        x, y, z = point[0], point[1], point[2]
        s, c = sin(angles[joint]), 1 - cos(angles[joint])
        still, first, second = chain[joint, 0], chain[joint, 1], chain[joint, 2]
        for row in range(3):
            point[row] = (
                (still[row, 0] + s * first[row, 0] + c * second[row, 0]) * x
                + (still[row, 1] + s * first[row, 1] + c * second[row, 1]) * y
                + (still[row, 2] + s * first[row, 2] + c * second[row, 2]) * z
                + still[row, 3]
            )


@njit(float64[:, ::1](_CHAIN, _ROW, _ROWS), cache=True)
def compute_tips(chain: Array, tool: Array, angles: Array) -> Array:
    """Return where the tool centre point is, (N, 3) [m].

    Args:
        chain: see `transform_point`.
        tool: (3,) the tool centre point in the last joint's frame [m].
        angles: (N, J) [rad].
    """
    found = np.empty((len(angles), 3))
    for row in range(len(angles)):
        found[row] = tool
        transform_point(chain, angles[row], found[row])
    return found


@njit(boolean(_ROW, _ROWS, float64), cache=True)
def is_inside_box(point: Array, box: Array, slack: float) -> bool:
    """Say whether a point (3,) lies in a box of corners (2, 3) [m], give or take `slack`."""
    for axis in range(3):  # noqa: SIM110 - numba knows no generators here
        if not box[0, axis] - slack <= point[axis] <= box[1, axis] + slack:
            return False
    return True


@njit(float64[:, :, ::1](_ROWS, _ROWS, float64), cache=True)
def plan_braking(start: Array, bounds: Array, period: float) -> Array:
    """Return the fastest way to rest, each joint by itself: (3, K, J), its first row the start.

    The acceleration goes to a peak, may stay there, and returns to zero. A peak P below the bound
    follows from speed v and acceleration a, both seen in its direction, and the jerk j:
    P^2 = a^2 / 2 - j v.

    Args:
        start: (3, J) position [rad], velocity [rad/s], acceleration [rad/s^2].
        bounds: (5, J), see `check_path`.
        period: between rows [s].
    """
    joints = start.shape[1]
    phases, longest = np.empty((joints, 4)), 0.0
    for joint in range(joints):
        v, a = start[1, joint], start[2, joint]
        most, jerk = bounds[3, joint], bounds[4, joint]
        sign = -1.0 if v + a * abs(a) / (2 * jerk) > 0 else 1.0
        v, a = sign * v, sign * a
        peak, hold = sqrt(max(0.0, a * a / 2 - jerk * v)), 0.0
        if peak > most:
            peak, hold = most, max(0.0, (-v - (2 * most * most - a * a) / (2 * jerk)) / most)
        rise, fall = max(0.0, (peak - a) / jerk), peak / jerk
        phases[joint] = sign * jerk, rise, hold, fall
        longest = max(longest, rise + hold + fall)
    found = np.empty((3, 1 + max(1, ceil(longest / period)), joints))
    for joint in range(joints):
        jerk = phases[joint, 0]
        p, v, a = start[0, joint], start[1, joint], start[2, joint]
        phase, begun, end = 0, 0.0, phases[joint, 1]
        for row in range(found.shape[1]):
            # The last row is the end, whatever is lost in rounding.
            while phase < 3 and (row * period >= end or row == found.shape[1] - 1):
                length, j = phases[joint, phase + 1], (1 - phase) * jerk
                p += length * (v + length * (a / 2 + length * j / 6))
                v += length * (a + length * j / 2)
                a += length * j
                phase, begun = phase + 1, end
                end += phases[joint, phase + 1] if phase < 3 else 0.0
            if phase == 3:
                v, a = 0.0, 0.0
            t, j = row * period - begun, (1 - phase) * jerk if phase < 3 else 0.0
            found[0, row, joint] = p + t * (v + t * (a / 2 + t * j / 6))
            found[1, row, joint] = v + t * (a + t * j / 2)
            found[2, row, joint] = a + t * j
    return found


@njit(int64(_ROWS, _ROWS, _CHAIN, _ROW, _ROWS, _ROWS, float64, float64, float64), cache=True)
def check_path(
    before: Array,
    path: Array,
    chain: Array,
    tool: Array,
    bounds: Array,
    box: Array,
    tool_speed: float,
    period: float,
    slack: float,
) -> int:
    """Return the number of the first thing that is wrong with a path, `FINE` if nothing is.

    Args:
        before: (3, J) the setpoints sent last, oldest first [rad].
        path: (K, J) those that would follow, one a period [rad].
        chain: see `transform_point`.
        tool: see `compute_tips`.
        bounds: (5, J) lower, upper [rad], velocity, acceleration and jerk.
        box: (2, 3) corners of the workspace [m].
        tool_speed: at most [m/s].
        period: of the driver [s].
        slack: see `robots.guard.SLACK`.
    """
    count, joints = path.shape
    for row in range(count):
        for joint in range(joints):
            if not isfinite(path[row, joint]):
                return NOT_FINITE
    for row in range(count):
        for joint in range(joints):
            angle = path[row, joint]
            if angle < bounds[0, joint] - slack or angle > bounds[1, joint] + slack:
                return POSITION
    here, there, fast = tool.copy(), np.empty(3), False
    transform_point(chain, before[2], here)
    for row in range(count):
        there[:] = tool
        transform_point(chain, path[row], there)
        if not is_inside_box(there, box, slack):
            return WORKSPACE
        x, y, z = there[0] - here[0], there[1] - here[1], there[2] - here[2]
        fast = fast or sqrt(x * x + y * y + z * z) / period > tool_speed * (1 + slack)
        here[:] = there
    if fast:
        return TOOL_SPEED
    worst = JERK + 1
    for joint in range(joints):
        oldest, older, old = before[0, joint], before[1, joint], before[2, joint]
        v = (old - older) / period
        a = (v - (older - oldest) / period) / period
        for row in range(count):
            new = path[row, joint]
            v_new = (new - old) / period
            a_new = (v_new - v) / period
            steepest = abs(v_new), abs(a_new), abs((a_new - a) / period)
            for order in range(3):
                if steepest[order] > bounds[2 + order, joint] * (1 + slack) + slack / period:
                    worst = min(worst, VELOCITY + order)
            old, v, a = new, v_new, a_new
    return FINE if worst > JERK else worst
