"""Entry point of `embodied`: parse, run one command, turn errors into one clear line."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import ModuleType

import embodied
from embodied.cli import (
    ablate,
    bench,
    calibrate,
    compare,
    data,
    demo,
    deploy,
    evaluate,
    serve,
    train,
    view,
)
from embodied.cli.completion import SHELLS, PrintCompletion
from embodied.errors import ConfigError, EmbodiedError, suggest_nearest
from embodied.extras import require_extra

COMMANDS: tuple[ModuleType, ...] = (
    demo, train, evaluate, ablate, compare, serve, deploy, calibrate, bench, view, data,
)  # fmt: skip

INTRO = """\
Train, evaluate and deploy embodied agents: they explore and find things in 3-D houses, follow
instructions in plain language, and command robot arms, simulated and real.

New here? Run:  embodied demo            houses and instructions, 8 to 10 minutes
                embodied demo manip      an arm that learns by watching, then by trying
Both write a report you open in a browser."""

EXAMPLES = """\
examples:
  embodied demo                                       everything in one report, ~10 minutes
  embodied demo --scene my_flat.glb                   explore a mesh of your own
  embodied train nav/pointnav_ppo seed=1              train; any setting as key=value
  embodied eval runs/pointnav_ppo                     test a trained agent on unseen houses
  embodied eval nav/explore --scene my_flat.glb       test an explorer on your own mesh
  embodied train vln/meta_explore_houses              an agent that follows instructions
  embodied train manip/sc_vla_pick                    an arm: demonstrations, then imitation
  embodied deploy --robot fr3_twin --policy reach     drive an arm, every command checked

`embodied COMMAND --help` explains one command."""


def build_parser() -> argparse.ArgumentParser:
    """Build the parser of all commands."""
    top = argparse.ArgumentParser(
        prog="embodied",
        description=INTRO,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="version", version=f"embodied {embodied.__version__}")
    top.add_argument(
        "--print-completion", action=PrintCompletion, choices=SHELLS, metavar="SHELL",
        help=f"print a script for completion in {', '.join(SHELLS)}, and end",
    )  # fmt: skip
    commands = top.add_subparsers(title="commands", dest="command", metavar="COMMAND")
    for module in COMMANDS:
        module.add_parser(commands)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 0 success, 2 a user's error, 130 interrupted."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    top = build_parser()
    try:
        if os.getcwd() not in sys.path:  # modules of the user's own: policy=my_module:MyPolicy
            sys.path.append(os.getcwd())
        _require_command(arguments, top)
        args, rest = top.parse_known_args(arguments)
        if args.command is None:
            top.print_help()
            return 0
        _take_overrides(args, rest)
        args.line = arguments
        with _own_hooks(), require_extra(f"'embodied {args.command}'"):
            return int(args.run_command(args))
    except EmbodiedError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except MemoryError as error:
        print(f"error: not enough memory ({error}). Use smaller images, fewer environments "
              "(evaluation.envs, train.envs) or a smaller scene.", file=sys.stderr)  # fmt: skip
        return 2
    except KeyboardInterrupt as stop:  # training saves first and says so in its own subclass
        print(str(stop) or "interrupted", file=sys.stderr)
        return int(getattr(stop, "exit_code", 130))
    except BrokenPipeError:  # `embodied ... | head` closed the pipe: nothing left to say
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:  # disk full, permissions: the system's reason is the best one
        print(f"error: {error}. Check the path, its permissions and the free space on the disk.",
              file=sys.stderr)  # fmt: skip
        return 2


@contextmanager
def _own_hooks() -> Iterator[None]:
    """Show warnings our way and lose no Ctrl-C while a command runs, and only then.

    Python drops an exception that falls into a destructor or a callback from C. Compiling spends
    seconds in such code, so a Ctrl-C does end there: it is sent once more. If what it fell into
    breaks before that, Ctrl-C is still the reason.
    """
    again: list[threading.Timer] = []

    def dropped(what: sys.UnraisableHookArgs) -> None:
        if isinstance(what.exc_value, KeyboardInterrupt):
            again.append(threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT)))
            again[-1].start()
        else:
            sys.__unraisablehook__(what)

    before = warnings.formatwarning, sys.unraisablehook
    warnings.formatwarning, sys.unraisablehook = _as_sentence, dropped
    try:
        yield
    except Exception as error:
        if any(timer.is_alive() for timer in again):
            raise KeyboardInterrupt from error
        raise
    finally:
        warnings.formatwarning, sys.unraisablehook = before
        for timer in again:
            timer.cancel()


def _as_sentence(message: Warning | str, *_: object, **__: object) -> str:
    """Write a warning as a sentence, without the line of code that gave it."""
    return f"warning: {message}\n"


def _require_command(arguments: Sequence[str], top: argparse.ArgumentParser) -> None:
    """Check the first word, so that a mistake in it is answered with the nearest command.

    Raises:
        ConfigError: no such command, or an option before it that does not exist.
    """
    first = arguments[0] if arguments else ""
    known = [name for group in top._subparsers._group_actions for name in group.choices]  # type: ignore[union-attr]
    if first.startswith("-"):
        if first not in top._option_string_actions:
            raise _unknown_option(first, top)
    elif first and first not in known:
        raise ConfigError(f"unknown command '{first}': {suggest_nearest(first, known)}")


def _unknown_option(word: str, parser: argparse.ArgumentParser) -> ConfigError:
    name, options = word.partition("=")[0], parser._option_string_actions
    return ConfigError(
        f"unknown option '{name}' of '{parser.prog}': {suggest_nearest(name, options)}"
    )


def _take_overrides(args: argparse.Namespace, rest: Sequence[str]) -> None:
    """Accept key=value words that follow an option; argparse alone stops at the first option."""
    for word in rest:
        if "=" in word and not word.startswith("-") and hasattr(args, "overrides"):
            args.overrides = [*args.overrides, word]
        elif word.startswith("-"):
            raise _unknown_option(word, args.command_parser)
        else:
            raise ConfigError(
                f"'{word}' is not understood. Settings are written key=value; "
                f"see: embodied {args.command} --help"
            )


if __name__ == "__main__":
    sys.exit(main())
