"""dcfm/configuration.py: types of a script's keys, and a folder that can be written to."""

from dataclasses import dataclass
from pathlib import Path

import pytest
from omegaconf import DictConfig

from dcfm.configuration import typed, writable


@dataclass
class Keys:
    """Of an imagined script."""

    number: int
    maybe: float | None


def test_types_are_checked_and_names_must_exist() -> None:
    assert typed(DictConfig({"number": 3, "maybe": None}), Keys, "mine") == Keys(3, None)
    with pytest.raises(ValueError, match=r"number\); see configs/mine.yaml"):
        typed(DictConfig({"number": "three", "maybe": 1.0}), Keys, "mine")
    with pytest.raises(ValueError, match="other"):
        typed(DictConfig({"number": 3, "maybe": 1.0, "other": 1}), Keys, "mine")


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    assert writable(tmp_path / "a" / "b").is_dir()
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(ValueError, match="choose another out="):
            writable(path)
