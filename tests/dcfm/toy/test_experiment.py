"""dcfm/toy/experiment.py, variants.py, choice.py: scores of known fields, resuming, sharing, and what may be seen."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from dcfm.decentralized import Federation
from dcfm.fields import Composed
from dcfm.methods import registry
from dcfm.selection import KnownOnly, LeakError
from dcfm.toy.cell import Cell, check_cells, record_path, tell_changed_code, tell_hidden
from dcfm.toy.choice import choose, read_candidates
from dcfm.toy.experiment import choose_rule, run_cells, summary, train_method
from dcfm.toy.mixture import Mixture
from dcfm.toy.problem import ProblemSettings, make_problem
from dcfm.toy.score import Sampling, hits, sample, score_samples
from dcfm.toy.training import read_training
from dcfm.toy.variants import Variant, count, run_problems, run_variants, score_all, score_known

TINY = read_training(
    {
        "width": 8,
        "batch": 8,
        "warmup": 1,
        "stage_one": {"steps": 2},
        "peers": {"steps": 2},
        "student": {"steps": 2},
        "fedavg": {"steps": 1},
        "fedavg_rounds": 2,
        "pooled": {"steps": 2},
    }
)


def exact(x: Tensor, t: Tensor, y: Tensor, held: Tensor | None = None) -> Tensor:
    """The velocity of the queried mode of ``Mixture()``: a Gaussian's, linear in ``x``."""
    mixture = Mixture()
    centre, time = mixture.distance * (2.0 * y - 1), t[:, None]
    slope = (time * mixture.std**2 - (1 - time)) / ((1 - time) ** 2 + (time * mixture.std) ** 2)
    return centre + slope * (x - time * centre)


def still(x: Tensor, t: Tensor, y: Tensor, held: Tensor | None = None) -> Tensor:
    return torch.zeros_like(x)


def cell(**changes: object) -> Cell:
    return Cell(ProblemSettings(samples=20, **changes), TINY, Sampling(20, 2))  # type: ignore[arg-type]


def test_the_true_field_scores_99_percent_everywhere(generator: torch.Generator) -> None:
    mixture = Mixture()
    combinations = mixture.space.combinations()
    x = sample(exact, combinations, Sampling(4000, 30), generator)
    known = torch.tensor([True, True, True, False])
    records = score_samples(mixture, combinations, known, x, generator)
    for record in records:
        assert record["share"] == pytest.approx(0.99, abs=0.01)
        assert record["low"] < record["share"] < record["high"]
        assert record["sliced_wasserstein"] < 0.05
    assert [record["known"] for record in records] == known.tolist()
    found = summary(records)
    assert found["novel"]["mean"] == records[3]["share"]
    assert found["known"]["min"] == min(record["share"] for record in records[:3])
    for mean, key in (("mean", "share"), ("sliced_wasserstein", "sliced_wasserstein")):
        assert found["known"][mean] == pytest.approx(sum(record[key] for record in records[:3]) / 3)
    assert not hits(mixture, combinations.flip(0), x).any()


def test_a_run_goes_on_from_what_is_finished_and_refuses_other_settings(tmp_path: Path) -> None:
    one = cell()
    first = run_cells([one], ["ddm_l"], tmp_path, workers=0)
    files = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.safetensors")}
    both = run_cells([one], ["ddm_l", "dcfm_b"], tmp_path, workers=0)
    assert both[0]["methods"]["ddm_l"] == first[0]["methods"]["ddm_l"]
    assert {path: path.stat().st_mtime_ns for path in files} == files
    assert (tmp_path / "noniid/seed0/trainings/dcfm_b").is_dir()
    with pytest.raises(ValueError, match=r"other settings \(problem.distance\)"):
        run_cells([cell(distance=2.0)], ["ddm_l"], tmp_path, workers=0)
    for other, key in (
        (replace(one, sampling=Sampling(21, 2)), "sampling.draws"),
        (replace(one, training=replace(TINY, batch=9)), "training.batch"),
    ):
        with pytest.raises(ValueError, match=rf"other settings \({key}\)"):
            check_cells([other], ["ddm_l"], tmp_path, 0)
    (tmp_path / "noniid/seed0/settings.json").write_text("{")
    with pytest.raises(ValueError, match="damaged"):
        check_cells([one], ["ddm_l"], tmp_path, 0)


