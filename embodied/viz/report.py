"""One self-contained HTML page: figures, charts, tables and a film, nothing to download."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from embodied.errors import EmbodiedError
from embodied.files import write_text

TEMPLATE = Path(__file__).with_name("report.html")


@dataclass(frozen=True)
class Figure:
    """A picture or chart with its caption.

    Attributes:
        caption: says what is seen and what to look at; plain text.
        image: (H, W, 3) uint8 RGB, or None.
        svg: markup from `charts`, or empty.
        badge: short word laid over the corner ("found"); empty for none.
        good: colour of the badge.
        photo: a photograph (stored as JPEG), not a drawing.
        wide: spans all columns.
    """

    caption: str
    image: NDArray[np.uint8] | None = None
    svg: str = ""
    badge: str = ""
    good: bool = True
    photo: bool = False
    wide: bool = False

    @property
    def source(self) -> str:
        """The image as a data address: JPEG for photographs, PNG for drawings."""
        if self.image is None:
            return ""
        if self.photo:
            kind, options = "jpeg", [cv2.IMWRITE_JPEG_QUALITY, 90]
        else:
            kind, options = "png", [cv2.IMWRITE_PNG_COMPRESSION, 9]
        done, data = cv2.imencode(f".{kind}", cv2.cvtColor(self.image, cv2.COLOR_RGB2BGR), options)
        if not done:
            raise EmbodiedError(f"cannot encode a picture of shape {self.image.shape} as {kind}")
        return f"data:image/{kind};base64,{base64.b64encode(data.tobytes()).decode()}"


@dataclass(frozen=True)
class Table:
    """A table; the first column is text, the others numbers. `best` marks one row."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str = ""
    best: int | None = None


@dataclass(frozen=True)
class Section:
    """A titled part of the page: text, then figures in `columns` columns, then tables."""

    title: str
    text: str = ""
    figures: Sequence[Figure] = ()
    columns: int = 2
    tables: Sequence[Table] = ()
    film: Path | None = None
    film_caption: str = ""

    @property
    def film_source(self) -> str:
        """The film as a data address."""
        if self.film is None:
            return ""
        return f"data:video/mp4;base64,{base64.b64encode(self.film.read_bytes()).decode()}"


@dataclass(frozen=True)
class Report:
    """The whole page.

    Attributes:
        title, lead: heading and one sentence below it.
        tiles: (number, what it is) shown large.
        sections: in order.
        facts: (name, value) at the end: how to repeat it.
    """

    title: str
    lead: str
    tiles: Sequence[tuple[str, str]] = ()
    sections: Sequence[Section] = ()
    facts: Sequence[tuple[str, str]] = field(default_factory=tuple)


def render_report(report: Report) -> str:
    """Return the page as HTML."""
    return str(_template().render(report=report))


def write_report(report: Report, path: str | Path) -> Path:
    """Write the page, atomically, and return its path.

    Raises:
        UnwritableError: the folder cannot be written to.
    """
    write_text(path, render_report(report))
    return Path(path)


@cache
def _template() -> Any:
    import jinja2

    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    return environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
