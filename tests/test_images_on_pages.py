"""Figures on the pages about pictures against the files of results that they are from."""

import json
from typing import Any

import torch

from dcfm_images.problem import SPACE
from dcfm_images.results import read_metrics
from dcfm_images.summary import ratio_to
from tests.commands import REPOSITORY
from tests.pages import interval


def test_the_pictures_iid_table_is_the_file_s() -> None:
    page = (REPOSITORY / "docs/images_results.md").read_text()
    shown = page.partition("<!-- iid -->\n")[2].partition("<!-- end iid -->")[0].splitlines()[2:]
    table = json.loads((REPOSITORY / "docs/results/images/quick_iid/table.json").read_text())
    rows = [row for row in table["tables"][0]["rows"] if row["run"]]
    assert len(shown) == len(rows) > 6
    for line, row in zip(shown, rows, strict=True):
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        said = [row[cell]["fid"] for cell in ("known", "novel")]
        expected = [f"{e['value']:.2f} [{e['low']:.2f}, {e['high']:.2f}]" for e in said]
        rates = [row[cell]["accuracy_both"] for cell in ("known", "novel")]
        expected += [f"{100 * e['rate']:.1f} [{100 * e['low']:.1f}, {100 * e['high']:.1f}]" for e in rates]
        assert (cells[0], cells[2:6]) == (table["titles"][row["method"]], expected)


def test_what_limits_the_student_is_what_the_files_say() -> None:
    page = (REPOSITORY / "docs/images_settings.md").read_text()
    shown = page.partition("<!-- student -->\n")[2].partition("<!-- end student -->")[0].splitlines()[2:]
    assert len(shown) == 7
    for line in shown:
        name, score, known, novel, accuracy, folder = (cell.strip() for cell in line.strip("|").split("|"))
        method = "ddm_l" if "DDM+L" in name else "dcfm_b"
        results = REPOSITORY / "docs/results/images" / folder.strip("`") / "iid/seed0" / method
        metrics, selection = (json.loads((results / f"{file}.json").read_text()) for file in ("metrics", "selection"))
        assert int(score) == selection["tried"][selection["chosen"]]["score"]["k"]
        fids = [metrics[cell]["fid"] for cell in ("known", "novel")]
        assert [known, novel] == [f"{e['value']:.2f} [{e['low']:.2f}, {e['high']:.2f}]" for e in fids]
        rate = metrics["novel"]["accuracy"]["both"]
        assert accuracy == f"{100 * rate['rate']:.1f} [{100 * rate['low']:.1f}, {100 * rate['high']:.1f}]"


def test_ratios_of_novel_fids_are_those_of_the_files() -> None:
    """Of trainings on the IID silos, from the draws that the files keep; of pooled, as their tables say."""
    page = " ".join((REPOSITORY / "docs/images_settings.md").read_text().split())
    results = REPOSITORY / "docs/results/images"

    def found(name: str) -> dict[int, dict[str, Any]]:
        return {0: read_metrics(results / name.replace("/", "/iid/seed0/"))}

    for above, below, said in (
        ("lighter/dcfm_b", "quick_iid/dcfm_b", "its novel FID is {} times that of the usual one"),
        ("longer/dcfm_b", "quick_iid/dcfm_b", "its novel FID is {} times the usual one's"),
        ("longer/dcfm_b", "quick_iid/ddm", "and {} times DDM's instead of"),
    ):
        ratio = ratio_to(found(above), found(below), "novel")
        assert ratio is not None
        assert said.format(interval(ratio)) in page, (above, below)
    page = " ".join((REPOSITORY / "docs/images_results.md").read_text().split())
    for name, said in (("quick", "has {} times FedFlow+L's in three silos"), ("brief", "silos and {} times in ten")):
        (table,) = json.loads((results / name / "table.json").read_text())["tables"]
        (ratio,) = (r for r in table["ratios"] if (r["method"], r["cell"]) == ("pooled", "novel"))
        assert ratio["baseline"] == "fedflow_l"
        assert said.format(interval(ratio)) in page, name


def test_ratios_where_silos_share_no_combination_are_over_both_trainings() -> None:
    page = " ".join((REPOSITORY / "docs/images_results.md").read_text().split())
    results = REPOSITORY / "docs/results/images"
    folders = {0: results / "quick_disjoint/disjoint/seed0", 1: results / "quick_disjoint_seeds/disjoint/seed1"}
    methods = ("dcfm_a", "dcfm_b", "dcfm_b_r", "fedflow_l", "ddm_l")
    found = {name: {seed: read_metrics(folder / name) for seed, folder in folders.items()} for name in methods}
    ratios = [ratio_to(found[name], found["ddm_l"], "novel") for name in methods[:4]]
    said = [interval(ratio) for ratio in ratios if ratio is not None]
    a, b, r, averaged = said
    assert f"DDM+L's novel FID DCFM-A has {a} times, DCFM-B {b}, DCFM-B+R {r} and FedFlow+L {averaged}." in page
    assert f"DCFM-A's novel FID is {a} times DDM+L's**, DCFM-B's {b} and DCFM-B+R's {r};" in page


