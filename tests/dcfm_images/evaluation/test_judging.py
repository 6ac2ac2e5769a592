"""Judging real digits as if they were generated: what must come out is known."""

import pytest
import torch
from torch import Tensor

from dcfm.metrics.frechet import SampleSizeError
from dcfm.metrics.intervals import wilson
from dcfm_images.digits import Digits, load_digits
from dcfm_images.features import FeatureSpace, feature_space
from dcfm_images.judging import Judge, accuracy
from dcfm_images.pictures import Pictures, colour_digits
from dcfm_images.problem import SPACE
from dcfm_images.reader import LoadedReader, load_reader

NOVEL = SPACE.combinations()[::7]


@pytest.fixture(scope="module")
def halves() -> tuple[Digits, Digits]:
    digits = load_digits(None, 16, source="embedded")
    return digits[torch.arange(0, 5000, 2)], digits[torch.arange(1, 5000, 2)]


@pytest.fixture(scope="module")
def judge(halves: tuple[Digits, Digits]) -> Judge:
    reader = load_reader()
    reference = colour_digits(halves[0], NOVEL, 20, seed=0)
    return Judge(feature_space("digits", reader), reader.reader, {"novel": reference}, draws=40)


def test_real_digits_do_well_noise_does_not(judge: Judge, halves: tuple[Digits, Digits]) -> None:
    real = colour_digits(halves[1], NOVEL, 20, seed=1)
    noise = torch.randint(0, 256, real.images.shape, generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    good = judge.judge(real, "novel")
    bad = judge.judge(Pictures(noise, real.labels, real.origins), "novel")
    assert good["accuracy"]["both"]["rate"] > 0.95
    assert bad["accuracy"]["both"]["rate"] < 0.1
    assert good["fid"]["high"] < bad["fid"]["low"]
    assert good["kid"]["low"] < bad["kid"]["low"]
    assert good["precision"]["value"] > 0.7
    assert bad["precision"]["value"] < 0.2
    assert good["recall"]["value"] > 0.7
    assert (good["n"], good["reference"], good["combinations"]) == (300, 300, 15)
    for name in ("fid", "kid", "precision", "recall"):
        assert good[name]["low"] <= good[name]["value"] <= good[name]["high"]
    assert len(good["fid"]["draws"]) == 40


def test_the_reference_itself_is_at_no_distance(judge: Judge) -> None:
    found = judge.judge(judge.references["novel"], "novel")
    digits = len(judge.references["novel"].origins.unique())
    assert found["fid"]["value"] == pytest.approx(0, abs=1e-6)
    for name in ("precision", "recall"):  # the bootstrap of what is the same everywhere has no width; Wilson's has
        assert (found[name]["value"], found[name]["high"]) == (1, 1)
        assert found[name]["low"] == wilson(1 * digits, digits)[0] < 1


def test_one_digit_for_all_is_precise_and_recalls_little(judge: Judge, halves: tuple[Digits, Digits]) -> None:
    real = colour_digits(halves[1], NOVEL, 1, seed=1)
    same = Pictures(
        real.images.repeat_interleave(20, dim=0), real.labels.repeat_interleave(20, dim=0), torch.arange(20 * len(real))
    )
    assert judge.judge(same, "novel")["recall"]["value"] < 0.3


def test_another_label_is_wrong(judge: Judge) -> None:
    reference = judge.references["novel"]
    swapped = Pictures(reference.images, (reference.labels + torch.tensor([0, 1])) % 10, reference.origins)
    found = accuracy(judge.reader, swapped)
    assert found["digit"]["rate"] > 0.95
    assert found["colour"]["rate"] < 0.02
    assert found["both"]["k"] == sum(entry["k"] for entry in found["by_combination"].values())
    assert {entry["n"] for entry in found["by_combination"].values()} == {20}
    assert set(accuracy(judge.reader, reference)["by_combination"]) == {
        f"{SPACE.values[0][digit]} {SPACE.values[1][colour]}" for digit, colour in NOVEL.tolist()
    }
    # The reference's own pictures all lie in it: real ones count, generated ones with another colour do not.
    assert 300 <= judge.successes(swapped, "novel")[0] < 306


def test_repeats(judge: Judge, halves: tuple[Digits, Digits]) -> None:
    real = colour_digits(halves[1], NOVEL, 5, seed=1)
    assert judge.judge(real, "novel") == judge.judge(real, "novel")


def test_successes_count_both_sets(judge: Judge, halves: tuple[Digits, Digits]) -> None:
    real = colour_digits(halves[1], NOVEL, 20, seed=1)
    good, total = judge.successes(real, "novel")
    assert total == 600
    inside = judge.membership(real, "novel")
    assert good <= inside.generated.sum() + inside.real.sum()
    assert good > 400


def shaded(shades: Tensor, origins: Tensor) -> Pictures:
    """Twenty pictures of each of four combinations, each of one grey; two digits in two colours."""
    labels = torch.tensor([[0, 0], [0, 1], [1, 0], [1, 1]]).repeat_interleave(20, dim=0)
    return Pictures(shades.to(torch.uint8)[:, None, None, None].expand(80, 3, 4, 4), labels, origins)


def judge_of(reader: LoadedReader, references: dict[str, Pictures], seed: int = 0) -> Judge:
    """By the greys themselves: a picture lies in the other set's manifold where it has one of its greys."""
    space = FeatureSpace("digits", "", lambda pictures: pictures[:, :, 0, 0], torch.device("cpu"))
    return Judge(space, reader.reader, references, draws=40, seed=seed)


def test_a_draw_has_as_many_of_each_combination_as_there_are() -> None:
    """Combinations far apart and without variety are the same on both sides: no draw tells the two from each other."""
    shades = torch.tensor([0, 80, 160, 240]).repeat_interleave(20)
    digits = torch.cat([torch.arange(20).repeat(2), torch.arange(20, 40).repeat(2)])  # each in two colours
    judge = judge_of(load_reader(), {"novel": shaded(shades, digits)})
    found = judge.judge(shaded(shades, torch.arange(80)), "novel")
    for name in ("fid", "kid"):
        assert found[name]["value"] == pytest.approx(0, abs=1e-5)
        assert found[name]["draws"] == pytest.approx([0] * 40, abs=1e-5)


def test_shares_are_drawn_by_what_is_independent() -> None:
    """Of each combination half lies in the other set: of 80 digits here, of two in all colours there."""
    half = torch.arange(80) % 2
    many, two = shaded(100 * half, torch.arange(80)), shaded(150 * half, half)
    reader = load_reader()
    for seed in range(4):
        one, other = judge_of(reader, {"novel": two}, seed), judge_of(reader, {"novel": many}, seed)
        found, swapped = one.judge(many, "novel"), other.judge(two, "novel")
        for narrow, wide in (
            (found["precision"], found["recall"]),
            (swapped["recall"], swapped["precision"]),
        ):
            assert narrow["value"] == wide["value"] == 0.5
            assert 0.1 < narrow["high"] - narrow["low"] < 0.35
            assert wide["high"] - wide["low"] > 0.7
            assert 0 <= wide["low"] < wide["high"] <= 1


def test_each_cell_has_its_own_reference_and_each_seed_its_own_draws() -> None:
    shades = torch.arange(80)
    known, novel = shaded(shades, torch.arange(80)), shaded(shades + 100, torch.arange(80))
    made, reader = shaded(shades + 50, torch.arange(80)), load_reader()
    both = judge_of(reader, {"known": known, "novel": novel})
    first = both.judge(known, "known")
    assert first["fid"]["value"] == pytest.approx(0, abs=1e-6)
    second = both.judge(made, "novel")
    assert second == judge_of(reader, {"novel": novel}).judge(made, "novel")
    assert second["fid"]["draws"] != judge_of(reader, {"novel": novel}, seed=1).judge(made, "novel")["fid"]["draws"]


def test_too_few_pictures(judge: Judge, halves: tuple[Digits, Digits]) -> None:
    with pytest.raises(SampleSizeError, match="at least 65"):
        judge.judge(colour_digits(halves[1], NOVEL, 4, seed=1), "novel")
    few = Judge(judge.space, judge.reader, {"novel": colour_digits(halves[0], NOVEL, 2, seed=0)})
    with pytest.raises(SampleSizeError, match="at least 65"):
        few.judge(colour_digits(halves[1], NOVEL, 20, seed=1), "novel")
    good, total = few.successes(colour_digits(halves[1], NOVEL, 2, seed=1), "novel")  # takes no covariance
    assert 0 < good <= total == 60
    with pytest.raises(ValueError, match="at least one bootstrap draw"):
        Judge(judge.space, judge.reader, {}, draws=0)
