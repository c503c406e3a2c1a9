"""`embodied view sos`: a panorama, its masks and its scene object spectrum as a picture."""

from __future__ import annotations

import argparse
import math
from pathlib import Path

from embodied.errors import ConfigError

HELP = """
What a robot sees around itself, as masks and as a scene object spectrum (a picture file):
  embodied view sos                              a generated house, from a random place
  embodied view sos --scene flat.glb --at 1.5,-2 --words "the chair by the window"
  embodied view sos --viewpoint 2azQ1b91cZZ_<viewpoint>    boxes of REVERIE"""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add what `view sos` reads."""
    group = parser.add_argument_group("for sos")
    source = group.add_mutually_exclusive_group()
    source.add_argument("--house", type=int, metavar="SEED", help="a generated house (default 0)")
    source.add_argument("--scene", type=Path, metavar="PATH", help="a mesh or scene with labels")
    source.add_argument("--viewpoint", metavar="SCAN_VIEWPOINT", help="a place of REVERIE")
    group.add_argument("--at", metavar="X,Z", help="where to stand [m]; default: a random place")
    group.add_argument("--data", default="data", metavar="DIR", help="folder of the data sets")
    group.add_argument("--words", default="", metavar="TEXT", help="compare with these objects")
    group.add_argument("--scale", default="lin", choices=("lin", "log1p"), help="of the spectrum")
    group.add_argument("--out", type=Path, default=Path("sos.png"), metavar="FILE.png")


def run(args: argparse.Namespace) -> int:
    """Draw the picture and print the categories in sight."""
    import cv2

    from embodied.evaluation.scene_spectrum import (
        draw_view_spectrum,
        observe_viewpoint,
        render_surround,
    )
    from embodied.files import atomic_write
    from embodied.simulators.houses import generate_house
    from embodied.simulators.scenes import load_scene

    if args.out.suffix.lower() not in (".png", ".jpg", ".jpeg"):
        raise ConfigError(f"--out {args.out}: give the name of a .png or .jpg file")
    if args.viewpoint:
        view = observe_viewpoint(args.viewpoint, args.data)
    else:
        scene = load_scene(args.scene) if args.scene else generate_house(args.house or 0)
        view = render_surround(scene, _point(args.at))
    drawn = draw_view_spectrum(view, args.words, args.scale)
    with atomic_write(args.out) as file:
        cv2.imwrite(str(file), drawn.picture[..., ::-1])
    for name, share in drawn.shares.items():
        print(f"{name:<18}{share:7.2%} of the view")
    for name, value in drawn.cosines.items():
        print(f"cosine with '{name}': {value:.3f}")
    print(f"picture: {args.out}")
    return 0


def _point(text: str | None) -> tuple[float, float] | None:
    """Read the point to stand at."""
    if text is None:
        return None
    try:
        x, z = (float(part) for part in text.split(","))
    except ValueError as error:
        raise ConfigError(f"--at {text!r}: give two numbers, e.g. --at 1.5,-2") from error
    if not (math.isfinite(x) and math.isfinite(z)):
        raise ConfigError(f"--at {text!r}: the numbers must be finite")
    return x, z
