"""The NIH ChestX-ray14 folder as people download it, and grey pictures from image files of any kind."""

import csv
import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from jaxtyping import Bool, Int
from PIL import Image
from torch import Tensor

from dcfm_xray.findings import FindingError, parse, to_labels
from dcfm_xray.sources import Picture, Problems, SourceError, UnreadableImage, digest

_COLUMNS: Final = ("Image Index", "Finding Labels", "Patient ID")
"""Of the table, those that are needed."""

_DARKEST: Final = 1 << 14
"""Above what fits into 14 bits: 16-bit images of lower values alone hold 10, 12 or 14 bits that nobody scaled."""


@dataclass(frozen=True)
class NihFolder:
    """The NIH ChestX-ray14 folder: ``Data_Entry_2017*.csv``, and PNG images anywhere below (``images_001/images/...``),
    in folders that are links, too.

    Rows of the table without an image, images without a row, rows that are cut off or whose label names no finding, and
    files whose name a later one in another folder has, too, are left out and counted. A file that cannot be decoded is
    an unreadable image; one that cannot be read is an ``OSError``, since a disk that fails or a mount that drops is no
    property of the image. Colour images are turned to grey, 16-bit ones scaled to 8 bits, transparency is ignored. 12
    bits in 16, unscaled, would be black, and count as an image that cannot be decoded.

    Raises:
        SourceError: no folder, not exactly one table, one that cannot be read or lacks columns, or nothing left.
    """

    folder: Path

    def __post_init__(self) -> None:
        self._opened  # noqa: B018 - what is wrong is told at once

    @cached_property
    def _opened(self) -> "_Opened":
        if not self.folder.is_dir():
            raise SourceError(
                f"{self.folder} is no folder; give the one that holds Data_Entry_2017*.csv and the images"
            )
        tables = sorted(self.folder.glob("Data_Entry_2017*.csv"))
        if len(tables) != 1:
            raise SourceError(
                f"{self.folder} holds {len(tables)} tables named Data_Entry_2017*.csv; it needs exactly one"
            )
        return _open_rows(self.folder, _read_table(tables[0]))

    @property
    def name(self) -> str:
        return f"NIH ChestX-ray14 ({len(self._opened.paths)} images in {self.folder})"

    @property
    def labels(self) -> Int[Tensor, "images 14"]:
        return self._opened.labels

    @property
    def patients(self) -> Int[Tensor, " images"]:
        return self._opened.patients

    @property
    def knows_patients(self) -> bool:
        return True

    @property
    def problems(self) -> Problems:
        return self._opened.problems

    @property
    def given_test(self) -> Bool[Tensor, " images"] | None:
        """Images that the folder's ``test_list.txt`` names, where there is one; the NIH lists split by patients."""
        path = self.folder / "test_list.txt"
        if not path.is_file():
            return None
        named = set(path.read_text(encoding="utf-8-sig").split())  # some editors begin a file with a mark
        return torch.tensor([file.name in named for file in self._opened.paths])

    @property
    def fingerprint(self) -> str:
        return self._fingerprint

    @cached_property
    def _fingerprint(self) -> str:
        """Of names, sizes, ends, labels and patients; read once, since there can be 112,120 files."""
        files = [f"{path.name} {_size_and_end(path)}" for path in self._opened.paths]
        return digest(*files, self.labels, self.patients)

    def read(self, rows: Sequence[int], size: int) -> list[Picture | UnreadableImage]:
        return [_read_file(self._opened.paths[row], size) for row in rows]


@dataclass(frozen=True, eq=False)
class _Opened:
    paths: list[Path]
    labels: Tensor
    patients: Tensor
    problems: Problems


