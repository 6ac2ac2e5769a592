"""What a report is made of: plain values, which the page's template escapes and lays out.

``kind`` names the template's macro. Only :class:`Html` is taken as it is; see :mod:`dcfm.report.files` for its origin.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True)
class Facts:
    """Names and values."""

    kind: ClassVar = "facts"
    rows: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Table:
    """Rows of texts under a head; ``note`` says what is left out."""

    kind: ClassVar = "table"
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""


@dataclass(frozen=True)
class Cell:
    """Of a map: an estimate, its interval and, for its shade, a share in [0, 1]."""

    estimate: str
    interval: str
    share: float


@dataclass(frozen=True)
class Grid:
    """A map: rows by name, each with a cell a column; ``None`` is empty."""

    kind: ClassVar = "grid"
    title: str
    columns: Sequence[str]
    rows: Sequence[tuple[str, Sequence[Cell | None]]]


@dataclass(frozen=True)
class Text:
    """Text as it stands, in a typewriter face."""

    kind: ClassVar = "text"
    text: str


@dataclass(frozen=True)
class Html:
    """Markup that is known to be harmless."""

    kind: ClassVar = "html"
    markup: str


@dataclass(frozen=True)
class Picture:
    """A picture as a data URI."""

    kind: ClassVar = "picture"
    name: str
    uri: str


@dataclass(frozen=True)
class Video:
    """A film as a data URI."""

    kind: ClassVar = "video"
    name: str
    uri: str


@dataclass(frozen=True)
class Folded:
    """Blocks that open on request."""

    kind: ClassVar = "folded"
    title: str
    blocks: Sequence[Block]


Block = Facts | Table | Grid | Text | Html | Picture | Video | Folded


@dataclass(frozen=True)
class Section:
    """A folder: its own blocks, then its subfolders."""

    title: str
    blocks: Sequence[Block]
    sections: Sequence[Section]
