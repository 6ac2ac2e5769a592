"""Distances of generated pictures to test images: weights, and a kernel distance whose mean is zero if it is."""

from typing import Any

import pytest
import torch
from torch import Tensor

from dcfm.metrics.kernel import kernel_draws
from dcfm_xray.distances import designs, distances, keys_of, shares
from dcfm_xray.findings import label_table
from dcfm_xray.problem import Pictures, feasible_sets


def pictures(labels: Tensor, patients: Tensor | None = None) -> Pictures:
    patients = torch.arange(len(labels)) if patients is None else patients
    return Pictures(torch.zeros(len(labels), 2, 2, dtype=torch.uint8), labels, patients)


def test_distances_weigh_generated_pictures_like_test_images(generator: torch.Generator) -> None:
    sets = feasible_sets()[:2]
    made, real = sets[[0] * 300 + [1] * 300], sets[[0] * 500 + [1] * 100]
    assert shares(keys_of(made), keys_of(real), torch.ones(1, 600)).unique().tolist() == pytest.approx([1 / 3, 5 / 3])

    shifted = [torch.randn(len(y), 3, generator=generator) + 3.0 * (keys_of(y) != 0)[:, None] for y in (made, real)]
    found = distances(pictures(made), shifted[0], pictures(real), shifted[1], sets, draws=20)
    assert found is not None
    assert found["fid"]["value"] < 0.3  # unweighted, the means alone are 3 * 9 * (1/2 - 1/6)^2 = 3 apart
    assert found["sets"] == 2
    assert found["generated_effective"] == pytest.approx(600**2 / (300 / 9 + 300 * 25 / 9))
    few = distances(pictures(made[:3]), shifted[0][:3], pictures(real), shifted[1], sets, draws=5)
    assert few is not None
    assert few["fid"] is None
    assert distances(pictures(made[:1]), shifted[0][:1], pictures(real), shifted[1], sets[1:], draws=5) is None


def test_kid_of_equal_distributions_is_zero_on_average(generator: torch.Generator) -> None:
    """Sets as common as in the NIH table and far apart, several images a patient. Without the design it is negative,
    with one that leaves test images' sets open, too."""
    table = label_table().feasible()
    chosen = table.counts.argsort(descending=True)[[0, 1, 2, 20, 53]]
    sets, share = table.labels[chosen], table.counts[chosen].double()
    means = torch.randn(len(sets), 4, generator=generator)
    patients = torch.arange(400) // 2

    def features(label: Tensor, common: Tensor) -> Tensor:
        return means[label] + 0.02 * common + 0.02 * torch.randn(len(label), 4, generator=generator)

    found, plain = [], []
    for _ in range(25):
        real = torch.multinomial(share, 400, replacement=True, generator=generator)
        made = torch.arange(len(sets)).repeat_interleave(6)
        y = features(real, torch.randn(200, 4, generator=generator)[patients])
        x = features(made, torch.randn(len(made), 4, generator=generator))
        judged = distances(pictures(sets[made]), x, pictures(sets[real], patients), y, sets, draws=2)
        assert judged is not None
        found.append(judged["kid"]["value"])
        rows = torch.isin(made, real)
        weights = shares(made[rows], real, torch.ones(1, 400))
        plain.append(float(kernel_draws(x[rows], y, weights, torch.ones(1, 400))))
    right, biased = torch.tensor(found), torch.tensor(plain)
    assert abs(right.mean()) < 3 * right.std() / len(right) ** 0.5
    assert biased.mean() < -10 * right.std() / len(right) ** 0.5


