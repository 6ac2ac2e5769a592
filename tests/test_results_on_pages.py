"""A page's tables of methods show the results beside it."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from dcfm.artefacts import file_hash
from dcfm.metrics.intervals import mean_interval
from dcfm_planner.comparison.paired import sign_flip
from dcfm_planner.comparison.records import read_outcomes

REPOSITORY = Path(__file__).parent.parent
FIGURE = re.compile(r"[-+]?\d+\.\d+ \[[^\]]+\]")
METHODS = ("FedFlow", "FedFlow+L", "DDM", "DDM+L", "DFD", "DFD+L", "factored", "DCFM-A", "DCFM-B", "DCFM-B+R", "pooled")
FOLDERS = {
    "images_results": ("images",),
    "images_settings": ("images",),
    "planner_table": ("planner_table",),
    "four_robots": ("planner_table",),
    "xray_results": ("xray",),
    "communication": ("communication", "images", "planner_table"),
}
"""Folders of results by the page that shows figures of theirs."""


def rows(page: str) -> list[tuple[str, set[str]]]:
    """Method and figures ``value [low, high]`` of the rows of a page's tables that have any."""
    cells = [line.strip("|").split("|") for line in page.splitlines() if line.startswith("|")]
    found = [(row[0].removesuffix(" (new) ").strip(), set(FIGURE.findall("|".join(row)))) for row in cells]
    return [(name, figures) for name, figures in found if name in METHODS and figures]


def figures_of(method: str, results: str) -> set[str]:
    """All figures in the lines of a file of results that name the method."""
    named = re.compile(rf"(?<![\w-]){re.escape(method)}(?![\w+-])")
    return {figure for line in results.splitlines() if named.search(line) for figure in FIGURE.findall(line)}


@pytest.mark.parametrize("page", FOLDERS)
def test_figures_of_methods_are_in_files_of_results(page: str) -> None:
    paths = [path for name in FOLDERS[page] for path in (REPOSITORY / "docs/results" / name).rglob("*.md")]
    files = [path.read_text() for path in paths if path.name in ("table.md", "comparison.md")]
    shown = rows((REPOSITORY / f"docs/{page}.md").read_text())
    assert shown
    lost = [(name, row - set().union(*(figures_of(name, file) for file in files))) for name, row in shown]
    assert not [(name, figures) for name, figures in lost if figures]


def test_files_of_results_are_those_that_their_records_are_of() -> None:
    """As far as they are there: pictures are left out."""
    found = 0
    for record in (REPOSITORY / "docs/results").rglob("*record.json"):
        for name, expected in json.loads(record.read_text())["files"].items():
            if (path := record.parent / name).is_file():
                assert file_hash(path) == expected, path
                found += 1
    assert found > 300


def test_the_toy_s_table_of_rounds_is_the_file_s() -> None:
    page = (REPOSITORY / "docs/communication.md").read_text()
    shown = page.partition("<!-- table -->\n")[2].partition("<!-- end table -->")[0]
    assert shown == (REPOSITORY / "docs/results/communication/toy/table.md").read_text()


@pytest.mark.parametrize(("name", "lines"), [("fedprox", 5), ("server", 4)])
def test_the_toy_s_tables_of_other_averaging_are_of_the_files(name: str, lines: int) -> None:
    page = (REPOSITORY / "docs/communication.md").read_text()
    shown = page.partition(f"<!-- {name} -->\n")[2].partition(f"<!-- end {name} -->")[0]
    points = json.loads((REPOSITORY / f"docs/results/communication/{name}/communication.json").read_text())["points"]
    found: dict[int, list[str]] = {}
    for point in points:  # by rounds, then by strength or optimizer, none first
        novel = point["novel"]
        ends = 100 * max(0.0, novel["low"]), 100 * min(1.0, novel["high"])
        found.setdefault(point["rounds"], [f"{point['models']:g}"]).append(
            f"{100 * novel['mean']:.1f} [{ends[0]:.1f}, {ends[1]:.1f}]"
        )
    rows = [f"| {' | '.join([str(rounds), *cells])} |" for rounds, cells in found.items()]
    assert shown.splitlines()[2:] == rows
    assert len(rows) == lines


