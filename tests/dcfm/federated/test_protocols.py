"""The protocols over the real client app equal the in-process federation, bit for bit."""

import json
from pathlib import Path

import pytest
import torch

from dcfm.exchange import Ledger
from dcfm.federated.server import serve
from dcfm.federated.settings import composed, run_name
from dcfm.federated.silo_files import read_silo, write_silo
from dcfm.published import load_published, of_federation, resolve_device
from dcfm.toy.task import ToyTask
from tests.dcfm.federated.equality import assert_equal, federated, in_process
from tests.dcfm.federated.grid import TINY, LocalGrid


@pytest.mark.parametrize("protocol", ["dcfm_a", "dcfm_b", "dcfm_b_r", "fedflow", "fedflow_l"])
def test_equals_the_in_process_federation(protocol: str, tmp_path: Path) -> None:
    overrides = (f"protocol={protocol}", "silos=3", "problem.attributes=3", f"out={tmp_path / 'f'}", "seed=4", *TINY)
    serve(LocalGrid(overrides), composed(overrides))
    experts, ledger = in_process(overrides, tmp_path / "p")
    assert_equal(federated(tmp_path / "f"), experts)
    own = Ledger.from_jsonl(tmp_path / "f" / "ledger.jsonl", ledger.model_size)
    last = {"fedflow": 1.0, "fedflow_l": 1.0}.get(protocol, 0.0)  # delivery of the average, which stays put in process
    assert own.units() == {silo: units + last for silo, units in ledger.units().items()}
    sampled = load_published(
        tmp_path / "f/published" / protocol, lambda s: ToyTask(**s), resolve_device("cpu"), what="toy"
    )
    assert sampled.field().__call__(torch.zeros(2, 3), torch.zeros(2), torch.zeros(2, 3, dtype=torch.long)).shape == (
        2,
        3,
    )
    assert (sampled.name, sampled.partition, of_federation(sampled)) == (protocol, "noniid", True)


def test_a_server_s_optimizer_is_the_same(tmp_path: Path) -> None:
    given = ("protocol=fedflow", "silos=3", "training.fedavg_server={rule: adam, learning_rate: 0.1}", *TINY)
    overrides = (f"out={tmp_path / 'f'}", *given)
    serve(LocalGrid(overrides), composed(overrides))
    averages = [
        in_process(part, tmp_path / name)[0] for part, name in ((overrides, "p"), ((*given[:2], *TINY), "plain"))
    ]
    assert_equal(federated(tmp_path / "f"), averages[0])
    assert any(not torch.equal(value, averages[1][0][name]) for name, value in averages[0][0].items())


def test_a_few_peers_a_round_are_the_same_few(tmp_path: Path) -> None:
    few = ("protocol=dcfm_a", "silos=4", "training.rounds=2", "training.peers_per_round=1", *TINY)
    overrides = (f"out={tmp_path / 'f'}", *few)
    serve(LocalGrid(overrides), composed(overrides))
    experts, _ = in_process(overrides, tmp_path / "p")
    assert_equal(federated(tmp_path / "f"), experts)
    work = tmp_path / "f/silos/0/work" / run_name(composed(overrides))
    received = Ledger.from_jsonl(work / "ledger.jsonl", 1).messages
    shared = [m for m in received if (m.direction, m.kind) == ("received", "weights")]
    assert len(shared) == 2 * 1 + 3  # a peer a round, and everyone in the end
    kept = {path.name for path in (work / "result").iterdir()}
    assert kept == {f"{kind}_{n}.safetensors" for kind in ("weights", "histogram") for n in (1, 2, 3)}


def test_a_silo_knows_its_own_labels_whatever_is_suppressed(tmp_path: Path) -> None:
    """Of a few peers none may show a value that the silo holds and does not tell."""
    overrides = (f"out={tmp_path}", "protocol=dcfm_a", "training.peers_per_round=1", "suppress=10", "silos=4", *TINY)
    grid = LocalGrid(overrides)
    held = [[(0, 0)] * 40 + [(0, 1)] * 4, [(0, 0)] * 40, [(0, 1)] * 40, [(1, 0)] * 40]
    for number, rows in enumerate(held):
        labels = torch.tensor(rows)
        path = grid.data[number] = tmp_path / f"own/{number}/data.safetensors"
        write_silo(path, labels.float(), labels)
    serve(grid, composed(overrides))
    assert json.loads((tmp_path / "status.json").read_text())["left_out"] == {}


