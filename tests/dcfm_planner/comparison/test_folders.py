"""Comparing any evaluations: the table's own numbers come out, and what was not asked the same is refused."""

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dcfm.comparison import ComparisonError, Entry
from dcfm_planner.comparison import summary
from dcfm_planner.comparison.collate import collect
from dcfm_planner.comparison.folders import Planner, compare, markdown
from dcfm_planner.comparison.paired import holm
from dcfm_planner.comparison.settings import ComparisonSettings

RESULTS = Path(__file__).parents[3] / "docs" / "results"
NOVEL, KNOWN = ("planner", "novel"), ("planner", "known")


def folder(settings: ComparisonSettings, method: str, seed: int = 0, protocol: str = "paper") -> Path:
    return Entry("noniid", method, seed).results(settings.out) / protocol


def read(settings: ComparisonSettings, method: str, *seeds: int) -> Planner:
    return Planner.read(method, [folder(settings, method, seed) for seed in seeds or (0,)])


def change(where: Path, values: dict[str, Any]) -> None:
    path = where / "metrics.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def place(where: Path, start_x: float) -> None:
    """Put all starts and goals of the trials somewhere."""
    rows = list(csv.DictReader((where / "trials.csv").read_text().splitlines()))
    with (where / "trials.csv").open("w") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(row | {"start_x": start_x, "start_y": 0, "goal_x": 0.4, "goal_y": 0} for row in rows)


def test_numbers_are_those_of_the_table(settings: ComparisonSettings, write) -> None:
    write(settings, Entry("noniid", "dcfm_a", 0), {NOVEL: range(11), KNOWN: range(12)}, at_start=[3])
    write(settings, Entry("noniid", "dcfm_b", 0), {NOVEL: range(2, 12), KNOWN: range(5)})
    write(settings, Entry("noniid", "ddm_l", 0), {NOVEL: range(3), KNOWN: range(1, 9)}, at_start=[0])
    table = summary.tests(collect(settings).at("noniid", "paper"))
    ours = [read(settings, "dcfm_a"), read(settings, "dcfm_b")]
    found = compare(ours, [read(settings, "ddm_l")], "python made up")
    numbers = ("cell", "n", "difference", "low", "high", "first_only", "second_only", "p", "p_holm")
    assert [[test[name] for name in numbers] for test in found["tests"]] == [
        [t[name] for name in numbers] for t in table
    ]
    assert [test["p_holm"] for test in found["tests"]] == holm([test["p"] for test in found["tests"]])
    row = found["rows"][0]
    assert (row["title"], row["known"]["k"], row["known"]["n"], row["novel"]["k"]) == ("dcfm_a", 11, 11, 11)
    assert row["made_with"][0]["folder"] == str(folder(settings, "dcfm_a"))
    assert found["warnings"] == []
    page = markdown(found)
    assert "| dcfm\\_a against ddm\\_l | novel | +66.7" in page
    assert "python made up" in page


def test_what_was_not_compared_makes_no_p_larger(settings: ComparisonSettings, write) -> None:
    """A baseline of another training has no problem in common with ours."""
    several = replace(settings, seeds=(0, 1), methods=("fedflow_l", "ddm_l", "dcfm_b"))
    write(several, Entry("noniid", "dcfm_b", 0), {NOVEL: range(12), KNOWN: range(12)})
    write(several, Entry("noniid", "ddm_l", 0), {NOVEL: range(3), KNOWN: range(9)})
    alone = {t["cell"]: t["p_holm"] for t in summary.tests(collect(several).at("noniid", "paper"))}
    write(several, Entry("noniid", "fedflow_l", 1), {NOVEL: range(12), KNOWN: range(12)})
    found = summary.tests(collect(several).at("noniid", "paper"))
    assert {t["cell"]: t["p_holm"] for t in found if t["baseline"] == "ddm_l"} == alone
    assert {t["p_holm"] for t in found if t["n"] == 0} == {1.0}