def test_the_toy_s_table_of_silos_is_the_file_s() -> None:
    page = (REPOSITORY / "docs/scale.md").read_text()
    shown = page.partition("<!-- methods -->\n")[2].partition("<!-- end methods -->")[0]
    assert shown == (REPOSITORY / "docs/results/scale/methods/table.md").read_text()
    assert len(shown.splitlines()) == 17


def test_the_tables_of_privacy_are_the_files() -> None:
    page = (REPOSITORY / "docs/privacy.md").read_text()
    for name, folder in (("curve", ""), ("weight 5", "weight5")):
        shown = page.partition(f"<!-- {name} -->\n")[2].partition(f"<!-- end {name} -->")[0]
        assert shown == (REPOSITORY / "docs/results/privacy" / folder / "table.md").read_text()
    said = (REPOSITORY / "docs/comparison.md").read_text()
    points = json.loads((REPOSITORY / "docs/results/privacy/privacy.json").read_text())["points"]
    for method in ("dcfm_b", "fedflow_l"):
        (novel,) = [p["novel"] for p in points if (p["method"], p["noise"]) == (method, 1)]
        mean, low, high = (round(100 * novel[key]) for key in ("mean", "low", "high"))
        assert re.search(rf"{mean} \[{low}, {high}\]", said)


def test_the_audits_of_four_robots_are_the_files() -> None:
    page = (REPOSITORY / "docs/privacy.md").read_text()
    shown = page.partition("<!-- four -->\n")[2].partition("<!-- end four -->")[0].splitlines()[2:]
    for row, name in zip(shown, ("stage1", "ddm_l", "dcfm_a", "dcfm_b", "fedflow_l", "pooled"), strict=True):
        targets = json.loads((REPOSITORY / f"docs/results/privacy/audit-four-{name}.json").read_text())["targets"]
        found = [[t["membership"]["auc"] for t in targets], [t["neighbours"]["nearer_to_training"] for t in targets]]
        cells = [", ".join(f"{e['value']:.3f} [{e['low']:.3f}, {e['high']:.3f}]" for e in part) for part in found]
        assert [cell.strip() for cell in row.strip("|").split("|")[1:]] == cells
        assert len(targets) == (4 if name in ("stage1", "ddm_l", "dcfm_a") else 1)
        values = [f"{auc['value']:.2f}" for auc in found[0]]
        for text in (page, (REPOSITORY / "README.md").read_text(), (REPOSITORY / "docs/comparison.md").read_text()):
            assert name != "stage1" or f"{min(values)} to {max(values)}" in " ".join(text.split())
            assert name != "dcfm_b" or re.search(rf"student[^.]*\b{values[0]}", " ".join(text.split()))


def test_the_planner_s_tables_of_rounds_are_the_file_s() -> None:
    page = (REPOSITORY / "docs/communication.md").read_text()
    shown = page.partition("<!-- planner -->\n")[2].partition("<!-- end planner -->")[0]
    file = (REPOSITORY / "docs/results/communication/planner/comparison.md").read_text()
    assert len(shown.splitlines()) == 12
    assert file.startswith(shown)


def table_of(file: str, heading: str, *, novel_alone: bool = False) -> str:
    """The table below a heading of ``docs/results/planner_table/FILE``; of novel pairs alone where asked."""
    text = (REPOSITORY / "docs/results/planner_table" / file).read_text()
    rows = text.partition(f"\n## {heading}")[2].partition("\n\n")[2].partition("\n\n")[0].splitlines()
    return "".join(f"{row}\n" for row in rows if not novel_alone or "| known |" not in row)


