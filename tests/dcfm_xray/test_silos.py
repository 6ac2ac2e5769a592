"""The split: patients on one side each, withheld combinations in no silo, and silos that can compose."""

import pytest
import torch
from hydra import compose, initialize_config_module

from dcfm_xray.findings import label_table, to_labels
from dcfm_xray.silos import (
    WITHHELD_PAIRS,
    Split,
    SplitError,
    check_disjoint,
    describe,
    is_withheld,
    split,
    split_patients,
)
from dcfm_xray.sources import PhantomSource
from tests.commands import REPOSITORY

SOURCE = PhantomSource(6000, seed=1)
SETTINGS = {"silos": 4, "alpha": 0.3, "test_share": 0.25, "seed": 0}


def test_ten_pairs_and_all_triples_are_withheld_and_feasible() -> None:
    feasible = label_table().feasible().labels
    held = is_withheld(feasible)
    assert int(held.sum()) == len(WITHHELD_PAIRS) + 6
    assert not is_withheld(to_labels([set(), {"Mass"}, {"Mass", "Nodule"}])).any()
    assert is_withheld(to_labels([{"Mass", "Effusion"}, {"Mass", "Effusion", "Edema"}])).all()


@pytest.mark.parametrize("kind", ["iid", "noniid"])
@pytest.mark.parametrize("withhold", [False, True])
def test_every_row_has_one_place(kind: str, withhold: bool) -> None:
    found = split(SOURCE.labels, SOURCE.patients, kind=kind, withhold=withhold, **SETTINGS)  # type: ignore[arg-type]
    rows = torch.cat([*found.silos, found.test, found.withheld])
    assert torch.equal(rows.sort().values, torch.arange(6000))
    train = torch.cat(found.silos)
    assert not set(SOURCE.patients[train].tolist()) & set(SOURCE.patients[found.test].tolist())
    assert is_withheld(SOURCE.labels[train]).any() != withhold
    assert is_withheld(SOURCE.labels[found.withheld]).all()
    assert bool(len(found.withheld)) == withhold
    patients = (len(SOURCE.patients[part].unique()) for part in (found.test, torch.arange(6000)))
    assert next(patients) == round(0.25 * next(patients))
    silos = {f"hospital{i}": SOURCE.labels[rows] for i, rows in enumerate(found.silos)}
    text = describe(silos, found, SOURCE.labels)
    assert text.count("hospital") == 4
    labels = SOURCE.labels[found.test]
    sets, first = len(labels.unique(dim=0)), int(labels[:, 0].sum())
    assert f"test: {len(labels)} images, {sets} label sets: Atelectasis {first}, " in text


def test_the_seed_decides_who_is_where() -> None:
    one, same, other = (
        split(SOURCE.labels, SOURCE.patients, kind="iid", withhold=True, **SETTINGS | {"seed": seed})  # type: ignore[arg-type]
        for seed in (0, 0, 1)
    )
    assert torch.equal(one.test, same.test)
    assert torch.equal(one.silos[0], same.silos[0])
    assert not torch.equal(one.test, other.test)


def test_a_data_sets_own_split_is_used() -> None:
    given = SOURCE.patients > 1000
    found = split(SOURCE.labels, SOURCE.patients, kind="iid", withhold=False, given_test=given, **SETTINGS)  # type: ignore[arg-type]
    assert torch.equal(found.test, given.nonzero()[:, 0])


def test_a_leaking_split_is_refused() -> None:
    given = torch.arange(6000) % 2 == 0
    with pytest.raises(SplitError, match=r"lie in a silo.* and in the test set"):
        split(SOURCE.labels, SOURCE.patients, kind="iid", withhold=False, given_test=given, **SETTINGS)  # type: ignore[arg-type]


def test_a_withheld_image_of_a_test_patient_is_refused() -> None:
    found = Split((torch.tensor([0, 1]),), torch.tensor([2]), torch.tensor([3]))
    check_disjoint(found, torch.tensor([0, 1, 2, 3]))
    with pytest.raises(SplitError, match=r"patients \[7\].*withheld"):
        check_disjoint(found, torch.tensor([0, 1, 7, 7]))


@pytest.mark.parametrize("test", [False, True])
def test_a_test_list_that_leaves_one_side_empty_is_refused(test: bool) -> None:
    given = torch.full((6000,), test)
    with pytest.raises(SplitError, match=f"names {6000 * test} of its 6000 images"):
        split(SOURCE.labels, SOURCE.patients, kind="iid", withhold=False, given_test=given, **SETTINGS)  # type: ignore[arg-type]


def test_a_row_used_twice_is_refused() -> None:
    twice = Split((torch.tensor([0, 1]),), torch.tensor([2]), torch.tensor([1]))
    with pytest.raises(SplitError, match="two parts"):
        check_disjoint(twice, torch.tensor([0, 1, 2]))


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_a_side_without_patients(share: float, generator: torch.Generator) -> None:
    with pytest.raises(SplitError, match="one side"):
        split_patients(SOURCE.patients, share, generator)


def test_silos_that_cannot_compose() -> None:
    few = PhantomSource(60, seed=1)
    with pytest.raises(SplitError, match="cannot be dealt"):
        split(few.labels, few.patients, kind="iid", withhold=True, **SETTINGS)  # type: ignore[arg-type]


def test_patients_in_several_hospitals_are_as_many_as_the_page_says() -> None:
    """docs/xray.md: of the default phantom, non-IID."""
    with initialize_config_module("dcfm_configs.xray", version_base="1.3"):
        config = compose("train")
    source = PhantomSource(config["images"], config["seed"])
    kept = {key: config[key] for key in ("silos", "alpha", "withhold", "test_share", "seed")}
    found = split(source.labels, source.patients, kind=config["partition"], **kept)
    where = [set(source.patients[rows].tolist()) for rows in found.silos]
    every = set().union(*where)
    several = sum(sum(patient in silo for silo in where) > 1 for patient in every)
    page = (REPOSITORY / "docs/xray.md").read_text()
    assert f"of the default phantom's {len(every):,} training patients {several:,} are in more than one silo" in page