def test_a_method_of_other_settings_is_another_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its YAML file is where they stand; records of before these were kept lack them, and are taken."""
    listed = tmp_path / "registry"
    shutil.copytree(registry.FOLDER, listed)
    monkeypatch.setattr(registry, "FOLDER", listed)
    run_cells([cell()], ["ddm"], tmp_path / "out", workers=0)
    check_cells([cell()], ["ddm"], tmp_path / "out", 0)
    with (listed / "ddm.yaml").open("a") as file:
        file.write("local_ci: true\n")
    with pytest.raises(ValueError, match=r"ddm\.json is of a run with other settings \(method\.local_ci\)"):
        check_cells([cell()], ["ddm"], tmp_path / "out", 0)
    path = tmp_path / "out/noniid/seed0/records/ddm.json"
    record = json.loads(path.read_text())
    del record["own_settings"]["method"]
    path.write_text(json.dumps(record))
    check_cells([cell()], ["ddm"], tmp_path / "out", 0)


def test_a_method_whose_code_was_changed_is_told_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """One's own method: what it gave before is not taken for what it gives now without a word."""
    cells = [cell(), cell(seed=1)]
    run_cells(cells, ["ddm", "dfd"], tmp_path, workers=0)
    assert tell_changed_code(cells, ["ddm", "dfd"], tmp_path) == []
    for one in cells:
        path = record_path(tmp_path / one.name, "ddm")
        path.write_text(path.read_text().replace(registry.code_hash("ddm"), 64 * "0"))
    shown = run_cells(cells, ["ddm", "dfd"], tmp_path, workers=0)
    (line,) = caplog.messages
    assert "ddm.py was changed since" in line
    assert "and 1 more; what is there is shown" in line
    assert shown[0]["methods"]["ddm"]["code_sha256"] == 64 * "0"
    path.write_text(re.sub(r'"code_sha256": "0+",', "", path.read_text()))  # of before hashes were kept
    assert len(tell_changed_code(cells[1:], ["ddm"], tmp_path)) == 0


def test_progress_is_told_method_by_method(tmp_path: Path) -> None:
    done: list[int] = []
    run_cells([cell()], ["ddm", "dcfm_b"], tmp_path, workers=0, progress=done.append)
    assert done == [1, 2]
    run_cells([cell()], ["ddm", "dcfm_b"], tmp_path, workers=0, progress=done.append)
    assert done[-1] == 2


def test_a_record_says_who_holds_what_and_at_what_cost(tmp_path: Path) -> None:
    (record,) = run_cells([cell()], ["dcfm_b", "pooled"], tmp_path, workers=0)
    (novel,) = record["novel"]
    assert novel not in {label for held in record["silos"].values() for label in held}
    student = record["methods"]["dcfm_b"]
    assert student["cost"]["units"] == {"silo0": 2.0, "silo1": 2.0}
    size = sum(value.numel() for value in cell().task.network().state_dict().values())
    assert all(0 < passed - 2 * 4 * size < 4096 for passed in student["cost"]["bytes"].values())  # in single precision
    assert record["methods"]["pooled"]["decentralised"] is False
    assert sorted(tuple(r["label"]) for r in student["combinations"] if r["known"]) == sorted(
        tuple(int(v) for v in label.split("-")) for label in {k for held in record["silos"].values() for k in held}
    )
    assert set(student["by_rule"]) == {"joint", "composed"}
    scored = student["selection"]["scored_combinations"]
    assert [int(v) for v in novel.split("-")] not in scored


def test_the_rule_that_is_not_chosen_rests_on_500_samples(tmp_path: Path) -> None:
    (record,) = run_cells([replace(cell(), sampling=Sampling(501, 1))], ["dcfm_b"], tmp_path, workers=0)
    found = record["methods"]["dcfm_b"]
    other = {"joint": "composed", "composed": "joint"}[found["rule"]]
    assert {r["n"] for r in found["combinations"]} == {501}
    assert {r["n"] for r in found["by_rule"][other]["combinations"]} == {500}
    assert {tried["score"]["n"] for tried in found["selection"]["tried"].values()} == {3 * 500}