@pytest.mark.parametrize(("way", "lines"), [("chosen", 37), ("joint", 12)])
def test_the_planner_s_tables_of_two_trainings_are_the_files(way: str, lines: int) -> None:
    page = (REPOSITORY / "docs/planner_table.md").read_text()
    shown = page.partition(f"<!-- two trainings, {way} -->\n")[2].partition("<!-- end -->")[0]
    assert len(shown.splitlines()) == lines
    if way == "joint":
        file = REPOSITORY / "docs/results/planner_table/two_trainings/joint/comparison.md"
        assert file.read_text().startswith(shown)
    else:
        made = "two_trainings/chosen/table.md"
        rows, tests = table_of(made, "Success: Non-IID"), table_of(made, "DCFM against", novel_alone=True)
        assert shown == f"{rows}\n{tests}"
    for name in ("DDM+L", "DCFM-A", "DCFM-B"):  # README and the page say the two trainings' means in words
        mean = next(line for line in shown.splitlines() if line.startswith(f"| {name} |")).split("|")[3].split()[0]
        for text in (page, (REPOSITORY / "README.md").read_text()):
            assert re.search(rf"\b{re.escape(mean)}\b", text.replace(shown, ""))


def test_the_four_robots_tables_are_the_files() -> None:
    page = (REPOSITORY / "docs/four_robots.md").read_text()
    shown = page.partition("<!-- four -->\n")[2].partition("<!-- end four -->")[0]
    made = "four/three_trainings/table.md"
    rows, tests = table_of(made, "Success: Disjoint"), table_of(made, "DCFM against", novel_alone=True)
    assert shown == f"{rows}\n{tests}"
    assert len(shown.splitlines()) > 15
    readme = (REPOSITORY / "README.md").read_text().partition("<!-- four -->\n")[2].partition("<!-- end four -->")[0]
    shares = {cells[1].strip(): [cells[2], cells[3]] for line in rows.splitlines() if len(cells := line.split("|")) > 3}
    said = [line.split("|") for line in readme.splitlines()[2:]]
    assert len(said) > 5
    for cells in said:
        name, *figures = (cell.strip() for cell in cells[1:4])
        assert figures == [cell.strip().rsplit(" ", 1)[0] for cell in shares[name]]
    given = page.partition("<!-- given -->\n")[2].partition("<!-- end given -->")[0]
    assert given == table_of("four/given/table.md", "What the labels add", novel_alone=True)
    least = min(int(line.split("|")[3].split()[-1].split("/")[0]) for line in given.splitlines()[2:])
    assert f"at least {least} of 300 diagonal moves" in (REPOSITORY / "README.md").read_text()
    lines = (REPOSITORY / "docs/results/planner_table/four/composed/comparison.md").read_text().splitlines()
    composed = next(line for line in lines if line.startswith("| DDM+L-composed |"))
    for text in (page, (REPOSITORY / "README.md").read_text()):
        assert all(figure in " ".join(text.split()) for figure in FIGURE.findall(composed))
    ddm_l, dcfm_a, dcfm_b = (shares[name][1].split()[0] for name in ("DDM+L", "DCFM-A", "DCFM-B"))
    said_of_them = f"it has {ddm_l}, DCFM-A {dcfm_a} and DCFM-B {dcfm_b}."
    assert said_of_them in (REPOSITORY / "docs/planner_table.md").read_text()


def test_the_maze_s_table_has_the_files_shares() -> None:
    page = (REPOSITORY / "docs/own-domain.md").read_text()
    shown = page.partition("| success, %, with 95 % Wilson interval |")[2].partition("\n\n")[0].splitlines()[2:]
    folders = ["noniid-dcfm_b-paper", "noniid-dcfm_b-given", "noniid-dcfm_a-paper", "noniid-ddm_l-paper"]
    folders += [f"heavier/{method}-{weight}" for weight in (20, 60) for method in ("dcfm_a", "ddm_l")]
    for line, folder in zip(shown, [*folders, "noniid-dcfm_b-first-masks"], strict=True):
        metrics = json.loads((REPOSITORY / "docs/results/maze" / folder / "metrics.json").read_text())
        found = [metrics[cell]["success"] for cell in ("known", "novel")]
        shares = [[100 * share[key] for key in ("rate", "low", "high")] + [share["k"], share["n"]] for share in found]
        expected = ["{:.1f} [{:.1f}, {:.1f}] ({}/{})".format(*share) for share in shares]
        assert [cell.strip() for cell in line.strip("|").split("|")[1:]] == expected


