"""Settings of a federation: one string carries them all; bad ones are errors before any work."""

import pytest

from dcfm.federated.settings import composed, identity, quoted, read_settings, written
from dcfm.federated.tasks import FederatedTask, read_run, read_task
from dcfm.privacy.settings import PrivacyConfig
from dcfm.toy.federated import FederatedToy
from dcfm.toy.problem import ProblemSettings


def test_one_string_carries_all_overrides() -> None:
    given = ["silos=3", "names=[north_wing, b-2, c]", "out='runs/a folder'", "training.stage_one.steps=7", "epsilon=1"]
    one = composed(written(given))
    settings = read_settings(one)
    assert (settings.silo_names, settings.out, settings.epsilon) == (["north_wing", "b-2", "c"], "runs/a folder", 1.0)
    assert read_task(one).recipe.stage_one.loop.steps == 7


@pytest.mark.parametrize(
    "out",
    [
        "a (1)",
        "a,b",
        "a=b",
        "a[1]",
        "{a: b}",
        "it's",
        "#a",
        "ä",
        "😀",
        "a b",
        "$a",
        "${seed}",
        "\\${seed}",
        "a\\'b",
        "a\\",
    ],
)
def test_any_folder_can_be_written_as_an_override(out: str) -> None:
    assert composed(written([f"out={quoted(f'/runs/{out}/x')}"])).out == f"/runs/{out}/x"
    assert composed([f"out={quoted(out)}"]).out == out


@pytest.mark.parametrize("name", ["toy", "planner", "images", "xray"])
def test_tasks(name: str) -> None:
    problem = read_task(composed([f"task={name}"]))
    assert isinstance(problem, FederatedTask)
    assert problem.task.network().state_dict()


def test_the_toys_problem_is_the_runs() -> None:
    of_run = ["seed=4", "partition=dirichlet", "alpha=0.5", "silos=3"]
    of_toy = ["problem.attributes=3", "problem.distance=2", "problem.std=0.3", "problem.missing=1", "problem.samples=7"]
    found = read_task(composed([*of_run, *of_toy]))
    assert isinstance(found, FederatedToy)
    assert found.problem == ProblemSettings("dirichlet", 3, 3, 2.0, 0.3, 1, samples=7, alpha=0.5, seed=4)


def test_how_a_run_is_operated_does_not_identify_it() -> None:
    one, two, other = composed(["out=a", "deadline=3"]), composed(["out=b", "distil_on=silo1"]), composed(["seed=3"])
    assert identity(one) == identity(two) != identity(other)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("protocol=fedprox", "unknown protocol 'fedprox'"),
        ("engine=cloud", "unknown engine"),
        ("engine=running", "engine=running needs superlink"),
        ("superlink=here", "engine=running needs superlink"),
        ("silos=two", "see configs/federate.yaml"),
        ("names=[a]", "one name a silo"),
        ("names=[a,a]", "all different"),
        ("names=[server,a]", "none 'server'"),
        ("names=['../a',b]", "letters, digits"),
        ("distil_on=silo7", "server or one of silo0, silo1"),
        ("fewest=3", "1 to silos=2"),
        ("deadline=0", "must be positive"),
        ("attempts=0", "at least 1"),
        ("suppress=-1", "at least 0"),
        ("epsilon=0", "finite number above 0"),
        ("epsilon=nan", "finite number above 0"),
        ("epsilon=inf", "finite number above 0"),
    ],
)
def test_bad_settings(override: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_settings(composed([override]))


@pytest.mark.parametrize("override", ["sillos=2", "task=poetry", "+partition=iid"])
def test_what_hydra_cannot_apply(override: str) -> None:
    with pytest.raises(ValueError, match=r"configs/federate\.yaml"):
        composed([override])


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("partition=disjoint", "unknown partition"),
        ("reader=dcfm.nothing", "not the name of a function"),
        ("reader=builtins.id", "gives a int, which is no FederatedTask"),
        ("problem.std=0", "std=0"),
        ("training.student.labels=mine", "labels are"),
    ],
)
def test_bad_tasks(override: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_task(composed([override])).deal()


def private(section: str) -> str:
    return f"+{section}.privacy={{_target_: dcfm.privacy.settings.PrivacyConfig, noise_multiplier: 1.0}}"


@pytest.mark.parametrize(
    ("given", "key"),
    [
        (("task=toy", private("stage_one")), "stage_one"),
        (("task=toy", private("fedavg"), "protocol=fedflow"), "fedavg"),
        (("task=xray", "+epsilonn=0.5"), "epsilonn"),
        (("task=toy", "++suppres=10", "training.stage_one.steps=7"), "suppres"),
        (("task=images", "images/preset=night", "+suppres=10", "suppres=11"), "suppres"),
    ],
)
def test_a_key_that_nothing_reads_is_refused(given: tuple[str, ...], key: str) -> None:
    """It may ask for privacy, and would be ignored."""
    with pytest.raises(ValueError, match=rf"^{key}: nothing reads this, for reader=.*its keys are alpha, arrival"):
        composed(given)


def test_privacy_where_the_task_reads_it() -> None:
    plain = ("stage_one.objective.independence.share=1.0", "stage_one.objective.independence.pairwise=false")
    given = ("task=xray", private("stage_one"), "stage_one.privacy.noise_multiplier=2.0", *plain)
    _, problem = read_run(composed(given))
    assert problem.recipe.stage_one.privacy == PrivacyConfig(2.0)
    _, problem = read_run(composed(("task=xray", "protocol=fedflow", private("fedavg"))))  # without a CI term
    assert problem.recipe.fedavg.privacy == PrivacyConfig(1.0)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (("protocol=fedflow", private("stage_one")), r"with which FedFlow does not train.* give fedavg\.privacy"),
        (("protocol=dcfm_b", private("fedavg")), r"with which DCFM-B does not train.* give stage_one\.privacy"),
        (("protocol=dcfm_b", private("pooled")), r"^pooled\.privacy is given, with which DCFM-B does not train"),
        (("protocol=dcfm_a", private("stage_one")), "would protect nothing in DCFM-A"),
        (
            ("protocol=dcfm_a", private("further")),
            r"^further\.privacy is given.* DCFM-A .*; leave it out, or",
        ),
        (("protocol=dcfm_b", private("stage_one")), "share=0.125 must be 1 and pairwise=True be false"),
        (("protocol=fedflow_l", private("fedavg")), "pairwise=True be false"),
    ],
)
def test_privacy_that_a_protocol_would_not_train_with_is_refused(given: tuple[str, ...], message: str) -> None:
    """Before any work: not in a silo, once data is dealt and Flower runs."""
    with pytest.raises(ValueError, match=message):
        read_run(composed(("task=xray", *given)))
