"""Eq. 18 against values worked out by hand, its limits, and intervals that resample patients."""

import pytest
import torch
from torch import Tensor

from dcfm.metrics.intervals import wilson
from dcfm_xray.findings import FINDINGS, parse, to_labels
from dcfm_xray.utility import Composition, utility


def rows(*texts: str) -> Tensor:
    return to_labels([parse(text) for text in texts])


LABELS = rows("Mass", "Mass", "Effusion", "Effusion|Mass", "Effusion|Mass|Nodule", "No Finding")
SAID = rows("Mass", "Nodule", "Effusion|Mass", "Effusion|Mass", "Effusion", "Mass").bool()
SETS = rows("No Finding", "Mass", "Effusion", "Effusion|Mass", "Hernia")
PATIENTS = torch.arange(6)


def test_by_hand() -> None:
    found = utility(SAID, LABELS, PATIENTS, {"all": SETS, "none": SETS[:1]}, draws=20)
    by_set = {row["findings"]: row for row in found["all"]["by_set"]}
    assert list(by_set) == ["Mass", "Effusion", "Effusion|Mass", "Hernia"]  # the empty set is left out
    # Mass: images 0, 1, 3, 4 have it; 0 and 3 are said to. It is said of 0, 2, 3, 5.
    assert (by_set["Mass"]["recall"]["k"], by_set["Mass"]["recall"]["n"]) == (2, 4)
    assert (by_set["Mass"]["precision"]["k"], by_set["Mass"]["precision"]["n"]) == (2, 4)
    assert (by_set["Effusion"]["recall"]["k"], by_set["Effusion"]["recall"]["n"]) == (3, 3)
    assert by_set["Effusion"]["precision"]["rate"] == 1
    # Both: 3 and 4 have them, 3 is said to; said of 2 and 3.
    assert (by_set["Effusion|Mass"]["recall"]["k"], by_set["Effusion|Mass"]["recall"]["n"]) == (1, 2)
    assert by_set["Effusion|Mass"]["precision"]["rate"] == 0.5
    assert by_set["Hernia"]["recall"] is by_set["Hernia"]["precision"] is None
    assert found["all"]["utility"]["value"] == pytest.approx((1 / 2 + 1 + 1 / 2) / 3)
    assert found["all"]["precision"]["value"] == pytest.approx((1 / 2 + 1 + 1 / 2) / 3)
    assert (found["all"]["sets"], found["all"]["sets_without_test_images"]) == (4, 1)
    assert found["all"]["sets_never_predicted"] == 1
    assert found["none"] is None


def test_saying_yes_wins_recall_and_costs_precision() -> None:
    everything = torch.ones(6, len(FINDINGS), dtype=torch.bool)
    found = utility(everything, LABELS, PATIENTS, {"all": SETS}, draws=20)["all"]
    assert found["utility"]["value"] == found["utility"]["high"] == 1 > found["utility"]["low"]  # six are few
    assert found["precision"]["value"] == pytest.approx((4 / 6 + 3 / 6 + 2 / 6 + 0) / 4)
    nothing = utility(~everything, LABELS, PATIENTS, {"all": SETS}, draws=20)["all"]
    assert nothing["utility"]["value"] == 0
    assert nothing["precision"] is None


def test_recall_of_a_pair_is_at_most_that_of_its_parts(generator: torch.Generator) -> None:
    said = torch.rand(200, 14, generator=generator) < 0.6
    labels = torch.full((200, 14), 1)
    single, other, pair = Composition.of(said, labels, rows("Mass", "Edema", "Edema|Mass")).recall(torch.ones(1, 200))[
        0
    ]
    assert pair <= min(single, other)


def test_patients_are_drawn_whole(generator: torch.Generator) -> None:
    said = (torch.rand(300, 14, generator=generator) < 0.5) | False
    labels = torch.ones(300, 14, dtype=torch.long)
    one_each = utility(said, labels, torch.arange(300), {"all": rows("Mass")}, draws=200)["all"]["utility"]
    said[:] = said[:30].repeat_interleave(10, dim=0)  # ten equal images of each of 30 patients
    few = utility(said, labels, torch.arange(30).repeat_interleave(10), {"all": rows("Mass")}, draws=200)["all"][
        "utility"
    ]
    assert few["high"] - few["low"] > 2 * (one_each["high"] - one_each["low"])


def test_intervals_lie_between_0_and_1_and_follow_the_seed() -> None:
    labels, draws = rows(*["Mass"] * 6), set[tuple[float, ...]]()
    for right in (1, 5):  # of six
        said = rows(*["Mass"] * right, *["Nodule"] * (6 - right)).bool()
        for seed in range(8):
            found = utility(said, labels, PATIENTS, {"all": rows("Mass")}, draws=50, seed=seed)["all"]["utility"]
            assert 0 <= found["low"] < found["value"] < found["high"] <= 1
            draws.add(tuple(found["draws"]))
    assert len(draws) == 2 * 8


@pytest.mark.parametrize("right", [False, True])
def test_nothing_or_all_found_is_not_certain(right: bool) -> None:
    """Every draw is the same; the interval ends where Wilson's does, for as many patients as have each set."""
    labels = rows("Mass", "Mass", "Mass", "Nodule", "Nodule")
    patients = torch.tensor([0, 0, 1, 2, 2])
    said = labels.bool() if right else rows("Hernia").repeat(5, 1).bool()
    found = utility(said, labels, patients, {"all": rows("Mass", "Nodule")}, draws=20)["all"]
    end = (wilson(2 * right, 2)[not right] + wilson(right, 1)[not right]) / 2
    value = {True: {"low": pytest.approx(end), "high": 1.0}, False: {"low": 0.0, "high": pytest.approx(end)}}[right]
    assert {name: found["utility"][name] for name in ("low", "high")} == value
    assert found["utility"]["value"] == float(right)


def test_a_draw_is_a_mean_over_the_sets_that_it_holds() -> None:
    """One that holds none is no draw: of three patients it may leave out the only one with a mass."""
    labels, sets = rows("Mass", "Effusion", "Effusion"), rows("Mass", "Effusion")
    found = utility(labels.bool(), labels, PATIENTS[:3], {"both": sets, "one": sets[:1]}, draws=60)
    both, one = (found[name]["utility"]["draws"] for name in ("both", "one"))
    assert set(both) == set(one) == {1.0}
    assert 20 < len(one) < len(both) == 60


def test_no_set_is_an_error() -> None:
    with pytest.raises(ValueError, match="not empty"):
        Composition.of(SAID, LABELS, SETS[:1])
