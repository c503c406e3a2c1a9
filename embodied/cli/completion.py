"""`embodied --print-completion SHELL`: completion of commands, options, recipes and files."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

SHELLS = ("bash", "zsh", "tcsh", "fish")
RECIPES = ("recipe", "what", "robot")
"""Arguments that name a recipe or a file."""


class PrintCompletion(argparse.Action):
    """Print the script that teaches a shell our commands, and end."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        """Take the shell's name; imports happen here, so that no other command pays for them."""
        import shtab

        from embodied import config

        names = " ".join(config.list_recipes())
        recipes = {
            **shtab.FILE,
            "preamble": {
                "bash": f"_embodied_recipes() {{ compgen -W '{names}' -- $1; compgen -f -- $1; }}",
                "zsh": f"_embodied_recipes() {{ compadd -- {names}; _files }}",
            },
            "bash": "_embodied_recipes",
            "zsh": "_embodied_recipes",
        }
        for action in _list_actions(parser):
            if action.dest in RECIPES:
                action.complete = recipes  # type: ignore[attr-defined]
            elif action.type is Path:
                action.complete = shtab.FILE  # type: ignore[attr-defined]
        print(shtab.complete(parser, shell=str(values)))
        parser.exit()


def _list_actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """Yield the options and arguments of a parser and of the parsers below it."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for below in dict.fromkeys(action.choices.values()):
                yield from _list_actions(below)
        else:
            yield action
