"""`embodied eval`: measure a policy on scenes it has not seen."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from embodied.cli.options import (
    JSON_HELP,
    OVERRIDES_HELP,
    SETTINGS_HELP,
    add_command,
    command_line,
    print_settings,
    print_table,
    require_json,
    require_scene,
)

TEXT = """\
Measure a policy: a recipe (nav/explore) or the run folder of a trained one. Prints each figure with
its 95 % confidence interval. Learned policies are judged in houses they were not trained in.
With --episodes the figures of every single episode are kept too, to compare two policies pairwise.

examples:
  embodied eval runs/pointnav_ppo                            a trained policy
  embodied eval runs/pointnav_ppo evaluation.episodes=500
  embodied eval nav/explore --scene flat.glb --json flat.json
  embodied eval nav/explore --settings                       every setting and what it means
  embodied eval nav/explore policy=my_module:MyPolicy policy_config.speed=2   a class of yours
  embodied eval nav/objectnav_frontier task.scene.rooms='[3, 6]'
  embodied eval runs/reverie --json reverie.json --episodes reverie.jsonl   language-guided
  embodied eval runs/reverie policy=meta_explore evaluation.split=val_seen --explain traces
  embodied eval runs/sc_vla_pick evaluation.level=2 --video pick.mp4        an arm
  embodied eval runs/sc_vla_pick --explain report                           at every level"""


def add_parser(commands: Any) -> None:
    """Add the command."""
    parser = add_command(commands, "eval", "measure a policy on unseen scenes", TEXT, run)
    parser.add_argument("what", metavar="RECIPE|RUN", help="recipe, or folder of a trained policy")
    parser.add_argument(
        "overrides", nargs="*", default=[], metavar="key=value", help=OVERRIDES_HELP
    )
    parser.add_argument("--scene", type=Path, metavar="PATH", help="a scene instead of houses")
    parser.add_argument(
        "--episodes", type=Path, metavar="FILE", help="also write one JSON line per episode"
    )
    parser.add_argument(
        "--explain",
        type=Path,
        metavar="DIR",
        help="also write a page: why each decision was made; of an arm, a film and success at "
        "every level of randomisation",
    )
    parser.add_argument(
        "--video", type=Path, metavar="FILE", help="also film some episodes (arms only), as MP4"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help=JSON_HELP)
    parser.add_argument("--key", metavar="NAME", help="start of the names in the JSON file")
    parser.add_argument(
        "--which", choices=("latest", "best"), default="latest", help="checkpoint of a run folder"
    )
    parser.add_argument("--settings", action="store_true", help=SETTINGS_HELP)


def run(args: argparse.Namespace) -> int:
    """Play the episodes, print the table, write the figures."""
    from embodied import config
    from embodied.errors import ConfigError
    from embodied.evaluation.base import (
        GAIN,
        FilmedEvaluator,
        open_evaluator,
        summarise_metrics,
        write_episodes,
    )
    from embodied.files import require_writable
    from embodied.results import write_results

    evaluator = open_evaluator(args.what, args.overrides, args.which)
    if args.settings:
        print_settings(evaluator.settings)
        return 0
    if args.scene:
        require_scene(args.scene)
        chosen = any(o.startswith("evaluation.episodes=") for o in args.overrides)
        evaluator.use_scene(args.scene, 10**9 if chosen else 10)
    if args.json:
        require_json(args.json)  # before the work, not after it
    if args.video and not isinstance(evaluator, FilmedEvaluator):
        raise ConfigError(f"--video {args.video}: only policies of arms (manip/...) are filmed")
    for path in (*(p and p.parent for p in (args.episodes, args.video)), args.explain):
        if path:
            require_writable(path)
    episodes = evaluator.play_episodes(args.explain)
    line = command_line(args, "--json", "--episodes", "--explain", "--video")
    metrics = summarise_metrics(episodes, line)
    parts_line = command_line(args, "--json", "--episodes", "--video")  # --explain plays some
    for part, some in (
        evaluator.group_episodes().items() if isinstance(evaluator, FilmedEvaluator) else ()
    ):
        metrics |= summarise_metrics(some, parts_line, part, differences=part == GAIN)
    shown = [
        name
        for name in metrics
        if name in evaluator.shown_metrics or name.endswith((".success", ".steps"))
    ]
    shown.sort(key=lambda name: [*evaluator.shown_metrics, name].index(name))
    rows = [
        (name, f"{m.value:.3f}", f"[{m.ci95[0]:.3f}, {m.ci95[1]:.3f}]", str(m.n))
        for name, m in ((name, metrics[name]) for name in shown)
    ]
    print_table(("metric", "mean", "95 % interval", "episodes"), rows)
    if args.json:
        prefix = args.key or evaluator.key
        renamed = {evaluator.published_names.get(name, name): m for name, m in metrics.items()}
        named = {f"{prefix}.{name}" if prefix else name: m for name, m in renamed.items()}
        digest = config.digest(evaluator.settings)
        write_results(args.json, named, seeds=[evaluator.seed], config_digest=digest)
        print(f"figures written to {args.json}")
    if args.episodes:
        write_episodes(args.episodes, evaluator.list_episode_names(len(episodes)), episodes)
        print(f"episodes written to {args.episodes}")
    if args.video and isinstance(evaluator, FilmedEvaluator):
        print(f"film of {evaluator.write_film(args.video)} frames written to {args.video}")
    if args.explain:
        page = evaluator.write_page(args.explain, command_line(args))
        print(f"explanations written to {args.explain}, page: {page}")
    return 0