def test_what_imagenet_s_features_say_is_what_the_files_do() -> None:
    """Over both trainings, and of each."""
    text = (REPOSITORY / "docs/images_results.md").read_text()
    shown = text.partition("<!-- imagenet -->\n")[2].partition("<!-- end imagenet -->")[0].splitlines()[2:]
    folder = REPOSITORY / "docs/results/images/quick_disjoint_imagenet"
    table = json.loads((folder / "table.json").read_text())
    rows = [row for row in table["tables"][0]["rows"] if row["run"]]
    trained = [row["method"] for row in rows if row["method"] != "real"]
    found = {name: {seed: read_metrics(folder / f"disjoint/seed{seed}" / name) for seed in (0, 1)} for name in trained}
    ratios = {name: ratio_to(found[name], found["ddm_l"], "novel") for name in trained}
    assert len(trained) == 5
    for line, row in zip(shown, rows, strict=True):
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        novel, name = row["novel"], row["method"]
        rate = novel["accuracy_both"]
        accuracy = f"{100 * rate['rate']:.1f} [{100 * rate['low']:.1f}, {100 * rate['high']:.1f}]"
        assert cells[1:3] == [interval(row[cell]["fid"]) for cell in ("known", "novel")]
        assert cells[4:] == [accuracy, interval(novel["precision"]), interval(novel["recall"])]
        each = [f"{by['novel']['fid']['value']:.2f}" for by in found.get(name, {}).values()]
        assert cells[3] == ", ".join(each)
    page = " ".join(text.split())
    a, b, r, averaged = (interval(ratios[name]) for name in ("dcfm_a", "dcfm_b", "dcfm_b_r", "fedflow_l"))
    assert f"FedFlow+L has {averaged} times." in page
    assert f"this lead over DDM+L is smaller, and DCFM-B's is gone: {a}, {b} and {r} times" in page
    assert (
        f"DCFM-A has {a} times DDM+L's novel FID, DCFM-B+R {r}, and DCFM-B, whose student leaves out most, {b}." in page
    )


def test_known_combinations_score_rounds_as_the_page_says() -> None:
    page = " ".join((REPOSITORY / "docs/images_results.md").read_text().split())

    def score(folder: str, method: str) -> int:
        path = REPOSITORY / f"docs/results/images/{folder}/seed0/{method}/selection.json"
        selection = json.loads(path.read_text())
        return selection["tried"][selection["chosen"]]["score"]["k"]

    folders = ("quick/noniid", "quick_iid/iid")
    rounds, student = ([score(folder, method) for folder in folders] for method in ("dcfm_b_r", "dcfm_b"))
    assert f"they score it {rounds[0]} and {rounds[1]} (non-IID, IID), DCFM-B {student[0]} and {student[1]}" in page
    (iid,) = json.loads((REPOSITORY / "docs/results/images/quick_iid/table.json").read_text())["tables"]
    (ratio,) = (r for r in iid["ratios"] if (r["method"], r["cell"]) == ("dcfm_b_r", "novel"))
    assert page.count(f"{interval(ratio)} times") == 2
    assert ratio["baseline"] == "ddm"


def test_what_ten_silos_of_digits_can_tell_apart_is_what_the_page_says() -> None:
    night = REPOSITORY / "docs/results/images/night/noniid/seed0"
    page = (REPOSITORY / "docs/own-data.md").read_text()
    counts = torch.tensor(json.loads((night / "combinations.json").read_text())["counts"])
    ranks = {n: [SPACE.main_effects_rank((silo >= n).nonzero()) for silo in counts] for n in (1, 100)}
    every, hundred = (f"{min(found)} to {max(found)}" for found in ranks.values())
    assert f"{every} of {SPACE.main_effects} each, but {hundred} from the combinations of which" in page
    ddm_l = {0: read_metrics(night / "ddm_l")}
    dcfm_b, dcfm_a = (ratio_to({0: read_metrics(night / name)}, ddm_l, "novel") for name in ("dcfm_b", "dcfm_a"))
    assert dcfm_b is not None
    assert dcfm_a is not None
    assert f"novel FID {dcfm_b['value']:.2f} and {dcfm_a['value']:.2f} times DDM+L's" in page
    results = " ".join((REPOSITORY / "docs/images_results.md").read_text().split())
    assert f"**DCFM-B's novel FID is {interval(dcfm_b)} times DDM+L's, its known" in results
    fedflow_l = {0: read_metrics(night / "fedflow_l")}
    averaged = [ratio_to({0: read_metrics(night / name)}, fedflow_l, "novel") for name in ("dcfm_b", "dcfm_a")]
    said = "DCFM-B's novel FID is {}, DCFM-A's {} times its"
    assert said.format(*(interval(ratio or {}) for ratio in averaged)) in results