def _read_table(path: Path) -> list[dict[str, Any]]:
    """The rows; the cells that a row lacks are ``None``."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            missing = set(_COLUMNS) - set(reader.fieldnames or ())
            rows = list(reader)
    except (csv.Error, UnicodeDecodeError) as error:
        raise SourceError(f"{path} is no readable table ({error}); download it again") from error
    if missing:
        raise SourceError(
            f"{path} has no column {', '.join(sorted(missing))}; it is another table, or its columns are not separated "
            "by commas"
        )
    return rows


def _is_cut_off(row: Mapping[str, Any], whole: Mapping[str, Any]) -> bool:
    """Whether a row lacks what is needed, or ends earlier than one that is whole: its last number may lack digits."""
    lacking, usual = ([*cells.values()].count(None) for cells in (row, whole))
    return lacking > usual or any(row[column] is None for column in _COLUMNS)


def _images(folder: Path) -> list[Path]:
    """The PNG files anywhere below, sorted; in linked folders, too, each folder once: a link may lead back."""
    found: list[Path] = []
    entered: set[tuple[int, int]] = set()
    for where, folders, files in os.walk(folder, followlinks=True):
        stat = os.stat(where)
        if (stat.st_dev, stat.st_ino) in entered:
            folders.clear()
            continue
        entered.add((stat.st_dev, stat.st_ino))
        folders.sort()  # which of several ways to a folder is taken must not depend on the file system
        paths = (Path(where, name) for name in files if name.endswith(".png"))
        found += [path for path in paths if path.is_file()]  # a link that leads nowhere: its row has no file
    return sorted(found)


def _open_rows(folder: Path, rows: Sequence[Mapping[str, Any]]) -> _Opened:
    paths, sets, patients = [], [], []
    kinds = ("rows without a file", "files without a row", "rows left out", "files of the same name as a later one")
    left_out: dict[str, list[str]] = {kind: [] for kind in kinds}
    files: dict[str, Path] = {}
    for path in _images(folder):
        if path.name in files:
            left_out["files of the same name as a later one"].append(str(files[path.name].relative_to(folder)))
        files[path.name] = path
    named = set()
    for row in rows:
        name = str(row["Image Index"])
        if name in named:
            left_out["rows left out"].append(f"{name}: it has two rows")
            continue
        named.add(name)
        if name not in files:
            left_out["rows without a file"].append(name)
            continue
        if _is_cut_off(row, rows[0]):
            left_out["rows left out"].append(f"{name}: its row is cut off")
            continue
        try:
            findings, patient = parse(row["Finding Labels"]), _patient(row["Patient ID"])
        except FindingError as error:
            left_out["rows left out"].append(f"{name}: {error}")
            continue
        except ValueError:
            left_out["rows left out"].append(f"{name}: patient {row['Patient ID']!r} is no number")
            continue
        paths.append(files[name])
        sets.append(findings)
        patients.append(patient)
    left_out["files without a row"] = sorted(files.keys() - named)
    problems = Problems(left_out)
    if not paths:
        found = problems.describe() or "the table has no rows"
        raise SourceError(f"{folder} has no image with a usable row of the table:\n{found}")
    return _Opened(paths, to_labels(sets), torch.tensor(patients), problems)


def _patient(text: str) -> int:
    """A patient's number as 64 bits hold it: longer ones, as some hospitals have, become others.

    Raises:
        ValueError: it is none.
    """
    number = int(text)
    if -(1 << 63) <= number < 1 << 63:
        return number
    return int.from_bytes(hashlib.sha256(str(number).encode()).digest()[:8], "big") >> 1


def _size_and_end(path: Path) -> str:
    """Bytes of a file, and the last 32 of them, which in a PNG file hold checksums of its pixels: images without
    compression have one size whatever they show."""
    with path.open("rb") as file:
        length = file.seek(0, os.SEEK_END)
        file.seek(max(0, length - 32))
        return f"{length} {file.read().hex()}"


def _read_file(path: Path, size: int) -> Picture | UnreadableImage:
    try:
        with Image.open(path) as image:
            return to_grey(image, size, deep=_has_sixteen_bits(path))
    except OSError as error:
        if error.errno is not None:  # the system's, which may pass; Pillow's, about the content, have none
            raise OSError(
                error.errno,
                f"{error.strerror}, while reading an image; run the same command again once it can be read",
                str(path),
            ) from error
        return UnreadableImage(f"{path}: {error}")
    except MemoryError:
        raise
    except Exception as error:  # of a malformed file Pillow raises many kinds, struct.error and IndexError among them
        return UnreadableImage(f"{path}: {error}")


def _has_sixteen_bits(path: Path) -> bool:
    """Whether a PNG file stores 16 bits a channel, of which Pillow gives colours' highest eight."""
    with path.open("rb") as file:
        head = file.read(25)
    return head.startswith(b"\x89PNG\r\n\x1a\n") and head[24:] == b"\x10"


def to_grey(image: Image.Image, size: int, *, deep: bool = False) -> Picture:
    """Grey, 8 bits, ``size`` pixels a side: the longer side scaled with antialiasing, the rest padded black.

    Of 16 bits the highest eight are kept; colours are made grey, what is transparent shows its colour.

    Args:
        image: opened.
        size: see above.
        deep: its file has 16 bits a channel, also where the image has eight.

    Raises:
        ValueError: 16 bits of which the highest two are not used, as where 12 were stored: it would come out dark.
    """
    wide = image.mode.startswith(("I", "F"))
    if wide:
        values = np.asarray(image, dtype=np.float32)
        most = values.max()
        if 255 < most < _DARKEST:
            raise ValueError(f"16 bits with no value above {most:.0f} would come out dark; scale its values to 65535")
        top = 65535.0 if most > 255 else 255.0
        image = Image.fromarray((values.clip(0, top) * (255.0 / top)).round().astype(np.uint8))
    grey = image.convert("RGB").convert("L") if image.mode in ("P", "PA", "RGBA", "LA") else image.convert("L")
    if deep and not wide and int(np.asarray(grey).max()) < _DARKEST >> 8:
        raise ValueError("16 bits a colour with no value above 16383 would come out dark; scale its values to 65535")
    scale = size / max(grey.size)
    width, height = (max(1, round(side * scale)) for side in grey.size)
    grey = grey.resize((width, height), Image.Resampling.LANCZOS)
    square = Image.new("L", (size, size))
    square.paste(grey, ((size - width) // 2, (size - height) // 2))
    return torch.from_numpy(np.array(square))
