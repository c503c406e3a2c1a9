"""What the commands share: their parsers, their option texts and the command line to print."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from embodied.errors import ConfigError

JSON_HELP = "also write the figures to this file; keys already in it are kept"
SETTINGS_HELP = "list every setting with its value, default and meaning, and do nothing else"
OVERRIDES_HELP = "settings laid over the recipe, e.g. seed=1 task.max_steps=300"


def add_command(
    commands: Any, name: str, summary: str, text: str, run: Callable[[argparse.Namespace], int]
) -> argparse.ArgumentParser:
    """Add one command with a one-line summary and a longer text with examples."""
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=summary,
        description=text,
        allow_abbrev=False,  # `--resum` is a mistake to point out, not a wish to guess
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run_command=run, command_parser=parser)
    return parser


def command_line(args: argparse.Namespace, *drop: str) -> str:
    """Return the command as the user would type it again, without the value options in `drop`."""
    words, skip = [], False
    for word in args.line:
        if skip:
            skip = False
        elif word in drop:
            skip = True
        elif not word.startswith(tuple(f"{option}=" for option in drop)):
            words.append(word)
    return shlex.join(["embodied", *words])


def require_json(file: Path) -> None:
    """Check, before the work, that figures can be written to a file.

    Raises:
        EmbodiedError: its folder is not writable, or it exists and holds something else.
    """
    from embodied.files import require_writable
    from embodied.results import read_results

    require_writable(file.parent)
    if file.exists():
        if not file.is_file():
            raise ConfigError(f"cannot write the figures to {file}: give the name of a file")
        read_results(file)


def require_scene(scene: Path) -> None:
    """Check that a scene exists; `houses.jsonl.gz#3` names one of several in a file.

    Raises:
        ConfigError: neither the path nor what stands before `#` exists.
    """
    if scene != Path() and (scene.exists() or Path(str(scene).rpartition("#")[0] or "#").is_file()):
        return
    raise ConfigError(f"no scene {scene}: give a file or folder that exists")


def print_settings(settings: Any) -> None:
    """Print every setting of a configuration with its value, default and meaning."""
    from embodied.config_docs import list_settings

    for setting in list_settings(settings):
        print(setting)


def print_table(header: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    """Print rows in aligned columns; the first is left-aligned, the others right-aligned."""
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
    for row in [header, tuple("-" * w for w in widths), *rows]:
        cells = [
            row[0].ljust(widths[0]),
            *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True)),
        ]
        sys.stdout.write("  ".join(cells).rstrip() + "\n")
    sys.stdout.flush()
