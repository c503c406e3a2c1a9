"""The bridge: the only place that moves an arm.

A loop of fixed rate reads the arm, checks that all is well, takes one checked step towards the
newest target and sends it. Whatever asks for motion goes through `submit`, and `submit` through the
guard. Anybody may call `hold` and `stop`; only the one who armed the bridge may command it.
`robots.state_machine` has the states.
"""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol, Self

import numpy as np

from robots.arm import Arm, ArmState, Setpoint, StopCategory
from robots.bridge_status import BridgeStatus
from robots.errors import BridgeError, DeviceError, RobotError
from robots.guard import Verdict, VerdictReason, check_command, refuse_command
from robots.intent import Command, CommandKind
from robots.kinematics import Kinematics
from robots.limits import SafetyConfig, build_arm_limits
from robots.model import ArmModel
from robots.pace import LoopTimer, freeze_gc, request_realtime
from robots.shaper import Shaper
from robots.state_machine import ArmStateMachine, BridgeState


class EventLog(Protocol):
    """Takes note of what happens; must return at once. `robots.recorder.Recorder` is one."""

    def record_message(self, kind: str, stamp: float, fields: Mapping[str, Any]) -> None:
        """Take note of one thing, `kind` "state", "setpoint", "verdict" or "event"."""
        ...


