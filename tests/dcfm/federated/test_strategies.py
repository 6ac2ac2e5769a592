"""Any of Flower's strategies that averages weights trains silos: answers are checked, kept, and not asked for twice."""

from pathlib import Path

import pytest
import torch
from flwr.app import ArrayRecord, ConfigRecord, Message, RecordDict
from flwr.serverapp.strategy import FedAdam, FedAvg, FedAvgM, FedMedian, FedProx

from dcfm.federated import members as crew
from dcfm.federated.members import Members
from dcfm.federated.server import make_members
from dcfm.federated.settings import composed
from dcfm.federated.strategies import SiloGrid
from tests.dcfm.federated.grid import TINY, LocalGrid


@pytest.fixture
def silos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Members, LocalGrid, ArrayRecord]:
    monkeypatch.setattr(crew, "POLL", 0.01)
    overrides = ("protocol=fedflow", "silos=3", "partition=iid", f"out={tmp_path}", *TINY)
    grid = LocalGrid(overrides)
    members, problem = make_members(grid, composed(overrides))
    members.gather()
    return members, grid, ArrayRecord(problem.task.network().state_dict())


@pytest.mark.parametrize("kind", [FedAvg, FedMedian])
def test_a_strategy_of_flower_trains_the_silos(
    kind: type[FedAvg], silos: tuple[Members, LocalGrid, ArrayRecord]
) -> None:
    """What it returns is its own aggregate of what the silos sent; started again it asks nobody again."""
    members, grid, start = silos
    result = kind(fraction_evaluate=0.0).start(SiloGrid(members), start, num_rounds=2)
    asked = len(grid.asked)
    sent = [load for load in (members._kept("fedavg_1", n) for n in members.numbers) if load is not None]
    for name, value in result.arrays.to_torch_state_dict().items():
        stacked = torch.stack([parcel["weights"][name] for parcel in sent])
        counts = torch.tensor([float(members.histograms[n].total) for n in members.numbers])
        mean = torch.tensordot(counts / counts.sum(), stacked, dims=1)
        assert torch.allclose(value, mean if kind is FedAvg else stacked.median(0).values, atol=1e-6)
    again = kind(fraction_evaluate=0.0).start(SiloGrid(members), start, num_rounds=2)
    assert len(grid.asked) == asked
    repeated = again.arrays.to_torch_state_dict()
    assert all(torch.equal(repeated[name], value) for name, value in result.arrays.to_torch_state_dict().items())


def test_another_start_is_another_question(silos: tuple[Members, LocalGrid, ArrayRecord]) -> None:
    """Answers of an earlier strategy in the same folder are none to it."""
    members, grid, start = silos
    first = FedAvg(fraction_evaluate=0.0).start(SiloGrid(members), start, num_rounds=1)
    asked = len(grid.asked)
    other = ArrayRecord({name: value + 1 for name, value in start.to_torch_state_dict().items()})
    second = FedAvg(fraction_evaluate=0.0).start(SiloGrid(members), other, num_rounds=1)
    assert len(grid.asked) == asked + len(members.numbers)
    results = [result.arrays.to_torch_state_dict() for result in (first, second)]
    assert any(not torch.allclose(value, results[1][name], atol=0.1) for name, value in results[0].items())


@pytest.mark.parametrize(
    "strategy",
    [
        FedAdam(fraction_evaluate=0.0),
        FedAvgM(fraction_evaluate=0.0, server_learning_rate=1.0, server_momentum=0.9),
    ],
)
def test_strategies_with_a_state_of_their_own_train_too(
    strategy: FedAvg, silos: tuple[Members, LocalGrid, ArrayRecord]
) -> None:
    """One computes in float64, one goes by the order of the tensors; without momentum yet, its round is the mean."""
    members, _, start = silos
    one = strategy.start(SiloGrid(members), start, num_rounds=1).arrays.to_torch_state_dict()
    assert all(value.isfinite().all() for value in one.values())
    if isinstance(strategy, FedAvgM):
        parcels = [load for load in (members._kept("fedavg_0", n) for n in members.numbers) if load is not None]
        counts = torch.tensor([float(members.histograms[n].total) for n in members.numbers])
        for name, value in one.items():
            mean = torch.tensordot(counts / counts.sum(), torch.stack([p["weights"][name] for p in parcels]), dims=1)
            assert torch.allclose(value, mean, atol=1e-6)


@pytest.mark.parametrize(
    ("strategy", "words"),
    [
        (FedAvg(), "silos only train; give the strategy fraction_evaluate"),
        (FedProx(fraction_evaluate=0.0, proximal_mu=5.0), "proximal-mu"),
    ],
)
def test_what_a_silo_cannot_honour_is_refused(
    strategy: FedAvg, words: str, silos: tuple[Members, LocalGrid, ArrayRecord]
) -> None:
    """An evaluation, or settings of the training."""
    members, grid, start = silos
    with pytest.raises(ValueError, match=words):
        strategy.start(SiloGrid(members), start, num_rounds=1)
    trained = [n for n, question in grid.asked if question == "train.fedavg"]
    assert trained == ([0, 1, 2] if type(strategy) is FedAvg else [])


def test_a_strategy_that_wants_something_else_is_refused(silos: tuple[Members, LocalGrid, ArrayRecord]) -> None:
    grid = SiloGrid(silos[0])
    assert grid.send_and_receive([]) == []
    content = RecordDict({"config": ConfigRecord({"server-round": 1})})
    with pytest.raises(ValueError, match="wants something else"):
        grid.send_and_receive([Message(content, dst_node_id=0, message_type="train")])
    starts = [ArrayRecord({"a": torch.tensor(float(n))}) for n in range(2)]
    each = [RecordDict({"arrays": start, "config": ConfigRecord({"server-round": 1})}) for start in starts]
    with pytest.raises(ValueError, match="each from the same weights"):
        grid.send_and_receive([Message(c, dst_node_id=n, message_type="train") for n, c in enumerate(each)])
    with pytest.raises(NotImplementedError):
        grid.push_messages([])