def test_trainings_are_paired_in_their_order(settings: ComparisonSettings, write) -> None:
    several = replace(settings, seeds=(0, 1))
    for seed, (mine, its) in enumerate([(12, 12), (6, 0)]):
        write(several, Entry("noniid", "dcfm_b", seed), {NOVEL: range(mine)})
        write(several, Entry("noniid", "ddm_l", seed), {NOVEL: range(its)})
    ours = read(several, "dcfm_b", 0, 1)
    novel, known = compare([ours], [read(several, "ddm_l", 0, 1)], "")["tests"]
    assert (novel["n"], novel["first_only"], novel["second_only"]) == (24, 6, 0)
    assert novel["interval"] == "hierarchical bootstrap"
    assert known["difference"] == 0.0
    crossed = compare([ours], [read(several, "ddm_l", 1, 0)], "")["tests"][0]
    assert (crossed["first_only"], crossed["second_only"]) == (12, 6)
    with pytest.raises(
        ComparisonError, match="dcfm_b has 2 folders and ddm_l 1; trainings are compared in their order"
    ):
        compare([ours], [read(several, "ddm_l", 0)], "")


def test_other_questions_are_refused(settings: ComparisonSettings, write) -> None:
    write(settings, Entry("noniid", "dcfm_b", 0), {})
    write(replace(settings, seed=3), Entry("noniid", "ddm_l", 0), {})
    with pytest.raises(ComparisonError, match=r"not asked the same problems: protocol=paper, seed=0, .*seed=3"):
        compare([read(settings, "dcfm_b")], [read(settings, "ddm_l")], "")
    given = Planner.read("given", [folder(settings, "dcfm_b", protocol="given")])
    with pytest.raises(ComparisonError, match="protocol=given"):
        compare([read(settings, "dcfm_b")], [given], "")


def test_another_domain_is_read_and_refused_beside_the_cube() -> None:
    maze = Planner.read("maze", [RESULTS / "maze" / "noniid-dcfm_b-paper"])
    assert maze.share("novel").n == 200
    path = RESULTS / "planner_table" / "chosen" / "noniid" / "seed0" / "ddm_l" / "paper"
    cube = Planner.read("cube", [path])
    cube = replace(cube, metrics=(dict(cube.metrics[0], trials=200),))
    with pytest.raises(ComparisonError, match="not asked the same problems cannot be compared"):
        compare([maze], [cube], "")


@pytest.mark.parametrize(("key", "value"), [("controller", "planned"), ("max_steps", 5)])
def test_execution_that_differs_is_said(settings: ComparisonSettings, write, key: str, value: str | int) -> None:
    write(settings, Entry("noniid", "dcfm_b", 0), {})
    write(settings, Entry("noniid", "ddm_l", 0), {})
    change(folder(settings, "ddm_l"), {key: value})
    found = compare([read(settings, "dcfm_b")], [read(settings, "ddm_l")], "")
    (warning,) = found["warnings"]
    assert warning.startswith(f"{key} differs: ")
    assert f"{json.dumps(value)} for ddm_l" in warning
    assert f"Warning: {warning}" in markdown(found)


def test_sampling_is_told(settings: ComparisonSettings, write) -> None:
    write(settings, Entry("noniid", "dcfm_b", 0), {})
    write(settings, Entry("noniid", "ddm_l", 0), {})
    how = {"steps": 5, "solver": "midpoint", "horizon": 96, "rule": "composed", "guidance": [1.5, 1.0]}
    change(folder(settings, "dcfm_b"), {"planner": how})
    page = markdown(compare([read(settings, "dcfm_b")], [read(settings, "ddm_l")], ""))
    assert "| composed, w = 1.5, 1; 5 midpoint steps |" in page
    change(folder(settings, "dcfm_b"), {"method": "dcfm_a", "planner": how | {"rule": "joint"}})
    page = markdown(compare([read(settings, "dcfm_b")], [read(settings, "ddm_l")], ""))
    assert "| joint; novel pairs composed, w = 1.5, 1; 5 midpoint steps |" in page


