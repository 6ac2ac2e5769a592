"""The server's side of averaging: the mean, the optimizers' closed forms, and what is stored of them."""

import pytest
import torch

from dcfm.trainers.server import GlobalModel, ServerConfig, moving_average, weighted_mean
from dcfm.weights import Weights
from tests.dcfm.trainers.toy import ToyTask

WAY = torch.tensor([0.5, -2.0, 0.0])


def test_the_mean_is_weighted_by_counts() -> None:
    weights = [{"w": torch.tensor([0.0, 4.0])}, {"w": torch.tensor([8.0, 4.0])}]
    assert weighted_mean(weights, [3, 1])["w"].tolist() == [2.0, 4.0]
    assert torch.equal(weighted_mean([weights[1]], [5])["w"], weights[1]["w"])
    with pytest.raises(ValueError, match="give one count of at least 1 each"):
        weighted_mean(weights, [3, 0])


def test_equal_weights_average_to_themselves() -> None:
    torch.manual_seed(0)
    weights = ToyTask(8).network().state_dict()
    weights["batches"] = torch.tensor(7)  # a count, as some normalisations have
    mean = weighted_mean([weights] * 3, [2067, 2364, 543])
    assert all(torch.equal(mean[name], weights[name]) for name in weights)


def test_moving_average() -> None:
    average = moving_average({"w": torch.tensor(1.0)}, {"w": torch.tensor(2.0)}, 0.75)
    assert float(average["w"]) == 1.25


def after(server: ServerConfig | None, rounds: int) -> GlobalModel:
    """Where averaging stands if the silos always answer with where they began, and :data:`WAY` further."""
    model = GlobalModel.start({"w": torch.zeros(3), "batches": torch.tensor(0)})
    for number in range(rounds):
        answers = {"w": model.weights["w"] + WAY, "batches": torch.tensor(7 * (number + 1))}
        model = model.advance([answers, answers], [1, 3], server, 0.0, {"w"})
    return model


def test_without_an_optimizer_the_mean_is_the_next_start() -> None:
    assert torch.equal(after(None, 4).weights["w"], 4 * WAY)
    assert after(None, 4).moments == {}


def test_momentum_of_nothing_at_rate_one_is_averaging() -> None:
    torch.testing.assert_close(after(ServerConfig("momentum", momentum=0.0), 4).weights["w"], 4 * WAY)


def test_momentum_adds_up_what_went_before() -> None:
    """A way of d each round moves by eta d (1 - beta^k) / (1 - beta) in round k (FedAvgM)."""
    beta, rate, rounds = 0.8, 0.5, 6
    expected = sum(rate * WAY * (1 - beta**k) / (1 - beta) for k in range(1, rounds + 1))
    torch.testing.assert_close(after(ServerConfig("momentum", rate, beta), rounds).weights["w"], expected)


def test_adam_moves_by_its_rate_whatever_the_way() -> None:
    """By Algorithm 2 of Reddi et al.: a = (1 - beta1^k) d, b = beta2^k tau^2 + (1 - beta2^k) d^2."""
    server, rounds = ServerConfig("adam", 0.1, 0.9, 0.99, adaptivity=1e-2), 400
    moved = torch.zeros(3)
    for k in range(1, rounds + 1):
        first = (1 - server.momentum**k) * WAY
        second = server.second**k * server.adaptivity**2 + (1 - server.second**k) * WAY**2
        moved += server.learning_rate * first / (second.sqrt() + server.adaptivity)
    model = after(server, rounds)
    torch.testing.assert_close(model.weights["w"], moved)
    last = model.weights["w"] - after(server, rounds - 1).weights["w"]
    torch.testing.assert_close(last, 0.1 * WAY.sign(), atol=0.003, rtol=0)


@pytest.mark.parametrize("server", [ServerConfig("momentum"), ServerConfig("adam", 0.1)])
def test_counts_are_the_mean_s_and_the_start_stays(server: ServerConfig) -> None:
    start: Weights = {"w": torch.ones(3), "batches": torch.tensor(2)}
    model = GlobalModel.start(start).advance([{"w": 1 + WAY, "batches": torch.tensor(9)}], [5], server, 0.5, {"w"})
    assert int(model.weights["batches"]) == 9
    assert torch.equal(start["w"], torch.ones(3))
    torch.testing.assert_close(model.average["w"], 0.5 + 0.5 * model.weights["w"])
    assert set(model.moments["first"]) == {"w"}


@pytest.mark.parametrize("server", [ServerConfig("momentum"), ServerConfig("adam", 0.1)])
def test_statistics_are_no_parameters(server: ServerConfig) -> None:
    """A step would carry a variance that falls below zero, and the network's answers to nothing."""
    network = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.BatchNorm1d(2))
    start = network.state_dict()
    model, names = GlobalModel.start(start), {name for name, _ in network.named_parameters()}
    for _ in range(3):
        answers = {name: value * 0.5 if value.is_floating_point() else value for name, value in model.weights.items()}
        model = model.advance([answers], [1], server, 0.0, names)
    torch.testing.assert_close(model.weights["1.running_var"], 0.125 * start["1.running_var"])
    assert not torch.allclose(model.weights["1.weight"], 0.125 * start["1.weight"])


@pytest.mark.parametrize("server", [None, ServerConfig("momentum"), ServerConfig("adam", 0.1)])
def test_what_is_stored_goes_on_as_it_would_have(server: ServerConfig | None) -> None:
    """Names with dots in them too."""
    start = {"net.0.w": torch.zeros(3)}
    answers = {"net.0.w": WAY}
    model = GlobalModel.start(start).advance([answers], [1], server, 0.0, set(start))
    again = GlobalModel.from_tensors(model.done, model.tensors())
    ends = [m.advance([answers], [1], server, 0.3, set(start)) for m in (model, again)]
    assert ends[0].done == ends[1].done == 2
    assert all(torch.equal(value, ends[1].tensors()[name]) for name, value in ends[0].tensors().items())


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"rule": "sgd"}, "rule='sgd' of the server is unknown; the rules are momentum, adam"),
        ({"rule": "adam", "learning_rate": 0.0}, "learning_rate and adaptivity must be positive"),
        ({"rule": "adam", "learning_rate": float("inf")}, "must be positive numbers"),
        ({"rule": "adam", "adaptivity": float("nan")}, "learning_rate and adaptivity must be positive"),
        ({"rule": "momentum", "momentum": 1.0}, r"momentum and second in \[0, 1\)"),
    ],
)
def test_settings_that_cannot_be(given: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ServerConfig(**given)


def test_a_name_says_what_is_not_the_default() -> None:
    assert str(ServerConfig("momentum")) == "momentum 1"
    assert str(ServerConfig("adam", 0.01, adaptivity=0.1)) == "adam 0.01, adaptivity 0.1"
