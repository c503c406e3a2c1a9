"""What surrounds a place, as category masks and a scene object spectrum, drawn as one picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from embodied.categories import SOS_CATEGORIES, SOS_INDEX
from embodied.errors import ConfigError, NavigationError
from embodied.perception.landmarks import find_landmarks
from embodied.perception.sos import ReferenceSpectra, compute_spectrum, cosine_similarity
from embodied.simulators.annotations import find_data_folder
from embodied.simulators.base import CameraSpec, Scene
from embodied.simulators.connectivity import ConnectivityFiles, ConnectivityWorld
from embodied.simulators.embedded import Simulator
from embodied.simulators.panoramas import ObjectBoxes
from embodied.viz.spectra import draw_spectrum
from maps.panorama.canvas import semantic_to_canvas


@dataclass(frozen=True)
class SurroundView:
    """What is seen all around a place.

    Attributes:
        canvas: (K, H, W) bool, a mask per category.
        photo: (h, w, 3) uint8 panorama; None where nothing is rendered.
        title: where that is.
    """

    canvas: NDArray[np.bool_]
    photo: NDArray[np.uint8] | None
    title: str


@dataclass(frozen=True)
class DrawnSpectrum:
    """A view, its spectrum beside the words', and how alike they are.

    Attributes:
        picture: (h, w, 3) uint8.
        shares: category in view -> its share of the view, largest first.
        cosines: category named by the words -> cosine of its spectrum with the view's.
    """

    picture: NDArray[np.uint8]
    shares: dict[str, float]
    cosines: dict[str, float]


def draw_view_spectrum(
    view: SurroundView, words: str = "", scale: Literal["lin", "log1p"] = "lin"
) -> DrawnSpectrum:
    """Draw a view, its masks and its spectrum.

    Args:
        view: what is seen.
        words: compare with the objects these name.
        scale: of the spectrum, "lin" or "log1p".

    Raises:
        ConfigError: words without an object of a known category.
    """
    rows = list(dict.fromkeys(mark.row for mark in find_landmarks(words)))
    if words and not rows:
        raise ConfigError(f"--words {words!r} names no object of a known category")
    spectrum = compute_spectrum(torch.from_numpy(np.array(view.canvas)), scale)
    references = ReferenceSpectra(scale=scale).compute_spectra(rows)
    picture = draw_spectrum(
        view.canvas, spectrum.numpy(), SOS_CATEGORIES, photo=view.photo, title=view.title,
        words=references.sum(dim=0).numpy() if rows else None,
    )  # fmt: skip
    areas = view.canvas.mean(axis=(1, 2))
    seen = [k for k in np.argsort(-areas, kind="stable") if areas[k] > 0]
    alike = cosine_similarity(references, spectrum[None])[:, 0].tolist()
    return DrawnSpectrum(
        picture,
        {SOS_CATEGORIES[k]: float(areas[k]) for k in seen},
        {SOS_CATEGORIES[row]: value for row, value in zip(rows, alike, strict=True)},
    )


def observe_viewpoint(name: str, data: str) -> SurroundView:
    """Return REVERIE's boxes around a viewpoint.

    Args:
        name: "<scan>_<viewpoint>".
        data: folder of the data sets.

    Raises:
        NavigationError: no such viewpoint.
    """
    scan, _, viewpoint = name.partition("_")
    root = find_data_folder(data)
    graph = ConnectivityFiles(root).read_graph(scan)
    if viewpoint not in graph.places:
        raise NavigationError(
            f"--viewpoint {name}: scan '{scan}' has no viewpoint '{viewpoint}'; it has "
            f"{len(graph.places)}, e.g. {scan}_{graph.places[0]}"
        )
    world = ConnectivityWorld(scan, graph, ObjectBoxes.from_data_folder(root))
    canvas = world.observe_place(graph.places.index(viewpoint)).canvas
    return SurroundView(canvas, None, f"{scan} {viewpoint}: annotated objects within 3 m")


def render_surround(scene: Scene, at: tuple[float, float] | None = None) -> SurroundView:
    """Render a scene all around from the height of a robot's camera.

    Args:
        scene: with labels.
        at: x and z of the place [m]; None draws a random one.

    Raises:
        NavigationError: no floor near there.
    """
    camera = CameraSpec(
        ("rgb", "semantic"), 1024, 512, position=(0.0, 1.4, 0.0), projection="equirectangular"
    )
    simulator = Simulator(scene, camera)
    point = simulator.pathfinder.sample_points(simulator.rng).reshape(3)
    if at is not None:
        point[[0, 2]] = at
    feet = simulator.pathfinder.snap_points(point).reshape(3)
    if not np.isfinite(feet).all():
        raise NavigationError(f"no walkable floor near {at} in {scene.name}")
    simulator.place_agents(feet[None], [0.0])
    images = simulator.get_observations()
    table = np.array([SOS_INDEX.get(name, -1) for name in scene.categories])
    canvas = semantic_to_canvas(table[images["semantic"][0]], len(SOS_CATEGORIES))
    title = f"{scene.name} at x = {feet[0]:.2f}, z = {feet[2]:.2f}"
    return SurroundView(canvas, images["rgb"][0], title)