def test_an_older_training_says_less_of_its_sampling(settings: ComparisonSettings, write) -> None:
    folders = []
    for seed in (0, 1):
        write(settings, Entry("noniid", "dcfm_b", seed), {})
        folders.append(Entry("noniid", "dcfm_b", seed).results(settings.out) / "paper")
    how = {"steps": 5, "solver": "midpoint", "horizon": 96}
    change(folders[0], {"planner": how})
    change(folders[1], {"planner": how | {"rule": "joint", "guidance": [1.0, 1.0]}})
    write(settings, Entry("noniid", "ddm_l", 0), {})
    write(settings, Entry("noniid", "ddm_l", 1), {})
    other = [Entry("noniid", "ddm_l", seed).results(settings.out) / "paper" for seed in (0, 1)]
    page = markdown(compare([Planner.read("B", folders)], [Planner.read("L", other)], ""))
    assert "| joint; 5 midpoint steps |" in page


def test_starts_and_goals_that_were_given_are_held_against_each_other(settings: ComparisonSettings, write) -> None:
    for method in ("dcfm_b", "ddm_l"):
        write(settings, Entry("noniid", method, 0), {}, protocols=["given"])
        place(folder(settings, method, protocol="given"), 0.25)
    ours, other = (Planner.read(m, [folder(settings, m, protocol="given")]) for m in ("dcfm_b", "ddm_l"))
    assert compare([ours], [other], "")["tests"][0]["n"] == 12
    place(folder(settings, "ddm_l", protocol="given"), 0.26)
    other = Planner.read("ddm_l", [folder(settings, "ddm_l", protocol="given")])
    with pytest.raises(ComparisonError, match=r"starts or goals of known pairs in .*ddm_l.* are others than in"):
        compare([ours], [other], "")


def test_one_training_does_not_count_several_times(settings: ComparisonSettings, write, tmp_path: Path) -> None:
    write(settings, Entry("noniid", "dcfm_b", 0), {})
    there = folder(settings, "dcfm_b")
    with pytest.raises(ComparisonError, match="1 of 2 folders are named twice"):
        Planner.read("Mine", [there, there / ".." / there.name])
    shutil.copytree(there, tmp_path / "copy")
    twice = Planner.read("Mine", [there, tmp_path / "copy"])
    other = replace(twice, title="Other")
    warnings = compare([twice], [other], "")["warnings"]
    assert "Mine: the same weights in several folders count as several trainings" in warnings


def test_trials_beside_metrics_of_another_evaluation_are_refused(settings: ComparisonSettings, write) -> None:
    write(settings, Entry("noniid", "dcfm_b", 0), {NOVEL: range(4)})
    old = (folder(settings, "dcfm_b") / "metrics.json").read_text()
    write(settings, Entry("noniid", "dcfm_b", 0), {NOVEL: range(5)})
    (folder(settings, "dcfm_b") / "metrics.json").write_text(old)
    with pytest.raises(ComparisonError, match=r"trials\.csv has 5 successes on novel pairs, metrics\.json 4"):
        read(settings, "dcfm_b")


def test_titles_and_folders_that_cannot_be(settings: ComparisonSettings, write, tmp_path: Path) -> None:
    write(settings, Entry("noniid", "dcfm_b", 0), {})
    ours = read(settings, "dcfm_b")
    with pytest.raises(ComparisonError, match="give each one once"):
        compare([ours], [ours], "")
    with pytest.raises(ComparisonError, match=r"Mine: .*nowhere holds no evaluation .*plan_eval\.py"):
        Planner.read("Mine", [tmp_path / "nowhere"])
    trials = folder(settings, "dcfm_b") / "trials.csv"
    trials.write_text("\n".join(line for line in trials.read_text().splitlines() if ",novel," not in line))
    with pytest.raises(ComparisonError, match="has no trials of novel pairs"):
        read(settings, "dcfm_b")
