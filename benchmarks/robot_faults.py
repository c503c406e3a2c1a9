"""What happens to a moving arm when something fails: `embodied bench robot_faults`.

Each fault befalls a real bridge that a policy drives, on an SO-101 of emulated servos and on an FR3
behind franky-sim (see `benchmarks._rigs`). Processes are frozen and killed by real signals, the
network fails in `robots.emulators.proxy`.

`fault.ARM.NAME.detect`: from the fault to the first setpoint that brakes, or to FAULT; for a second
commander to its refusal, for a suspended bridge from its awakening.
`fault.ARM.NAME.stop`: from the fault until the joints are, and stay, below 0.02 rad/s; absent where
nothing can be measured (a frozen simulator) or nothing has to stop. It may be the shorter one: the
arm gets to its last target while that is still fresh.
`fault.ARM.NAME.promised`: 1 if every trial ended in the promised state and no setpoint broke a
limit.
`fault.ARM.NAME.trials`: how many there were: at least 3, and more while they take less than 12 s,
so that all of them take less than ten minutes. Nothing else should run on the machine meanwhile.
"""

from __future__ import annotations

import contextlib
import importlib.util
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import inf, isnan, nan
from pathlib import Path
from typing import Any

import numpy as np

sys.path.append(str(Path(__file__).resolve().parents[1]))  # `embodied bench` loads this file alone

from benchmarks._rig_process import Process
from benchmarks._rigs import (
    ALL_SERVOS,
    MOVING,
    PATIENCE,
    STILL,
    Franka,
    Rig,
    Run,
    Server,
    Servos,
    broken,
)
from robots.errors import BridgeError, RobotError
from robots.guard import VerdictReason
from robots.intent import Command, CommandKind
from robots.robot_config import load_robot
from robots.state_machine import BridgeState

SETTLED = 0.1  # so long it must have been in the promised state for a trial to be over [s]
ASLEEP = 0.3  # how long a bridge is suspended [s]
JUMP = 5.0  # of a clock [s]
# Trials of one fault: at least and at most, and how long more are begun [s].
FEWEST, MOST, BUDGET = 3, 20, 12.0


@dataclass(frozen=True)
class Fault:
    """Something that goes wrong.

    Attributes:
        strike: makes it happen.
        ends: the state that is promised; HOLDING and FAULT mean at rest.
        within: the time promised until it is noticed [s]; infinite where nothing has to be.
        served: the policy is a server's.
        arms: on which it can happen.
        heal: ends it, for the arm to move again; None where `reset` and `arm` are needed.
    """

    strike: Callable[[Run], None]
    ends: BridgeState
    within: float
    served: bool = False
    arms: tuple[str, ...] = ("feetech", "fr3")
    heal: Callable[[Run], None] | None = None


def _served(act: Callable[[Any], None]) -> Callable[[Run], None]:
    return lambda run: act(run.server)


def _bad(harm: Callable[[Any], Any]) -> Fault:
    """A policy whose answers are bad; it gets well again."""

    def strike(run: Run) -> None:
        run.harm = harm

    def heal(run: Run) -> None:
        run.harm = lambda actions: actions

    # The answer that is due, and the age of the last command that came before it.
    return Fault(strike, BridgeState.HOLDING, 0.25, heal=heal)


def _on_bus(strike: Callable[[Any], None]) -> Fault:
    return Fault(lambda run: strike(run.rig), BridgeState.FAULT, 0.1, arms=("feetech",))


def _clock(by: float) -> Fault:
    def strike(run: Run) -> None:
        run.ahead = by

    return Fault(strike, BridgeState.FAULT, 0.1)


def _intrude(run: Run) -> None:
    """Try to take command from the policy, and to command without having it."""
    now, away = run.clock(), np.array(run.cell.model.home) + 0.3
    verdict = run.bridge.submit_command("0" * 32, Command(CommandKind.POSITION, away, now, now))
    try:
        run.bridge.arm("intruder")
    except BridgeError:
        if verdict.reason is VerdictReason.NOT_COMMANDING:
            run.notice()


def _denormal(run: Run) -> None:
    run.harm = lambda actions: np.hstack([np.full((len(actions), 1), 5e-324), actions[:, 1:]])


def _resume(server: Server) -> None:
    server.proxy.clear_faults()


def _delay(server: Server) -> None:
    server.proxy.delay = 0.4  # each way: the answer is older than the 0.5 s that it may be


