"""`embodied data`: unpack scene archives, say which data sets can be read."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from embodied.cli.options import add_command

TEXT = """\
Bring scenes onto the disk and see which formats and data sets Embodied reads.

examples:
  embodied data list
  embodied data unpack aws_small_house.tar.xz scenes/aws_house
  embodied eval nav/explore --scene scenes/aws_house"""

# name, what --scene (or a recipe's task.scene.files / task.scene.episodes) is pointed at
READABLE = (
    ("mesh", ".glb .gltf .obj .ply .dae .stl, with textures or vertex colours"),
    ("habitat", "*.scene_instance.json, *.stage_config.json, *.scene_dataset_config.json"),
    ("hm3d", "<scene>.glb beside <scene>.semantic.glb and <scene>.semantic.txt"),
    ("mp3d", "<scene>.glb beside <scene>_semantic.ply and <scene>.house"),
    ("world", "a folder or .tar.xz with an SDF .world file and the meshes it poses"),
    ("procthor", "a ProcTHOR house as .json"),
    ("houses", "procedural houses, no files needed: task.scene.split=train|val|test"),
    ("episodes", "Habitat PointNav and ObjectNav episodes, .json or .json.gz"),
)


def add_parser(commands: Any) -> None:
    """Add the command and its two sub-commands."""
    parser = add_command(
        commands, "data", "unpack scenes, list the formats that can be read", TEXT, run
    )
    parts = parser.add_subparsers(title="sub-commands", dest="part", metavar="unpack | list")
    unpack = parts.add_parser("unpack", help="unpack a scene archive into a folder")
    unpack.add_argument(
        "archive", type=Path, metavar="ARCHIVE", help=".zip, .tar, .tar.gz, .tar.xz"
    )
    unpack.add_argument("target", type=Path, metavar="DIR", help="folder to create")
    parts.add_parser("list", help="say which scenes and episodes can be read")


def run(args: argparse.Namespace) -> int:
    """Run the sub-command."""
    if args.part == "unpack":
        from embodied.simulators.scenes.unpack import unpack_archive

        unpack_archive(args.archive, args.target)
        print(f"unpacked {args.archive} into {args.target}")
    elif args.part == "list":
        width = max(len(name) for name, _ in READABLE)
        for name, what in READABLE:
            print(f"{name:<{width}}  {what}")
    else:
        args.command_parser.print_help()
    return 0