class Bridge:
    """Moves one arm. As a context manager it connects and starts, and stops on exit.

    Args:
        device: a driver.
        model: of the arm; its joints must be the driver's.
        safety: how careful to be.
        log: takes note of states, setpoints, verdicts and events.
        clock: monotonic [s].
        sleep: waits so many seconds.
        pulse: told True every tick, and False when the loop ends; see `robots.supervisor`.

    Raises:
        RobotError: driver and model disagree.
    """

    def __init__(
        self,
        device: Arm,
        model: ArmModel,
        safety: SafetyConfig,
        log: EventLog | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        pulse: Callable[[bool], None] = lambda beats: None,
    ) -> None:
        if len(device.features.joints) != len(model.joints):
            raise RobotError(
                f"the driver has {len(device.features.joints)} joints, the model '{model.name}' "
                f"{len(model.joints)}: choose the model of this arm"
            )
        self.device, self.model, self.log = device, model, log
        self.limits = build_arm_limits(model, safety)
        self.kinematics = Kinematics(model)
        self.period = 1.0 / device.features.rate
        self.state_machine = ArmStateMachine(self.limits)
        self._clock, self._sleep, self._pulse = clock, sleep, pulse
        self._shaper = Shaper(self.limits, self.kinematics, self.period)
        self._measured: ArmState | None = None
        self._sent: Setpoint | None = None
        self._first = True  # the next setpoint is the first since somebody took command
        self._ticked: float | None = None
        self._pace = LoopTimer(self.period, clock, sleep)
        self._ending = threading.Event()
        self._thread: threading.Thread | None = None
        # A tick and what changes the shaper's starting point exclude each other.
        self._ticking = threading.Lock()

    def arm(self, owner: str) -> str:
        """Take command of the arm.

        Args:
            owner: who; shown to people.

        Returns:
            The token that `submit` wants.

        Raises:
            BridgeError: in fault, somebody else is in command, or nothing was measured yet.
        """
        with self._ticking:
            if self._measured is None:
                raise BridgeError("nothing has been measured yet: start() the bridge first")
            token = self.state_machine.arm(owner)
            self._shaper.reset(self._measured.positions)
            self._first = True
            self._note("event", {"event": "armed", "owner": owner})  # before the first setpoint
        return token

    def disarm(self, token: str) -> None:
        """Give up command; the arm brakes and is left holding.

        Raises:
            BridgeError: not in command.
        """
        if not self.state_machine.is_in_command(token):
            raise BridgeError("not in command: arm() first and use its token")
        self.stop(StopCategory.STOP_AND_HOLD)

    def submit_command(self, token: str, command: Command) -> Verdict:
        """Ask for motion.

        Never raises for what the command says: whatever is wrong with it is in the verdict, in the
        log and in the counts.

        Args:
            token: of `arm`.
            command: what is wanted.
        """
        now = self._clock()
        verdict = self.state_machine.find_objection(token) or self._judge(command, now)
        verdict = self.state_machine.accept_verdict(token, command, verdict, now)
        asked = command.values
        self._note(
            "verdict",
            {
                "kind": str(command.kind),
                "asked": asked.tolist() if asked.dtype.kind in "fiu" and asked.size < 100 else [],
                "age": now - command.observation_stamp,
                "outcome": str(verdict.outcome),
                "reason": str(verdict.reason),
                "detail": verdict.detail,
            },
            now,  # before the loop can act on it: by now it may have
        )
        return verdict

    def hold(self) -> None:
        """Brake and hold; commands are refused until `resume`. For everybody, needs no token."""
        self.state_machine.hold()
        self._note("event", {"event": "hold"})

    def resume(self) -> None:
        """Let commands through again after `hold`."""
        self.state_machine.resume()
        self._note("event", {"event": "resume"})

    def stop(self, category: StopCategory = StopCategory.STOP_AND_HOLD) -> None:
        """Stop, and take command away from whoever has it; for everybody, needs no token.

        `STOP_AND_HOLD` brakes along a checked path; the others are the device's own stops.
        """
        self.state_machine.request_stop(category)
        self._note("event", {"event": "stop", "category": int(category)})

    def reset(self) -> None:
        """Clear a fault once its cause is gone; motion needs `arm` after that.

        Raises:
            BridgeError: not in fault, or the arm is still not well.
            DeviceError: the arm does not answer.
        """
        if self.state_machine.state is not BridgeState.FAULT:
            raise BridgeError(f"nothing to reset: the bridge is {self.state_machine.state}")
        with self._ticking:
            self.device.recover()
            measured = self.device.state()
            wrong = self._wrong_with(measured, self._clock())
            if wrong:
                raise BridgeError(f"still in fault: {wrong}")
            self._measured, self._ticked = measured, None
            self.state_machine.reset()
        self._note("event", {"event": "reset"})

    def get_status(self) -> BridgeStatus:
        """Return what there is to see."""
        commander, shaper = self.state_machine, self._shaper
        command = commander.state, commander.fault, commander.owner, commander.held
        arm = self._measured, self._sent, shaper.blocked_reason
        return BridgeStatus(
            *command,
            *arm,
            commander.verdict_counts,
            commander.recent_verdicts,
            self._pace.tick_delay,
        )

    def start(self) -> None:
        """Run the loop in a thread of its own; the arm must be connected."""
        self._ending.clear()
        freeze_gc()
        self._thread = threading.Thread(target=self.run, name="bridge", daemon=True)
        self._thread.start()

    def close(self, timeout: float = 2.0) -> None:
        """Brake, end the loop and leave the arm holding. Safe to call twice.

        Args:
            timeout: how long braking may take before the device's own stop is used [s].
        """
        self.stop(StopCategory.STOP_AND_HOLD)
        if self._thread is not None:
            deadline = time.monotonic() + timeout
            while (
                self.state_machine.moving
                and time.monotonic() < deadline
                and self._thread.is_alive()
            ):
                time.sleep(self.period)
            self._ending.set()
            self._thread.join(timeout=timeout)
            self._thread = None
            gc.unfreeze()

    def run(self) -> None:
        """Loop until `close`: one tick a period, on absolute deadlines."""
        with request_realtime(self.period):
            while not self._ending.is_set():
                self._pulse(True)
                try:
                    self.tick()
                except Exception as error:  # whatever it is: nobody else watches the arm
                    self._fail(f"the loop failed: {error!r}", StopCategory.STOP_THEN_POWER_OFF)
                self._pace.wait_tick()
        self._pulse(False)

    def tick(self) -> None:
        """Do what one period asks for."""
        with self._ticking:
            try:
                self._measured = measured = self.device.state()
            except DeviceError as error:
                self._fail(f"no measurement: {error}", StopCategory.STOP_THEN_POWER_OFF)
                return
            # Read after measuring: what took time, or stopped this process, counts in all ages.
            now = self._clock()
            pause = 0.0 if self._ticked is None else now - self._ticked
            self._ticked = now
            self._note_state(measured)
            if self.state_machine.state is BridgeState.FAULT:
                return
            wrong = self._wrong_with(measured, now)
            if wrong:
                self._fail(wrong, StopCategory.STOP_THEN_POWER_OFF)
            elif self.state_machine.moving and pause > self.limits.safety.state_age:
                # Nobody watched the arm for that long, and the next step would be a leap.
                self._fail(f"the loop stood still for {pause:.2f} s", StopCategory.STOP_AND_HOLD)
            elif self.state_machine.moving:
                self._move(now)

    def __enter__(self) -> Self:
        self.device.connect()
        try:
            self._measured = self.device.state()
            self.start()
        except BaseException:
            self.device.disconnect()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.close()
            self.device.stop(StopCategory.STOP_AND_HOLD)
        except DeviceError as failed:
            self._note("event", {"event": "stop failed", "detail": str(failed)})
        finally:
            self.device.disconnect()

    def _judge(self, command: Command, now: float) -> Verdict:
        measured = self._measured
        verdict = check_command(
            command, self._shaper.motion.positions, self.limits, self.kinematics, now
        )
        if (
            verdict.target is None
            or command.kind is CommandKind.VELOCITY
            or self.state_machine.started
        ):
            return verdict
        first = verdict.target[0, 0] if command.kind is CommandKind.PATH else verdict.target
        far = float(np.abs(first - measured.positions).max()) if measured else np.inf
        allowed = self.limits.safety.start_distance
        return (
            refuse_command(VerdictReason.START, f"{far:.3f} rad, {allowed} allowed")
            if far > allowed
            else verdict
        )

    def _move(self, now: float) -> None:
        stop = self.state_machine.requested_stop
        if stop in (StopCategory.CUT_POWER, StopCategory.STOP_THEN_POWER_OFF):
            self._end(stop)
            return
        # The first setpoint stands still, whatever was asked for: recordings begin at rest, too.
        target = None if self._first else self.state_machine.get_target(now)
        self._first = False
        if target is None:
            motion, gripper = self._shaper.step(None), None
        else:
            motion = self._shaper.step(target.verdict.target, target.command.kind)
            gripper = target.verdict.gripper
        setpoint = Setpoint(motion.positions, motion.velocities, gripper)
        try:
            self.device.command(setpoint)
        except DeviceError as error:
            self._fail(f"setpoint not taken: {error}", StopCategory.STOP_THEN_POWER_OFF)
            return
        self._sent = setpoint
        self._note(
            "setpoint",
            {
                "positions": motion.positions.tolist(),
                "velocities": motion.velocities.tolist(),
                "accelerations": motion.accelerations.tolist(),
                "gripper": gripper,
                "blocked": self._shaper.blocked_reason,
            },
            now,
        )
        self.state_machine.note_setpoint_sent(self._shaper.at_rest)
        if stop is not None and self._shaper.at_rest:
            self._end(stop)

    def _end(self, category: StopCategory) -> None:
        """Leave command: the arm is at rest, or its own stop is asked for."""
        try:
            self.device.stop(category)
        except DeviceError as error:
            self._fail(f"stop not confirmed: {error}", StopCategory.STOP_THEN_POWER_OFF)
            return
        self.state_machine.release_command()
        self._note("event", {"event": "disarmed"})

    def _wrong_with(self, measured: ArmState, now: float) -> str:
        safety = self.limits.safety
        age = now - measured.stamp
        if not -1e-3 <= age <= safety.state_age:
            return f"the newest measurement is {age:.3f} s old"
        arrays = (measured.positions, measured.velocities)
        if any(a.shape != (self.limits.joints,) or not np.isfinite(a).all() for a in arrays):
            return f"measurement not finite or of a wrong shape: {measured.positions}"
        if measured.fault:
            return f"the arm reports: {measured.fault}"
        if self.state_machine.moving:
            lag = np.abs(measured.positions - self._shaper.motion.positions)
            worst = int(lag.argmax())
            if lag[worst] > safety.tracking:
                name = self.device.features.joints[worst]
                return f"joint {name} is {lag[worst]:.2f} rad from its setpoint"
        return ""

    def _fail(self, reason: str, category: StopCategory) -> None:
        before, now, failed = self.state_machine.latch_fault(reason), self._clock(), ""
        if before is None:
            return
        if before is not BridgeState.IDLE:  # else not moving, and not ours to stop
            try:
                self.device.stop(category)
            except DeviceError as error:
                failed = str(error)
        said = {"reason": reason, "category": int(category), "stop_failed": failed}
        self._note("event", {"event": "fault", **said}, now)

    def _note_state(self, measured: ArmState) -> None:
        self._note(
            "state",
            {
                "positions": measured.positions.tolist(),
                "velocities": measured.velocities.tolist(),
                "efforts": measured.efforts.tolist() if measured.efforts is not None else None,
                "gripper": measured.gripper,
                "fault": measured.fault,
                "bridge": str(self.state_machine.state),
            },
            measured.stamp,
        )

    def _note(self, kind: str, fields: Mapping[str, Any], stamp: float | None = None) -> None:
        if self.log is not None:
            self.log.record_message(kind, self._clock() if stamp is None else stamp, fields)