FAULTS = {
    "policy_silent": Fault(
        lambda run: run.goes_on.clear(),
        BridgeState.HOLDING,
        0.2,
        heal=lambda run: run.goes_on.set(),
    ),
    "policy_frozen": Fault(
        _served(lambda server: server.process.send_signal(signal.SIGSTOP)),
        BridgeState.HOLDING, 0.5, True,
        heal=_served(lambda server: server.process.send_signal(signal.SIGCONT)),
    ),
    "policy_killed": Fault(
        _served(Server.kill), BridgeState.HOLDING, 0.5, True, heal=_served(Server.start)
    ),
    "stale_chunk": Fault(_served(_delay), BridgeState.HOLDING, 0.5, True, heal=_served(_resume)),
    "link_cut": Fault(
        _served(lambda server: server.proxy.cut_connections()),
        BridgeState.HOLDING,
        0.5,
        True,
        heal=_served(_resume),
    ),
    "link_half_open": Fault(
        _served(lambda server: server.proxy.half_open("down")), BridgeState.HOLDING, 0.5, True,
        heal=_served(_resume),
    ),
    "action_nan": _bad(lambda actions: actions * np.nan),
    "action_inf": _bad(lambda actions: actions + np.inf),
    "action_huge": _bad(lambda actions: actions + 1e300),
    "action_shape": _bad(lambda actions: actions[:, :3]),
    "action_dtype": _bad(lambda actions: actions.astype(complex)),
    "device_silent": _on_bus(lambda rig: rig.bus.faults.silent.update(ALL_SERVOS)),
    "device_corrupt": _on_bus(lambda rig: rig.bus.faults.corrupt.update(ALL_SERVOS)),
    "device_unplugged": _on_bus(lambda rig: rig.bus.close()),
    "robot_frozen": Fault(
        lambda run: run.rig.freeze(), BridgeState.FAULT, 0.1, arms=("fr3",)  # type: ignore[union-attr]
    ),
    # Numbers like others, if the smallest there are: the first joint goes to its zero.
    "action_denormal": Fault(_denormal, BridgeState.RUNNING, inf),
    "two_commanders": Fault(_intrude, BridgeState.RUNNING, 0.05),
    "clock_forward": _clock(JUMP),
    "clock_back": _clock(-JUMP),
}  # fmt: skip


@dataclass(frozen=True)
class Trial:
    """How one went.

    Attributes:
        detect: until it was noticed [s]; NaN if it was not.
        stop: until the arm was at rest [s]; NaN where it cannot be seen, or need not be.
        wrong: what was not as promised; "" if all was.
    """

    detect: float
    stop: float
    wrong: str = ""


def strike(run: Run, fault: Fault) -> Trial:
    """Let a fault happen to a run, whose arm moves, and see how it ends."""
    run.began = run.noticed = run.stopped = nan
    run.until_moving()
    run.began = time.monotonic()
    fault.strike(run)
    goes_on = fault.ends is BridgeState.RUNNING

    def over() -> bool:
        if run.state is BridgeState.FAULT is not fault.ends:
            return True
        return run.state is fault.ends and (goes_on or not run.speed >= STILL)

    ended = run.wait(over, SETTLED) and run.state is fault.ends
    detect, stop = run.noticed - run.began, run.stopped - run.began
    wrong = run.violation() or ""
    if not ended:
        wrong = f"{run.state} at {run.speed:.2f} rad/s instead of {fault.ends} {run.fault}"
    elif isnan(detect) and fault.within < inf:
        wrong = "nothing was noticed"
    elif fault.heal is not None and not wrong:
        fault.heal(run)
        going = run.wait(
            lambda: run.state is BridgeState.RUNNING and run.speed > MOVING or run.fault != ""
        )
        if not going or run.fault:
            wrong = f"{run.state} after the fault had gone {run.fault}"
        wrong = wrong or run.violation() or ""
    return Trial(detect, nan if goes_on or isnan(run.speed) else max(0.0, stop), wrong)


