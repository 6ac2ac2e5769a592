"""dcfm/toy/deal.py: who holds what."""

import pytest
import torch

from dcfm.silos import check_silos
from dcfm.toy.deal import DEALS, deal, describe, holders, read_partitions, silo_values
from dcfm.toy.mixture import Mixture, draw_missing, toy_space, usual_missing

LEFT_AND_BOTTOM = torch.tensor([[0, 0], [0, 1], [1, 0]])


def test_the_papers_arrangement(generator: torch.Generator) -> None:
    """With the top right mode missing, silo 0 holds the left column and silo 1 the bottom row."""
    assert silo_values(LEFT_AND_BOTTOM, 2) == [(0, 0), (1, 0)]
    assert holders(LEFT_AND_BOTTOM, 2, generator).tolist() == [[True, True], [True, False], [False, True]]
    silos = deal(Mixture(), LEFT_AND_BOTTOM, "noniid", 2, 100, seed=0)
    assert describe(silos, toy_space(2)) == {
        "silo0": {"0-0": 50, "0-1": 100},
        "silo1": {"0-0": 50, "1-0": 100},
    }


def test_more_silos_than_attributes_vary_the_value() -> None:
    assert silo_values(LEFT_AND_BOTTOM, 5) == [(0, 0), (1, 0), (0, 1), (1, 1), (0, 0)]


def test_the_value_that_a_silo_sees_is_that_of_more_combinations() -> None:
    """0 where both have as many."""
    whole = toy_space(2).combinations()
    assert silo_values(whole, 2) == [(0, 0), (1, 0)]
    assert silo_values(whole[1:], 2) == [(0, 1), (1, 1)]


def test_what_matches_no_silo_goes_to_one(generator: torch.Generator) -> None:
    observed = torch.tensor([[0, 0, 0], [0, 0, 1], [0, 1, 0], [1, 0, 0], [1, 1, 1]])
    held = holders(observed, 3, generator)
    assert held[-1].sum() == 1
    assert held[0].all()


@pytest.mark.parametrize("kind", DEALS)
@pytest.mark.parametrize(("attributes", "silos"), [(2, 2), (3, 2), (3, 3), (4, 5), (5, 2)])
def test_every_sample_lies_in_one_silo_and_the_missing_in_none(kind: str, attributes: int, silos: int) -> None:
    mixture = Mixture(attributes)
    observed, missing = draw_missing(
        mixture.space, usual_missing(attributes), torch.Generator().manual_seed(attributes)
    )
    dealt = deal(mixture, observed, kind, silos, 40, seed=1, alpha=1.0)
    points = torch.cat([silo.data for silo in dealt])
    labels = torch.cat([silo.labels for silo in dealt])
    assert len(points) == len(torch.unique(points, dim=0)) == 40 * len(observed)
    combinations, counts = torch.unique(labels, dim=0, return_counts=True)
    assert torch.equal(combinations, observed)
    assert (counts == 40).all()
    assert not (labels[:, None] == missing).all(-1).any()
    assert check_silos(mixture.space, dealt).total == 40 * len(observed)
    again = deal(mixture, observed, kind, silos, 40, seed=1, alpha=1.0)
    assert all(torch.equal(a.data, b.data) for a, b in zip(dealt, again, strict=True))
    other = deal(mixture, observed, kind, silos, 40, seed=2, alpha=1.0)
    assert not torch.equal(torch.cat([silo.data for silo in other]).sort(0).values, points.sort(0).values)


def test_a_silo_sees_its_attribute_at_one_value() -> None:
    mixture = Mixture(4)
    observed, _ = draw_missing(mixture.space, 4, torch.Generator().manual_seed(0))
    values = silo_values(observed, 4)
    covered = torch.stack([observed[:, i] == v for i, v in values], dim=1).any(1)
    for silo, (i, value) in zip(deal(mixture, observed[covered], "noniid", 4, 20, seed=0), values, strict=True):
        assert silo.labels[:, i].unique().tolist() == [value]


def test_samples_lie_where_their_labels_say() -> None:
    mixture = Mixture()
    for silo in deal(mixture, LEFT_AND_BOTTOM, "iid", 2, 2000, seed=0):
        assert float(mixture.within(silo.data, silo.labels).float().mean()) > 0.98


def test_iid_deals_evenly_and_dirichlet_the_less_so_the_smaller_alpha() -> None:
    """Of 400 samples of a combination, what the silo that has most of them holds; a fifth is an equal share."""

    def most(kind: str, alpha: float) -> int:
        silos = deal(Mixture(), LEFT_AND_BOTTOM, kind, 5, 400, seed=0, alpha=alpha)
        return max(count for held in describe(silos, toy_space(2)).values() for count in held.values())

    assert {len(silo) for silo in deal(Mixture(), LEFT_AND_BOTTOM, "iid", 5, 400, seed=0)} == {240}
    assert most("iid", 0.5) < 110
    assert most("dirichlet", 1000.0) < 110
    assert most("dirichlet", 0.5) > 160


@pytest.mark.parametrize(
    ("kind", "silos", "samples", "message"),
    [
        ("non-iid", 2, 10, "unknown partition 'non-iid'"),
        ("iid", 0, 10, "silos=0"),
        ("noniid", 3, 2, "give more samples"),
    ],
)
def test_impossible_deals(kind: str, silos: int, samples: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        deal(Mixture(), LEFT_AND_BOTTOM, kind, silos, samples, seed=0)


def test_a_silo_without_data(generator: torch.Generator) -> None:
    with pytest.raises(ValueError, match="left without data"):
        holders(torch.tensor([[0, 0], [0, 1]]), 3, generator)


def test_partitions_by_name() -> None:
    assert read_partitions("both") == ["iid", "noniid"]
    assert read_partitions("dirichlet") == ["dirichlet"]
    assert read_partitions(["noniid", "iid", "noniid"]) == ["noniid", "iid"]
    for bad in ("all", ["iid", "x"], [], 3):
        with pytest.raises(ValueError, match=r"iid, noniid, dirichlet"):
            read_partitions(bad)