def test_the_planner_s_table_of_labels_is_the_file_s() -> None:
    page = (REPOSITORY / "docs/planner_table.md").read_text()
    shown = page.partition("<!-- given -->\n")[2].partition("<!-- end given -->")[0]
    assert len(shown.splitlines()) == 10
    assert shown == table_of("second/table.md", "What the labels add", novel_alone=True)


def test_what_the_pages_say_of_fedflow_l_is_what_the_files_do() -> None:
    """Level with DCFM in the mean on the toy, where single seeds are not; on the planner no room above it."""
    comparison = " ".join((REPOSITORY / "docs/comparison.md").read_text().split())
    runs = json.loads((REPOSITORY / "docs/results/toy/benchmark/metrics.json").read_text())["runs"]
    methods = [run["methods"] for run in runs if run["partition"] == "noniid"]
    novel = {m: [of[m]["novel"]["mean"] for of in methods] for m in ("fedflow_l", "dcfm_a", "dcfm_b")}
    difference = mean_interval([100 * (b - f) for b, f in zip(novel["dcfm_b"], novel["fedflow_l"], strict=True)])
    said = "DCFM-B's is {mean:.1f} [{low:.1f}, {high:.1f}] points"
    assert said.format(**difference) in comparison
    assert difference["low"] < 0
    least, most = (round(100 * end(novel["fedflow_l"])) for end in (min, max))
    assert min(novel["dcfm_a"] + novel["dcfm_b"]) > 0.98
    assert f"{least} to {most} % over five seeds, DCFM-A and -B 98 to 100" in (REPOSITORY / "README.md").read_text()

    trials = [
        REPOSITORY / f"docs/results/planner_table/chosen/noniid/seed{s}/fedflow_l/paper/trials.csv" for s in (0, 1)
    ]
    failed = np.stack([1 - read_outcomes(path)["planner", "novel"].success.astype(int) for path in trials])
    problems, total, p = (failed.any(0)).sum(), failed.sum(), sign_flip(failed.sum(0))
    page = " ".join((REPOSITORY / "docs/planner_table.md").read_text().split())
    assert f"its {total} failures are of {problems} problems, so that one that fails none has p = {p:.3f}" in page


def test_the_planner_s_figures_by_joint_velocities_are_the_file_s() -> None:
    page = (REPOSITORY / "docs/communication.md").read_text()
    shown = next(line for line in page.splitlines() if line.startswith("- By joint velocities"))
    rows = {
        row["title"]: row["novel"]
        for row in json.loads((REPOSITORY / "docs/results/communication/planner/joint/comparison.json").read_text())[
            "rows"
        ]
    }
    said = [f"{100 * rows[name]['rate']:.1f}" for name in ("FedFlow+L 2 rounds", "DCFM-A", "DCFM-B")]
    assert re.findall(r"\d+\.\d+", shown.partition("p <")[0].replace("[73.0, 82.3]", "")) == said


def test_what_planning_costs_is_what_the_files_say() -> None:
    said = " ".join((REPOSITORY / "README.md").read_text().split())
    files = [REPOSITORY / f"docs/results/planner/benchmark-{name}.json" for name in ("dcfm_b", "dcfm_a")]
    one, other = (json.loads(path.read_text()) for path in files)
    plan, plan_a = (f"{found['plan_seconds']['wall']:.2f} s" for found in (one, other))
    batch, batch_a = f"{one['batch_seconds']['wall']:.2f} s", f"{other['batch_seconds']['wall']:.1f} s"
    ratios = [found["evaluation"]["ratio"]["wall"] for found in (one, other)]
    cost, cost_a = (f"{r['mean']:.2f} [{r['low']:.2f}, {r['high']:.2f}]" for r in ratios)
    assert f"takes {plan} from scratch (DCFM-A: {plan_a}), a batch of 64 takes {batch} ({batch_a})" in said
    assert f"costs {cost} ({cost_a}) times" in said


