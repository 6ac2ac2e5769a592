"""dcfm/configuration.py: types of a script's keys, and a folder that can be written to."""

from dataclasses import dataclass
from pathlib import Path

import pytest
from omegaconf import DictConfig

from dcfm.configuration import one_line_errors, typed, writable


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


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ValueError("steps=0: give 1"), "error: steps=0: give 1"),
        (OSError("full"), "error: full; make room or choose another out="),
        (KeyboardInterrupt(), "interrupted; nothing was written"),
    ],
)
def test_what_a_user_can_mend_is_one_line(error: BaseException, said: str) -> None:
    with pytest.raises(SystemExit) as ended, one_line_errors("nothing was written"):
        raise error
    assert ended.value.code == said


def test_what_a_user_cannot_mend_is_not_hidden() -> None:
    with pytest.raises(RuntimeError, match="a bug"), one_line_errors("nothing was written"):
        raise RuntimeError("a bug")
