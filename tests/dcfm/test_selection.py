"""Choices are made on known combinations only; what was tried is on record."""

import json
from pathlib import Path

import pytest
import torch

from dcfm.selection import KnownOnly, LeakError, select

KNOWN = torch.tensor([[0, 0], [0, 1], [1, 0]])


def test_the_best_on_known_combinations_is_chosen_and_all_is_logged(tmp_path: Path) -> None:
    seen = []

    def score(candidate: int, known: torch.Tensor) -> tuple[int, int]:
        seen.append(known.tolist())
        return candidate, 10

    chosen = select({"a": 3, "b": 7, "c": 7}, score, KNOWN, criterion="of ten")
    assert chosen.chosen == "b"
    assert seen == [KNOWN.tolist()] * 3
    chosen.to_json(tmp_path / "selection.json")
    found = json.loads((tmp_path / "selection.json").read_text())
    assert found["chosen"] == "b"
    assert found["scored_combinations"] == KNOWN.tolist()
    assert [found["tried"][name]["score"]["k"] for name in "abc"] == [3, 7, 7]
    assert found["tried"]["a"]["score"]["low"] < 0.3 < found["tried"]["a"]["score"]["high"]
    assert found["tried"]["c"]["settings"] == "7"


def test_the_best_is_by_rate_whatever_the_number_of_trials() -> None:
    assert select({"few": (8, 10), "many": (70, 100)}, lambda score, known: score, KNOWN).chosen == "few"


def test_a_score_that_changes_its_combinations_changes_them_for_nobody_else() -> None:
    seen = []

    def score(candidate: int, known: torch.Tensor) -> tuple[int, int]:
        seen.append(known.tolist())
        known.zero_()
        return candidate, 10

    given = KNOWN.clone()
    chosen = select({"a": 3, "b": 7}, score, given)
    assert seen == [KNOWN.tolist()] * 2
    assert chosen.as_dict()["scored_combinations"] == given.tolist() == KNOWN.tolist()


def test_a_guarded_field_is_told_what_is_held(separable, batch_of) -> None:
    x, t, y = batch_of(separable, 4)
    held = torch.tensor([True, False]).expand(4, 2)
    found = KnownOnly(separable, separable.labels, separable.null)(x, t, y, held)
    assert torch.equal(found, separable(x, t, y, held))
    assert not torch.equal(found, separable(x, t, y))


def test_a_score_that_looks_at_a_novel_combination_fails(separable, batch_of) -> None:
    """The missing corner, asked whole, is refused; marginals and the null label are what known data teaches."""
    x, t, _ = batch_of(separable, 4)
    guarded = KnownOnly(separable, torch.tensor([[0, 0], [0, 1], [0, 2], [1, 0]]), separable.null)
    for label in ([0, 2], [1, 3], [2, 2], [2, 3]):
        y = torch.tensor([label]).expand(4, 2)
        assert torch.equal(guarded(x, t, y), separable(x, t, y))
    with pytest.raises(LeakError, match=r"label \[1, 2\], which is no known combination"):
        guarded(x, t, torch.tensor([[0, 0], [0, 0], [1, 2], [0, 0]]))


def test_settings_that_lack_a_candidate_are_noticed_before_anything_is_scored() -> None:
    def score(candidate: int, known: torch.Tensor) -> tuple[int, int]:
        raise AssertionError("scored")

    with pytest.raises(ValueError, match="settings describe 'a' but not 'b', 'c'; describe every candidate"):
        select({"a": 1, "b": 2, "c": 3}, score, KNOWN, settings={"a": {"weight": 1}})


def test_nothing_to_choose_from() -> None:
    with pytest.raises(ValueError, match="0 candidates and 3 known"):
        select({}, lambda c, k: (0, 1), KNOWN)
    with pytest.raises(ValueError, match="1 candidates and 0 known"):
        select({"a": 1}, lambda c, k: (0, 1), KNOWN[:0])
    for k, n in ((0, 0), (-1, 3), (4, 3)):
        with pytest.raises(ValueError, match=f"scored {k} of {n}"):
            select({"a": (k, n)}, lambda score, known: score, KNOWN)