def test_seeds_and_streams_have_noise_of_their_own() -> None:
    """Else the choice would be made on the scores' noise, and seeds would not be independent; rules share theirs."""
    problem, many = make_problem(cell().problem), Sampling(400, 1)
    seeds = [replace(cell(seed=seed), sampling=many) for seed in range(3)]
    scores = [choose_rule(one, problem, {"joint": still, "composed": still}).scores for one in seeds]
    assert all(found["joint"] == found["composed"] for found in scores)
    counts = [count(one, problem, still, problem.known, stream)[0] for one in seeds for stream in (3, 5)]
    assert len({*counts, *(found["joint"][0] for found in scores)}) == 6 + 3


def test_scores_are_of_the_rule_and_of_the_combinations_that_they_name() -> None:
    one = replace(cell(), sampling=Sampling(200, 20))
    problem = make_problem(one.problem)

    def known_alone(x: Tensor, t: Tensor, y: Tensor, held: Tensor | None = None) -> Tensor:
        return torch.where((y == problem.missing).all(1, keepdim=True), still(x, t, y), exact(x, t, y))

    fields = {"joint": still, "composed": known_alone}
    found = score_all(one, problem, fields)
    assert found["rule"] == "composed"
    assert found["known"][0] / found["known"][1] > 0.95
    assert found["novel"][0] / found["novel"][1] < 0.3
    rules = score_known(one, problem, fields)
    assert rules["composed"]["observed"][0] > 0.95 * 600
    assert rules["joint"]["observed"][0] < 0.3 * 600


def test_a_methods_fields_are_by_rule(tmp_path: Path) -> None:
    problem = make_problem(cell().problem)
    fields = train_method(cell(), Federation(cell().task, problem.silos, tmp_path), "dcfm_b").fields
    assert {rule: isinstance(found, Composed) for rule, found in fields.items()} == {"joint": False, "composed": True}


def test_a_tuned_method_trains_apart(tmp_path: Path) -> None:
    tuned = replace(cell(), tuned={"ddm": {"stage_one": {"marg": 0.3}}})
    assert tuned.training_of("ddm").stage_one.marg == 0.3
    assert tuned.training_of("dfd") == tuned.training
    (record,) = run_cells([tuned], ["ddm", "dfd"], tmp_path, workers=0)
    assert set(record["methods"]) == {"ddm", "dfd"}
    trainings = tmp_path / "noniid/seed0/trainings"
    assert (trainings / "tuned_ddm/stage1_no_ci/silo0").is_dir()
    assert (trainings / "stage1_no_ci/silo0").is_dir()
    with pytest.raises(ValueError, match=r"other settings \(tuned.*or remove .*records/ddm.json and .*tuned_ddm$"):
        run_cells([cell()], ["ddm", "dfd"], tmp_path, workers=0)
    assert run_cells([cell()], ["dfd"], tmp_path, workers=0)[0]["methods"]["dfd"] == record["methods"]["dfd"]
    other = replace(cell(), tuned={"ddm": {"stage_one": {"marg": 0.2}}})
    (tmp_path / "noniid/seed0/records/ddm.json").unlink()
    shutil.rmtree(trainings / "tuned_ddm")
    assert run_cells([other], ["ddm"], tmp_path, workers=0)[0]["methods"].keys() == {"ddm"}


@pytest.mark.parametrize(
    ("cells", "methods", "workers", "message"),
    [
        ([cell()], ["dcfm_c"], 0, "unknown method 'dcfm_c'"),
        ([cell()], [], 0, "no methods"),
        ([], ["ddm"], 0, "at least one"),
        ([cell(), cell()], ["ddm"], 0, "none twice"),
        ([cell()], ["ddm"], -1, "workers=-1"),
        ([replace(cell(), changes={"dfd": {"size": 1}})], ["dfd"], 0, "dfd.yaml, cannot be made with"),
        ([replace(cell(), tuned={"ddm_x": {}})], ["dfd"], 0, "unknown method 'ddm_x'"),
        ([replace(cell(), tuned={"ddm": {"width": 9}})], ["dfd"], 0, "all methods have the same"),
    ],
)
def test_what_can_be_wrong_is_an_error_before_any_work(
    cells: list[Cell], methods: list[str], workers: int, message: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=message):
        run_cells(cells, methods, tmp_path, workers)
    assert not list(tmp_path.iterdir())


