"""The page holds everything, asks for nothing, and lets no file's content become markup."""

import re
from base64 import b64decode
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image

from dcfm.report.blocks import Folded, Picture, Text
from dcfm.report.curves import POINTS, draw
from dcfm.report.files import ReportError
from dcfm.report.folders import section
from dcfm.report.page import make_report

LARGEST = 20_000_000


class Reader(HTMLParser):
    """Tags, and the attributes that could fetch or run something."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.handlers: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href", "srcset", "action", "data")]
        self.handlers += [name for name, _ in attrs if name.startswith("on")]


def report(*folders: Path, out: Path) -> str:
    make_report(folders, out, title="A & B", command="python scripts/report.py", largest=LARGEST)
    return out.read_text(encoding="utf-8")


def test_everything_is_within_and_nothing_runs(results: Path, tmp_path: Path) -> None:
    text = report(results, results / "video", out=tmp_path / "report.html")
    found = Reader(text)
    assert "script" not in found.tags
    assert not found.handlers
    assert not [a for a in found.addresses if not a.startswith(("data:image/", "data:video/mp4", "#part-"))]
    assert found.tags.count("video") == 2
    assert found.tags.count("img") == 4  # the picture, the curve, and twice the film that is a GIF alone
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    for expected in ("A &amp; B", "results &amp; more", "90.0 %", "[59.6, 98.2]", "3,000", "the first 50 of 60 rows"):
        assert expected in text
    assert "model.safetensors" in text  # named, not shown
    assert "secret.txt" in text
    assert Path("/etc/hostname").read_text().strip() not in re.sub(r"base64,[\w+/=]+", "", text)
    assert 'name="viewport"' in text
    assert len(re.findall("<h1>", text)) == 1


def test_large_files_are_named(results: Path) -> None:
    (film,) = section(results, "r", 100).sections or [None]
    assert film is None or not film.blocks
    blocks = section(results, "r", 3000).blocks
    left = next(block for block in blocks if isinstance(block, Folded) and "not shown" in block.title)
    assert "trials.csv" in str(left.blocks[0])


def test_what_is_too_large_or_below_is_named(tmp_path: Path) -> None:
    """A GIF is shown where the film of its name is too large; files below are named where nothing else is shown."""
    (tmp_path / "film.mp4").write_bytes(b"x" * 4000)
    Image.new("L", (4, 4)).save(tmp_path / "film.gif")
    (tmp_path / "published" / "dcfm_b").mkdir(parents=True)
    (tmp_path / "published" / "dcfm_b" / "model.npz").write_bytes(b"x")
    found = section(tmp_path, "r", 3000)
    shown, left = found.blocks
    assert isinstance(shown, Picture)
    assert isinstance(left, Folded)
    assert left.blocks == [Text("film.mp4 (0.0 MB)\npublished/dcfm_b/model.npz")]
    assert not found.sections


def test_only_ledgers_are_read_as_ledgers(results: Path, tmp_path: Path) -> None:
    """A federation's folder holds a silo's own seconds too."""
    work = results / "silos" / "0" / "work" / "run"
    work.mkdir(parents=True)
    (work / "seconds.jsonl").write_text('{"phase": "stage_one", "seconds": 1.25}\n')
    (work / "ledger.jsonl").write_text((results / "dcfm_b.ledger.jsonl").read_text())
    (results / "fedflow.messages.jsonl").write_text((results / "dcfm_b.ledger.jsonl").read_text())
    text = report(results, out=tmp_path / "report.html")
    assert text.count("what passed between silos") == 3
    assert "stage_one" in text.split("seconds.jsonl")[1]


def test_a_long_curve_is_averaged() -> None:
    """To at most so many points, each the mean of as many steps: of 0 and 2 in turns it is 1 everywhere."""
    steps = [float(step) for step in range(1, 10 * POINTS + 1)]
    long = draw("x", {"step": steps, "loss": [0.0, 2.0] * (5 * POINTS)})
    short = draw("x", {"step": steps[:POINTS], "loss": [0.0, 2.0] * (POINTS // 2)})
    drawn, whole = (b64decode(p.uri.removeprefix("data:image/svg+xml;base64,")).decode() for p in (long, short))
    assert "<!-- loss, means of 10 steps -->" in drawn
    assert "<!-- loss -->" in whole
    assert whole.count("\nL ") > drawn.count("\nL ") + POINTS // 2  # which is a straight line
    assert draw("x", {"step": steps, "loss": [0.0, 2.0] * (5 * POINTS)}) == long


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("metrics.json", b'{"a": ', "metrics.json is damaged"),
        ("deep.json", b"[" * 100_000, "deep.json is damaged"),
        ("paths.png", b"\x89PNG\r\n\x1a\n", "paths.png is no readable picture"),
        ("film.mp4", b"not a film", "film.mp4 is no video/mp4"),
        ("table.txt", b"\xff\xfe", "table.txt is not a text in UTF-8"),
        ("x.ledger.jsonl", b'{"silo": 1}\n', "no ledger of messages"),
        ("losses/a.csv", b"time\n", "no file of loss curves"),
    ],
)
def test_damaged_files_stop_before_writing(
    results: Path, tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    out = tmp_path / "report.html"
    out.write_text("old")
    (results / name).write_bytes(content)
    with pytest.raises(ReportError, match=message):
        report(results, out=out)
    assert out.read_text() == "old"


def test_folders_that_cannot_be_reported(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    (empty / "hydra").mkdir(parents=True)
    for folders, message in (((), "folders=\\[\\]"), ((tmp_path / "no",), "is no folder"), ((empty,), "holds nothing")):
        with pytest.raises(ReportError, match=message):
            report(*folders, out=tmp_path / "report.html")
    with pytest.raises(ReportError, match="give the name of a file"):
        report(empty, out=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["empty"]
