"""`embodied train`: train a policy from a recipe."""

from __future__ import annotations

import argparse
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from embodied.cli.options import OVERRIDES_HELP, SETTINGS_HELP, add_command, print_settings
from embodied.errors import ConfigError

TEXT = """\
Train a policy from a recipe. A recipe is a small YAML file; every setting in it, and every default
behind it, can be changed on the command line with key=value. The run folder holds the checkpoints,
metrics.jsonl, TensorBoard events and the exact configuration used.

examples:
  embodied train nav/pointnav_ppo
  embodied train nav/pointnav_ppo train.steps=200000 seed=1 --run runs/short
  embodied train nav/pointnav_ppo --run runs/short --resume     go on after an interruption
  embodied train nav/pointnav_ppo --settings                    every setting and what it means
  embodied train my_recipe.yaml
  embodied train vln/meta_explore_houses                        follow instructions
  embodied train manip/sc_vla_pick                              an arm: record, imitate
  embodied train manip/refine_pick base=runs/sc_vla_pick         refine a trained policy online
  embodied eval runs/pointnav_ppo                                then: how good is it?"""


def add_parser(commands: Any) -> None:
    """Add the command."""
    parser = add_command(commands, "train", "train a policy from a recipe", TEXT, run)
    parser.add_argument("recipe", metavar="RECIPE", help="name (nav/pointnav_ppo) or YAML file")
    parser.add_argument(
        "overrides", nargs="*", default=[], metavar="key=value", help=OVERRIDES_HELP
    )
    parser.add_argument(
        "--run", type=Path, metavar="DIR", help="run folder (default: runs/<recipe name>)"
    )
    parser.add_argument(
        "--resume", action="store_true", help="go on from the newest checkpoint in the run folder"
    )
    parser.add_argument("--settings", action="store_true", help=SETTINGS_HELP)


def run(args: argparse.Namespace) -> int:
    """Train, then say where the result is and how to test it."""
    from embodied import config, registry
    from embodied.files import require_writable

    tree = config.merge(config.read_recipe(args.recipe), config.parse_overrides(args.overrides))
    if isinstance(tree.get("policy"), str):
        raise ConfigError(
            f"recipe {args.recipe} runs the finished policy '{tree['policy']}': nothing to train. "
            f"Use: embodied eval {args.recipe}"
        )
    kind = str(tree.pop("trainer", "ppo"))
    train = registry.resolve("trainer", kind)
    if kind in registry.list_names("completion") and not args.settings:
        tree = registry.resolve("completion", kind)(tree)
    settings = config.build(
        typing.get_type_hints(train)["config"], tree, source=f"recipe {args.recipe}"
    )
    if args.settings:
        print_settings(settings)
        return 0
    folder = args.run or Path("runs") / Path(args.recipe).stem
    require_writable(folder)
    result = train(settings, folder, resume=args.resume)
    print(f"trained: {result['checkpoint']}\n{_next(kind, folder, result)}")
    return 0


def _next(kind: str, folder: Path, result: Mapping[str, Any]) -> str:
    """Say what to do with a trained network."""
    if kind == "segmenter":
        score = result.get("miou")
        measured = f"mean IoU in unseen houses: {score:.3f}\n" if score is not None else ""
        return (
            f"{measured}let an agent see through it: "
            f"embodied eval RUN task.houses.semantics={folder}"
        )
    return f"test it on unseen worlds: embodied eval {folder}"
