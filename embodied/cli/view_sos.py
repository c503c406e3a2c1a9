"""`embodied view sos`: a panorama, its masks and its scene object spectrum as a picture."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from embodied.errors import ConfigError, NavigationError

if TYPE_CHECKING:
    from embodied.simulators.base import Scene

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
    import torch

    from embodied.categories import SOS_CATEGORIES
    from embodied.files import atomic_write
    from embodied.perception.landmarks import find_landmarks
    from embodied.perception.sos import ReferenceSpectra, compute_spectrum, cosine_similarity
    from embodied.viz.spectra import draw_spectrum

    if args.out.suffix.lower() not in (".png", ".jpg", ".jpeg"):
        raise ConfigError(f"--out {args.out}: give the name of a .png or .jpg file")
    rows = list(dict.fromkeys(mark.row for mark in find_landmarks(args.words)))
    if args.words and not rows:
        raise ConfigError(f"--words {args.words!r} names no object of a known category")
    canvas, photo, title = _viewpoint(args) if args.viewpoint else _rendered(args)
    found = compute_spectrum(torch.from_numpy(np.array(canvas)), args.scale)
    words = ReferenceSpectra(scale=args.scale).compute_spectra(rows)
    picture = draw_spectrum(
        canvas, found.numpy(), SOS_CATEGORIES, photo=photo, title=title,
        words=words.sum(dim=0).numpy() if rows else None,
    )  # fmt: skip
    with atomic_write(args.out) as file:
        cv2.imwrite(str(file), picture[..., ::-1])
    area = canvas.mean(axis=(1, 2))
    for k in np.argsort(-area, kind="stable"):
        if area[k] > 0:
            print(f"{SOS_CATEGORIES[k]:<18}{area[k]:7.2%} of the view")
    for row, value in zip(rows, cosine_similarity(words, found[None])[:, 0].tolist(), strict=True):
        print(f"cosine with '{SOS_CATEGORIES[row]}': {value:.3f}")
    print(f"picture: {args.out}")
    return 0


def _viewpoint(args: argparse.Namespace) -> tuple[NDArray[np.bool_], None, str]:
    """Return the canvas of REVERIE's boxes around a viewpoint."""
    from embodied.simulators.annotations import find_data_folder
    from embodied.simulators.connectivity import ConnectivityFiles, ConnectivityWorld
    from embodied.simulators.panoramas import ObjectBoxes

    scan, _, viewpoint = args.viewpoint.partition("_")
    root = find_data_folder(args.data)
    graph = ConnectivityFiles(root).read_graph(scan)
    if viewpoint not in graph.places:
        raise NavigationError(
            f"--viewpoint {args.viewpoint}: scan '{scan}' has no viewpoint '{viewpoint}'; it has "
            f"{len(graph.places)}, e.g. {scan}_{graph.places[0]}"
        )
    world = ConnectivityWorld(scan, graph, ObjectBoxes.from_data_folder(root))
    canvas = world.observe_place(graph.places.index(viewpoint)).canvas
    return canvas, None, f"{scan} {viewpoint}: annotated objects within 3 m"


def _rendered(
    args: argparse.Namespace,
) -> tuple[NDArray[np.bool_], NDArray[np.uint8], str]:
    """Render a scene all around from the height of a robot's camera."""
    from embodied.categories import SOS_CATEGORIES, SOS_INDEX
    from embodied.simulators.base import CameraSpec
    from embodied.simulators.embedded import Simulator
    from maps.panorama.canvas import semantic_to_canvas

    scene = _scene(args)
    camera = CameraSpec(
        ("rgb", "semantic"), 1024, 512, position=(0.0, 1.4, 0.0), projection="equirectangular"
    )
    simulator = Simulator(scene, camera)
    point = _point(args.at, simulator.pathfinder.sample_points(simulator.rng).reshape(3))
    feet = simulator.pathfinder.snap_points(point).reshape(3)
    if not np.isfinite(feet).all():
        raise NavigationError(f"--at {args.at}: no walkable floor near there in {scene.name}")
    simulator.place_agents(feet[None], [0.0])
    images = simulator.get_observations()
    table = np.array([SOS_INDEX.get(name, -1) for name in scene.categories])
    canvas = semantic_to_canvas(table[images["semantic"][0]], len(SOS_CATEGORIES))
    title = f"{scene.name} at x = {feet[0]:.2f}, z = {feet[2]:.2f}"
    return canvas, images["rgb"][0], title


def _scene(args: argparse.Namespace) -> Scene:
    from embodied.simulators.houses import generate_house
    from embodied.simulators.scenes import load_scene

    return load_scene(args.scene) if args.scene else generate_house(args.house or 0)


def _point(text: str | None, otherwise: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the point to stand at; its height is that of a random place."""
    if text is None:
        return otherwise
    try:
        x, z = (float(part) for part in text.split(","))
    except ValueError as error:
        raise ConfigError(f"--at {text!r}: give two numbers, e.g. --at 1.5,-2") from error
    if not np.isfinite([x, z]).all():
        raise ConfigError(f"--at {text!r}: the numbers must be finite")
    return np.array([x, otherwise[1], z])