def test_the_toy_s_page_shows_the_benchmark_s_table() -> None:
    """Under both rules, by the file's own rounding."""
    page = (REPOSITORY / "docs/toy.md").read_text()
    head, *lines = (REPOSITORY / "docs/results/toy/benchmark/table.md").read_text().splitlines()
    head_of_rounds, *of_rounds = (REPOSITORY / "docs/results/toy/rounds/table.md").read_text().splitlines()
    assert head_of_rounds == head
    joint, composed = (
        [place for place, name in enumerate(head.split("|")) if name.strip() == wanted]
        for wanted in ("novel joint", "composed")
    )
    for line in lines[1:] + of_rounds[1:]:
        cells = [cell.strip() for cell in line.split("|")]
        shown = next(row for row in page.splitlines() if row.startswith(f"| {cells[1]} |") and "±" in row)
        figures = [cell.strip() for cell in shown.split("|") if "±" in cell]
        assert figures == [cells[place] for pair in zip(joint, composed, strict=True) for place in pair], cells[1]


def test_known_combinations_of_more_rounds_are_the_least_of_all() -> None:
    """docs/scale.md: over one, three and six rounds."""
    least: dict[tuple[str, str], float] = {}
    for name in ("scale", "rounds3/scale", "rounds6/scale", "rounds6/peers4"):
        for cell in json.loads((REPOSITORY / f"docs/results/scale/{name}.json").read_text())["cells"]:
            key = str(cell["silos"]), "all" if cell["peers"] is None else str(cell["peers"])
            known = cell["recovery"]["all_experts"]["known"]["value"]
            least[key] = min(known, least.get(key, 1.0))
    page = (REPOSITORY / "docs/scale.md").read_text().partition("known, least, % |")[2]
    rows = [[cell.strip() for cell in line.split("|")] for line in page.splitlines() if line.count("|") == 8]
    assert len(rows) == 9
    for row in rows[1:]:
        assert row[7] == f"{100 * least[row[1], row[2]]:.1f}", row


def test_specificities_on_the_x_ray_page_are_the_files() -> None:
    page = " ".join((REPOSITORY / "docs/xray_results.md").read_text().split())
    shown = re.search(r"mean over findings, %: (.*?) So DCFM-B", page)
    assert shown
    said = re.findall(r"\d+\.\d", shown[1].replace("IID", ""))
    folders = (("quick", "noniid"), ("quick_plain", "noniid"), ("quick_iid", "iid"))
    rows = [(f, p, m) for f, p in folders for m in ("ddm_l", "dcfm_a", "dcfm_b")] + [("quick", "noniid", "pooled")]
    found = []
    for folder, partition, method in rows:
        path = REPOSITORY / f"docs/results/xray/{folder}/{partition}/seed0/{method}/metrics.json"
        every = json.loads(path.read_text())["specificity_on_test"].values()
        found.append(f"{100 * sum(every) / len(every):.1f}")
    assert said == found


def test_the_x_ray_tables_of_hospitals_that_share_no_set_are_the_files() -> None:
    """Rows of the page, by name and by the way of sampling after it."""
    page = (REPOSITORY / "docs/xray_results.md").read_text().partition("## Four hospitals that share no set")[2]
    shown = [row for line in page.splitlines() if len(row := [c.strip() for c in line.strip("|").split("|")]) == 9]
    tables: dict[str, dict[str, list[str]]] = {}
    for way in ("plain", "chosen", "fixed"):
        text = (REPOSITORY / "docs/results/xray/disjoint" / way / "table.md").read_text()
        rows = [[c.strip() for c in line.strip("|").split("|")] for line in text.splitlines()]
        tables[way] = {row[0]: [row[i] for i in (1, 2, 6, 7, 5, 9, 10, 11)] for row in rows if len(row) == 13}
    ways = iter(["plain"] * 6 + ["chosen"] * 3 + ["fixed"] * 4)
    for name, *figures in (row for row in shown[:17] if row[1][:1].isdigit()):
        expected = tables[next(ways)][name.partition(",")[0]]
        expected[4] = expected[4].partition(" (")[0]  # without how many sets are predicted
        assert figures == expected, name
    assert next(ways, None) is None
