"""Files as blocks. Their content is not trusted: it is checked, and whatever is text is escaped.

Markdown goes through markdown-it without HTML, links and pictures, so that its result holds no address at all.
"""

from __future__ import annotations

import csv
import io
import json
from base64 import b64encode
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from PIL import Image

from dcfm.report.blocks import Block, Folded, Html, Picture, Text, Video
from dcfm.report.values import blocks_of, cut

ROWS: Final = 50
"""Of a CSV file's table."""

LONGEST_TEXT: Final = 200_000
"""Characters of a text that are shown."""

PICTURES: Final = {".png": "image/png", ".gif": "image/gif", ".jpg": "image/jpeg", ".jpeg": "image/jpeg"}
VIDEOS: Final = {".mp4": ("video/mp4", 4, b"ftyp"), ".webm": ("video/webm", 0, b"\x1aE\xdf\xa3")}
"""By ending: type, and the bytes that such a file has at a place."""

QUIET: Final = (".record.json", "record.json", "selection.json", "artefact.json", "combinations.json")
"""Ends of names of JSON files that are folded: they are about the run, not its result."""


LEDGERS: Final = ("ledger.jsonl", "messages.jsonl")
"""Ends of names of files that hold a message a line (:mod:`dcfm.exchange`)."""


class ReportError(ValueError):
    """A folder or file that cannot be reported; the text names it and says what to do."""


def _text(path: Path) -> str:
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ReportError(
            f"{path} is not a text in UTF-8 ({error}); remove it from the folder, or make it again"
        ) from error
    return text if len(text) <= LONGEST_TEXT else f"{text[:LONGEST_TEXT]}\n... ({len(text)} characters)"


def _json(path: Path) -> list[Block]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ReportError(f"{path} is damaged ({error}); remove it, or run again what wrote it") from error
    told = any(path.with_name(name).is_file() for name in (path.stem + ".md", "table.md"))
    return blocks_of(value, path.name, folded=told or path.name.endswith(QUIET))


def _csv(path: Path) -> list[Block]:
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.reader(file))
    except (UnicodeDecodeError, csv.Error) as error:
        raise ReportError(f"{path} is damaged ({error}); remove it, or run again what wrote it") from error
    return [Folded(f"{path.name}: {len(rows) - 1} rows", [cut(rows[0], rows[1:], ROWS)])] if rows else []


def _markdown(path: Path) -> list[Block]:
    from markdown_it import MarkdownIt

    reader = MarkdownIt("commonmark", {"html": False}).enable("table")
    reader.disable(["html_block", "html_inline", "image", "link", "autolink", "reference", "entity"])
    tokens = reader.parse(_text(path))
    for token in tokens:
        if token.type.startswith("heading"):  # h1 and h2 are the page's
            token.tag = f"h{min(6, int(token.tag[1]) + 2)}"
    markup = reader.renderer.render(tokens, reader.options, {})
    return [Html(markup.replace("<table>", '<div class="scroll"><table>').replace("</table>", "</table></div>"))]


def _ledger(path: Path) -> list[Block]:
    """Messages between silos, added up."""
    count: Counter[tuple[str, str, str]] = Counter()
    size: Counter[tuple[str, str, str]] = Counter()
    try:
        for line in path.read_text(encoding="utf-8").splitlines():
            message = json.loads(line)
            key = (str(message["silo"]), str(message["direction"]), str(message["kind"]))
            count[key] += 1
            size[key] += int(message["bytes"])
    except (ValueError, KeyError, TypeError) as error:
        raise ReportError(f"{path} is no ledger of messages, or damaged ({error!r}); remove it") from error
    rows = [[*key, str(count[key]), f"{size[key]:,}"] for key in count]
    return [Folded(f"{path.name}: what passed between silos", [cut(["silo", "", "kind", "messages", "bytes"], rows)])]


def _lines(path: Path) -> list[Block]:
    """Ledgers by their names' ends; other files of lines, such as a silo's seconds, as they are."""
    return _ledger(path) if path.name.endswith(LEDGERS) else _folded_text(path)


def _folded_text(path: Path) -> list[Block]:
    return [Folded(path.name, [Text(_text(path))])]


def data_uri(kind: str, content: bytes) -> str:
    """Bytes as a part of the page itself."""
    return f"data:{kind};base64,{b64encode(content).decode()}"


def _picture(path: Path) -> list[Block]:
    content = path.read_bytes()
    try:
        with Image.open(io.BytesIO(content)) as picture:
            kind = f"image/{(picture.format or '').lower()}"
            picture.load()
    except Exception as error:  # Pillow's readers raise what they like
        raise ReportError(f"{path} is no readable picture ({error}); remove it, or run again what wrote it") from error
    if kind not in PICTURES.values():
        raise ReportError(f"{path} holds {kind}, which is not what its name says; remove it")
    return [Picture(path.name, data_uri(kind, content))]


def _video(path: Path) -> list[Block]:
    kind, place, expected = VIDEOS[path.suffix.lower()]
    content = path.read_bytes()
    if content[place : place + len(expected)] != expected:
        raise ReportError(f"{path} is no {kind}; remove it, or run again what wrote it")
    return [Video(path.name, data_uri(kind, content))]


READERS: Final[Mapping[str, Callable[[Path], list[Block]]]] = {
    ".md": _markdown,
    ".txt": lambda path: [Text(_text(path))],
    ".json": _json,
    **dict.fromkeys(PICTURES, _picture),
    **dict.fromkeys(VIDEOS, _video),
    ".csv": _csv,
    ".jsonl": _lines,
    ".yaml": _folded_text,
}
"""By ending, in the order in which a folder's files are shown."""


def read(path: Path) -> list[Any]:
    """A file as blocks.

    Raises:
        ReportError: it is damaged, or not what its name says.
    """
    return READERS[path.suffix.lower()](path)