def suspended(rig: Rig, folder: Path) -> Trial:
    """Suspend the process of a bridge, whose arm moves, and wake it up again."""
    with contextlib.closing(Process(rig, folder / f"{time.monotonic_ns()}.jsonl")) as process:
        _until(lambda: process.state == BridgeState.RUNNING and process.speed > MOVING, 0.1)
        process.send(signal.SIGSTOP)
        asleep = stopped = time.monotonic()
        while (now := time.monotonic()) < asleep + ASLEEP:
            stopped = now if rig.speed(None) >= STILL else stopped
            time.sleep(0.004)
        awake = time.monotonic()
        process.send(signal.SIGCONT)
        _until(lambda: process.fault() is not None)
        fault = process.fault() or {}
        _until(lambda: process.state == BridgeState.FAULT and not process.speed >= STILL, SETTLED)
        late = [row for row in process.rows["setpoint"] if row["stamp"] > fault["stamp"]]
        sent = np.array([row["positions"] for row in process.rows["setpoint"]])
        wrong = broken(sent, load_robot(str(rig.recipe))) or ""
        if late:
            wrong = f"{len(late)} setpoints after the fault"
    stop = stopped - asleep if isinstance(rig, Servos) else nan
    return Trial(fault["stamp"] - awake, stop, wrong)


def _until(what: Callable[[], bool], lasting: float = 0.0) -> None:
    begun = since = time.monotonic()
    while (now := time.monotonic()) - since < lasting or not what():
        since = since if what() else now
        if now - begun > PATIENCE:
            raise RobotError(f"nothing happened within {PATIENCE} s")
        time.sleep(0.004)


def trials(
    rig: Rig, server: Server, folder: Path, budget: float
) -> Iterator[tuple[str, list[Trial]]]:
    """Give the trials of each fault that this arm can have, as many as fit into a time [s]."""
    for name, fault in FAULTS.items():
        if rig.name in fault.arms:
            yield name, _repeated(lambda fault=fault: _struck(rig, server, fault), budget)
    yield "bridge_suspended", _repeated(lambda: _suspensions(rig, folder), budget)


def _repeated(series: Callable[[], Iterator[Trial]], budget: float) -> list[Trial]:
    """Run through series of trials, a new one where one has ended, until there are enough."""
    found: list[Trial] = []
    end, spoilt = time.monotonic() + budget, 0
    while True:
        try:
            for trial in series():
                found.append(trial)
                late = time.monotonic() > end
                if len(found) >= MOST or (late and len(found) >= FEWEST):
                    return found
        except RobotError as error:  # the arm did not even move before the fault
            spoilt += 1
            print(f"a trial could not begin: {error}", file=sys.stderr)
            if spoilt > FEWEST:
                return found


def _struck(rig: Rig, server: Server, fault: Fault) -> Iterator[Trial]:
    """Strike one run as often as it gets well again."""
    rig.renew()
    with Run(rig, server if fault.served else None) as run:
        while True:
            trial = strike(run, fault)
            yield trial
            if fault.heal is None or trial.wrong:
                return


def _suspensions(rig: Rig, folder: Path) -> Iterator[Trial]:
    rig.renew()
    yield suspended(rig, folder)


def figures(start: str, found: Sequence[Trial]) -> dict[str, float]:
    """Sum up the trials of one fault under keys that begin with `start`."""
    made = {
        f"{start}.promised": float(bool(found) and not any(trial.wrong for trial in found)),
        f"{start}.trials": float(len(found)),
    }
    for what in ("detect", "stop"):
        times = np.array([getattr(trial, what) for trial in found]) * 1e3
        if len(times) and np.isfinite(times).all():
            for share in (50, 99):
                made[f"{start}.{what}_p{share}_ms"] = float(np.percentile(times, share))
    return made


def run(quick: bool = False) -> dict[str, float]:
    """Measure and print."""
    rigs: list[type[Rig]] = [Servos]
    if importlib.util.find_spec("franky_sim") and importlib.util.find_spec("franky"):
        rigs.append(Franka)
    else:
        print("fr3 skipped: franky-control and franky-sim are not installed (extra 'franka')")
    found: dict[str, float] = {}
    for make in rigs:
        with tempfile.TemporaryDirectory() as place, contextlib.ExitStack() as stack:
            folder = Path(place)
            rig = stack.enter_context(contextlib.closing(make(folder)))
            server = stack.enter_context(contextlib.closing(Server(rig)))
            for name, rows in trials(rig, server, folder, 0.0 if quick else BUDGET):
                made = figures(f"fault.{rig.name}.{name}", rows)
                found |= made
                print(f"{rig.name} {name:17s}", *(
                    f"{key.rpartition('.')[2]} {value:6.1f} " for key, value in made.items()
                ), *{trial.wrong for trial in rows if trial.wrong}, flush=True)  # fmt: skip
    return found