def test_variants_share_stage_one_and_known_scores_never_see_the_novel(tmp_path: Path) -> None:
    base = cell(attributes=3, withheld=1)
    variants = [
        Variant("plain", "dcfm_b"),
        Variant("same", "dcfm_b", {"student": {"weight": TINY.student.weight}}),
        Variant("more", "dcfm_b", {"student": {"weight": 3.0}}),
    ]
    records = run_variants(base, variants, tmp_path, score_known)
    assert records["dcfm_b/plain"] == records["dcfm_b/same"]
    assert not (tmp_path / "dcfm_b/same").exists()
    assert len(list((tmp_path / "shared").iterdir())) == 1
    hashes = {
        json.loads(path.read_text())["files"]["model.safetensors"]
        for path in tmp_path.glob("dcfm_b/*/trainings/stage1/silo0/artefact.json")
    }
    assert len(hashes) == 1
    assert records["dcfm_b/plain"]["joint"]["withheld"][1] == 20
    assert records["dcfm_b/plain"]["joint"]["observed"][1] == 20 * 5
    problem = make_problem(base.problem)
    guarded = KnownOnly(still, problem.known, problem.mixture.space.null)
    with pytest.raises(LeakError):
        count(base, problem, guarded, problem.missing, 1)
    found = score_all(base, problem, {"joint": still, "composed": still})
    assert (found["known"][1], found["novel"][1]) == (20 * 6, 20 * 2)  # what is withheld is known


def test_variants_share_no_training_that_they_change(tmp_path: Path) -> None:
    variants = [
        Variant("plain", "ddm_l"),
        Variant("first", "ddm_l", {"stage_one": {"steps": 3}}),
        Variant("then", "ddm_l", {"peers": {"steps": 3}}),
    ]
    assert len(run_variants(cell(), variants, tmp_path, score_known)) == 3
    shared = [path.name for path in tmp_path.glob("shared/*/*")]
    assert (shared.count("stage1"), shared.count("further")) == (2, 3)
    with pytest.raises(ValueError, match="a name occurs twice"):
        run_variants(cell(), [*variants, variants[0]], tmp_path, score_known)


def test_variants_of_a_method_of_other_settings_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listed = tmp_path / "registry"
    shutil.copytree(registry.FOLDER, listed)
    monkeypatch.setattr(registry, "FOLDER", listed)
    variants = [Variant("plain", "ddm")]
    first = run_variants(cell(), variants, tmp_path / "out", score_known)
    assert run_variants(cell(), variants, tmp_path / "out", score_known) == first
    record = tmp_path / "out/ddm/plain/record.json"
    whole = record.read_text()
    record.write_text("{")
    with pytest.raises(ValueError, match=r"record\.json is damaged.*to make it again"):
        run_variants(cell(), variants, tmp_path / "out", score_known)
    record.write_text(whole)
    with (listed / "ddm.yaml").open("a") as file:
        file.write("local_ci: true\n")
    with pytest.raises(ValueError, match=r"other settings \(method\.local_ci\)"):
        run_variants(cell(), variants, tmp_path / "out", score_known)


def test_samples_that_are_gone_are_made_again(tmp_path: Path) -> None:
    first = run_cells([cell()], ["ddm"], tmp_path, workers=0)
    samples = tmp_path / "noniid/seed0/samples/ddm.safetensors"
    before = samples.read_bytes()
    samples.unlink()
    again = run_cells([cell()], ["ddm"], tmp_path, workers=0)
    assert samples.read_bytes() == before
    assert again[0]["methods"]["ddm"]["combinations"] == first[0]["methods"]["ddm"]["combinations"]