def test_the_same_silos_take_part_in_one_run_after_another(tmp_path: Path) -> None:
    """With another seed, protocol or student, each to the result that it has in process; what Stage I they share they
    train once, and the first run's folder goes on as if it was alone."""
    data: dict[int, Path] = {}
    runs = {
        "first": (),
        "seed": ("seed=1",),
        "protocol": ("protocol=dcfm_a",),
        "student": ("training.student.steps=4",),
    }
    for name, more in (*runs.items(), ("first", ())):
        given = (f"out={tmp_path / name}", *TINY, *more)
        grid = LocalGrid(given)
        grid.data = data = data or grid.data
        serve(grid, composed(given))
        if name != "seed":  # which would deal other data in process
            assert_equal(federated(tmp_path / name), in_process(given, tmp_path / "p" / name)[0])
    work = tmp_path / "first/silos/0/work"
    assert len(list(work.glob("stage1/*/artefact.json"))) == 2  # of the two seeds
    assert len(list(work.glob("*/ledger.jsonl"))) == len(runs)


@pytest.mark.parametrize("more", [("protocol=dcfm_a",), ("protocol=dcfm_b", "distil_on=silo0")])
def test_the_same_run_again_with_other_data_or_fewer_silos(more: tuple[str, ...], tmp_path: Path) -> None:
    """What rests on what others sent is another training when that is another, and the first is still there."""
    settings = ("silos=3", "partition=iid", "fewest=2", *TINY, *more)
    first = LocalGrid((f"out={tmp_path / 'first'}", *settings))
    serve(first, composed(first.overrides))
    whole = read_silo(first.data[2], "silo2")
    for name, samples, offline in (
        ("other", len(whole) - 3, set()),
        ("fewer", len(whole), {2}),
        ("again", None, set()),
    ):
        write_silo(first.data[2], whole.data[:samples], whole.labels[:samples])
        given = (f"out={tmp_path / name}", *settings)
        grid = LocalGrid(given, offline=offline)
        grid.data = first.data
        serve(grid, composed(given))
        assert json.loads((tmp_path / name / "status.json").read_text())["state"] == "finished"
    made = [federated(tmp_path / name) for name in ("first", "other", "fewer", "again")]
    assert_equal(made[3], made[0])
    for other in made[1:3]:
        assert any(not torch.equal(value, made[0][0][name]) for name, value in other[0].items())


@pytest.mark.parametrize("protocol", ["dcfm_b", "dcfm_b_r"])
def test_a_silo_can_distil(protocol: str, tmp_path: Path) -> None:
    overrides = (f"protocol={protocol}", "distil_on=silo1", f"out={tmp_path / 'f'}", *TINY)
    serve(LocalGrid(overrides), composed(overrides))
    experts, ledger = in_process(overrides, tmp_path / "p")
    assert_equal(federated(tmp_path / "f"), experts)
    units = Ledger.from_jsonl(tmp_path / "f/ledger.jsonl", ledger.model_size).units()
    rest = {"dcfm_b": 0, "dcfm_b_r": 2 * 3}[protocol]  # of rounds; the other silo gets the student, or the average
    delivered = {"dcfm_b": 0, "dcfm_b_r": 1}[protocol]
    assert units == {"silo0": 2 + rest, "silo1": 3 + rest + delivered}  # its expert and the student out, one expert in


def test_a_silo_distils_from_what_is_told_of_its_labels(tmp_path: Path) -> None:
    """As the server does: its student is everybody's, and shows no count that the silo holds back."""
    for place in ("server", "silo1"):
        overrides = (f"out={tmp_path / place}", "protocol=dcfm_b", f"distil_on={place}", "suppress=10", *TINY)
        grid = LocalGrid(overrides)
        for number, rows in enumerate(([(0, 0)] * 40 + [(0, 1)] * 40, [(1, 0)] * 40 + [(0, 0)] * 4)):
            labels = torch.tensor(rows)
            write_silo(grid.data[number], labels.float(), labels)
        serve(grid, composed(overrides))
    assert_equal(federated(tmp_path / "silo1"), federated(tmp_path / "server"))


def test_a_silo_of_several_processes(tmp_path: Path) -> None:
    """Its training is one process's up to the order of sums."""
    overrides = (f"out={tmp_path / 'f'}", *TINY)
    serve(LocalGrid(overrides, ranks={1: 2}), composed(overrides))
    one, two = federated(tmp_path / "f"), in_process(overrides, tmp_path / "p")[0]
    for name, value in two[0].items():
        torch.testing.assert_close(one[0][name], value, rtol=1e-4, atol=1e-5)