def test_a_draw_of_the_bootstrap_weighs_pictures_by_its_own_test_images(generator: torch.Generator) -> None:
    """Two sets, far apart, whose features are the same on both sides: with the shares of each draw every distance is
    zero, however its patients are split between the sets; with those of all patients it is that of the shares."""
    sets = feasible_sets()[:2]
    made, real = sets[[0] * 300 + [1] * 300], sets[[0] * 30 + [1] * 30]
    ends = [5.0 * (keys_of(y) != keys_of(sets[:1]))[:, None].float().expand(-1, 2) for y in (made, real)]
    found = distances(pictures(made), ends[0], pictures(real), ends[1], sets, draws=50)
    assert found is not None
    assert max(found["fid"]["draws"]) < 0.3  # an unbiased covariance of 60 images is 60 / 59 of one of many
    assert max(map(abs, found["kid"]["draws"])) < 1e-5 * 5**6
    wy = torch.cat([torch.full((1, 30), 2.0), torch.zeros(1, 30)], 1)
    assert shares(keys_of(made), keys_of(real), wy).unique().tolist() == pytest.approx([0, 0.2])


def test_only_sets_that_are_asked_for_and_that_both_sides_have_are_compared(generator: torch.Generator) -> None:
    sets = feasible_sets()[:4]
    made, real = sets[[0] * 40 + [1] * 40 + [2] * 40], sets[[0] * 60 + [1] * 30 + [3] * 30]
    x, y = torch.randn(120, 3, generator=generator), torch.randn(120, 3, generator=generator) + 1

    def found(generated: int, tests: int, asked: Tensor) -> dict[str, Any] | None:
        given = pictures(made[:generated]), x[:generated], pictures(real[:tests]), y[:tests]
        return distances(*given, asked, draws=5)

    both, first = found(120, 120, sets), found(120, 120, sets[:1])
    assert both == found(80, 90, sets[:2])
    assert both is not None
    assert (both["generated"], both["real"], both["sets"]) == (80, 90, 2)
    assert first == found(40, 60, sets)


def test_intervals_resample_patients_and_end_where_a_distance_can(generator: torch.Generator) -> None:
    """Ten equal images of each of ten patients are ten; a Frechet distance has a least value, a kernel one has not."""
    made, x = feasible_sets()[[0] * 100], torch.randn(100, 2, generator=generator)
    y = (torch.randn(10, 2, generator=generator) + 3).repeat_interleave(10, dim=0)
    patients = torch.arange(10).repeat_interleave(10)
    widths = []
    for who in (patients, torch.arange(100)):
        found = distances(pictures(made), x, pictures(made, who), y, made[:1], draws=100)
        assert found is not None
        widths.append(found["fid"]["high"] - found["fid"]["low"])
    assert widths[0] > 2 * widths[1]  # the square root of ten
    one, other = (distances(pictures(made), x, pictures(made), x, made[:1], draws=9, seed=seed) for seed in (0, 1))
    assert one is not None
    assert other is not None
    assert one["fid"]["low"] == 0
    assert one["kid"]["low"] < 0
    assert one["fid"]["draws"] != other["fid"]["draws"]


def test_a_set_of_one_patient_joins_the_set_of_most() -> None:
    real, patients = torch.tensor([5, 5, 5, 5, 7, 7, 9, 9]), torch.tensor([0, 0, 0, 0, 1, 2, 3, 3])
    drawn = designs(torch.tensor([5, 5, 7, 7, 9, 9]), real, patients)
    assert drawn[0].strata.tolist() == [5, 5, 7, 7, 9, 9]
    assert len(drawn[0].origins.unique()) == 6
    assert drawn[1].strata.tolist() == [7] * 8
    assert drawn[1].origins is patients
    alone = designs(torch.tensor([5, 5, 7, 7]), torch.tensor([5, 7]), torch.tensor([0, 1]))
    assert alone[1].strata.tolist() == [5, 5]


def test_images_of_one_patient_have_no_distance(generator: torch.Generator) -> None:
    made = feasible_sets()[[0] * 6]
    x = torch.randn(6, 3, generator=generator)
    one = torch.zeros(6, dtype=torch.long)
    assert distances(pictures(made), x, pictures(made, one), x, made[:1], draws=2) is None
    assert distances(pictures(made), x, pictures(made, torch.arange(6) // 3), x, made[:1], draws=2) is not None