def test_what_a_tuning_hides_is_told() -> None:
    tuned = {"pooled": {"pooled": {"weight": 1.0}}, "fedflow": {"fedavg": {"steps": 10}, "fedavg_rounds": 200}}
    given = [
        "training.pooled.weight=9",
        "+training.fedavg_rounds=20",
        "training.fedavg.weight=3",
        "seed=1",
        "training=x",
    ]
    assert tell_hidden(given, tuned, ["ddm", "pooled", "fedflow"]) == [
        "training.pooled.weight=9 changes nothing for pooled, whose own tuned.pooled.pooled.weight=1.0 goes before; "
        "give tuned.pooled.pooled.weight=9",
        "+training.fedavg_rounds=20 changes nothing for fedflow, whose own tuned.fedflow.fedavg_rounds=200 goes before"
        "; give tuned.fedflow.fedavg_rounds=20",
    ]
    assert tell_hidden(given, tuned, ["ddm"]) == []
    (told,) = tell_hidden(["training.pooled={weight: 9, steps: 3}"], tuned, ["pooled"])
    assert told.startswith("training.pooled.weight=9 changes nothing for pooled")


def test_a_variant_changes_what_it_names_alone(tmp_path: Path) -> None:
    base = replace(cell(), changes={"dfd": {"scale": 1.0}, "ddm": {}})
    varied = Variant("more", "dfd", {"stage_one": {"steps": 5}}, {"prior": "size"}).of(base)
    assert varied.changes == {"dfd": {"scale": 1.0, "prior": "size"}, "ddm": {}}
    assert Variant("plain", "ddm").of(base).changes == base.changes
    with pytest.raises(ValueError, match="tunes dfd itself"):
        Variant("more", "dfd").of(replace(cell(), tuned={"dfd": {"stage_one": {"steps": 7}}}))


def test_a_shared_training_is_whole_or_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed while Stage I was put where other variants look for it: they train it themselves."""
    base, variants = cell(), [Variant("a", "dcfm_b"), Variant("b", "dcfm_b", {"student": {"weight": 3.0}})]

    class Killed(BaseException):
        pass

    def dies(source: Path, target: Path, **_: object) -> None:
        target.mkdir(parents=True)
        (target / "part").write_text("of it")
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr("dcfm.toy.variants.shutil.copytree", dies)
        with pytest.raises(Killed):
            run_variants(base, variants, tmp_path, score_all)
    assert not list((tmp_path / "shared").rglob("part"))
    assert set(run_variants(base, variants, tmp_path, score_all)) == {"dcfm_b/a", "dcfm_b/b"}


def test_the_choice_weighs_observed_and_withheld_alike() -> None:
    variants = read_candidates({"dcfm_b": {"a": {}, "b": {"training": {"student": {"weight": 2.0}}}}})["dcfm_b"]

    def record(observed: int, withheld: int) -> dict:
        return {"observed": [observed, 100], "withheld": [withheld, 10]}

    none = record(0, 0)
    records = [
        {
            "dcfm_b/a": {"joint": record(100, 2), "composed": none},
            "dcfm_b/b": {"joint": record(90, 9), "composed": none},
        }
    ]
    selection = choose(variants, records, [cell(attributes=3, withheld=1)])
    assert selection.chosen == "b"
    assert selection.scores["a"] == (66, 110)
    with pytest.raises(ValueError, match="unknown method"):
        read_candidates({"dcfm_c": {"a": {}}})
    with pytest.raises(ValueError, match="training and settings"):
        read_candidates({"dcfm_b": {"a": {"weight": 1}}})
    for wrong in ({"training": 5}, {"settings": "size"}):
        with pytest.raises(ValueError, match="hold what they change by name"):
            read_candidates({"dcfm_b": {"a": wrong}})


def test_foreign_results_are_found_before_any_problem_is_trained_on(tmp_path: Path) -> None:
    cells, variants = [cell(), cell(seed=1)], [Variant("a", "dcfm_b")]
    there = tmp_path / cells[1].name / "dcfm_b" / "a" / "settings.json"
    there.parent.mkdir(parents=True)
    there.write_text("{}")
    with pytest.raises(ValueError, match="of a run with other settings"):
        run_problems(cells, variants, tmp_path, score_all, 0)
    assert not (tmp_path / cells[0].name).exists()
