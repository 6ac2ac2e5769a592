"""Figures: kept pictures are read back by set, and a damaged file is one clear error."""

from pathlib import Path

import pytest
import torch

from dcfm_xray.evaluation import write_pictures
from dcfm_xray.evaluation_settings import EvaluationError
from dcfm_xray.figures import rare_sets, read_pictures
from dcfm_xray.problem import Pictures, feasible_sets


def test_kept_pictures_are_read_and_a_damaged_file_is_an_error(tmp_path: Path) -> None:
    path, labels = tmp_path / "pictures.npz", feasible_sets().repeat_interleave(3, dim=0)
    images = torch.arange(len(labels)).to(torch.uint8)[:, None, None].expand(-1, 4, 4)
    write_pictures(path, Pictures(images, labels, torch.arange(len(labels))), 2)
    found = read_pictures(path)
    assert set(rare_sets()) <= set(found)
    assert {len(kept) for kept in found.values()} == {2}
    whole = path.read_bytes()
    first = whole.index(b"images.npy") + len(b"images.npy") + 25  # within the compressed array
    flipped = whole[:first] + bytes(value ^ 0xFF for value in whole[first : first + 9]) + whole[first + 9 :]
    for damaged in (whole[: len(whole) // 2], b"", b"no archive", flipped):
        path.write_bytes(damaged)
        with pytest.raises(EvaluationError, match="damaged"):
            read_pictures(path)
