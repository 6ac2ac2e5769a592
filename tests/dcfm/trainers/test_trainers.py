"""Stage I, DCFM-A and DCFM-B on the toy: they learn, they resume exactly, they draw what they should."""

from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from torch import nn

from dcfm.attributes import AttributeSpace, MaskRates, is_among
from dcfm.losses import pair_labels
from dcfm.silos import LabelHistogram
from dcfm.solvers import integrate
from dcfm.trainers import student as student_module
from dcfm.trainers.fedavg import FedAvgConfig, train_round
from dcfm.trainers.local import LocalConfig, train_local
from dcfm.trainers.loop import LoopConfig, fit
from dcfm.trainers.objective import (
    IndependenceConfig,
    ObjectiveConfig,
    Points,
    check_pairs,
    draw_contrast,
    independence_points,
)
from dcfm.trainers.peers import PeerConfig, draw_routing, holder_weights, train_peers
from dcfm.trainers.student import (
    ReplayConfig,
    StudentConfig,
    _ReplaySource,
    jittered_grid,
    make_replay,
    train_student,
)
from tests.dcfm.trainers.toy import DISTANCE, SPACE, ToyTask, silo_data

LEFT, BOTTOM = [[0, 0], [0, 1]], [[0, 0], [1, 0]]
SHORT = LoopConfig(steps=30, batch=32, warmup=5, checkpoint_every=10)


def histogram(combinations: list[list[int]], number: int = 10) -> LabelHistogram:
    return LabelHistogram.from_labels(torch.tensor(combinations).repeat(number, 1), SPACE.cardinalities)


def test_stage_one_learns_its_modes() -> None:
    data, labels = silo_data(LEFT, 500, seed=0)
    loop = LoopConfig(steps=600, batch=128, warmup=20, learning_rate=5e-3, ema=0.98)
    objective = ObjectiveConfig(time_power=0.0, independence=IndependenceConfig(weight=0.1, labels="own"))
    network = train_local(ToyTask(), data, labels, LocalConfig(loop, objective), seed=0)
    y = torch.tensor(LEFT).repeat(200, 1)
    with torch.no_grad():
        x = integrate(network, torch.randn(400, 2, generator=torch.Generator().manual_seed(1)), y, steps=20)
    inside = (x - DISTANCE * (2.0 * y - 1)).norm(dim=1) < 1.2
    assert inside.float().mean() > 0.9


def test_without_weight_there_is_no_independence_term() -> None:
    data, labels = silo_data(LEFT, 20, seed=0)
    seen: list[set[str]] = []
    objective = ObjectiveConfig(independence=IndependenceConfig(weight=0.0))
    train_local(
        ToyTask(),
        data,
        labels,
        LocalConfig(replace(SHORT, steps=2), objective),
        seed=0,
        progress=lambda done, total, terms: seen.append(set(terms)),
    )
    assert seen == [{"matching", "loss"}] * 2


def test_student_resumes_exactly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed in the middle of a replay block; the block is made again on resuming."""
    teachers = [ToyTask(width=16).network(), ToyTask(width=16).network()]
    histograms = [histogram(LEFT), histogram(BOTTOM)]
    config = StudentConfig(SHORT, replay=ReplayConfig(paths=16, steps=4, reuse=4.0))
    task = ToyTask(width=16, holds=True)
    whole = train_student(task, teachers, histograms, config, seed=3)

    checkpoint = tmp_path / "student.safetensors"
    with monkeypatch.context() as patch:
        patch.setattr(student_module, "fit", lambda *a, **k: fit(*a, **k, stop_after=17))
        train_student(task, teachers, histograms, config, seed=3, checkpoint=checkpoint)
    resumed = train_student(task, teachers, histograms, config, seed=3, checkpoint=checkpoint)
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name


def test_teachers_that_compose_teach_the_student_what_nobody_holds() -> None:
    """Its velocity for the novel label comes to that of the teachers' contrast, which no replayed label shows."""
    teachers = [ToyTask(width=16).network() for _ in range(2)]
    with torch.no_grad():  # networks start at zero velocity; these two give constants that the labels shift
        for index, teacher in enumerate(teachers):
            for parameter in teacher.parameters():
                parameter.normal_(generator=torch.Generator().manual_seed(index)).mul_(0.3)
    before = [{k: v.clone() for k, v in t.state_dict().items()} for t in teachers]
    term = IndependenceConfig(weight=4.0, share=1.0, labels="held", paths="own", pairwise=True, contrast=True)
    loop = LoopConfig(steps=400, batch=64, warmup=20, learning_rate=5e-3, ema=0.95)
    objective = ObjectiveConfig(MaskRates(1.0, 0.0, 0.0), term, time_power=0.0)
    replay = ReplayConfig(paths=64, steps=8, held=0.0)
    histograms = [histogram(LEFT), histogram(BOTTOM)]
    x, t = torch.randn(256, 2, generator=torch.Generator().manual_seed(9)), torch.full((256,), 0.3)

    def at(network, *label: int):
        with torch.no_grad():
            return network(x, t, torch.tensor([label]).repeat(256, 1))

    none = (at(teachers[0], 0, 0) + at(teachers[1], 0, 0)) / 2
    composed = at(teachers[0], 0, 1) + at(teachers[1], 1, 0) - none
    errors = []
    for compose in (None, True):
        objective = replace(objective, independence=replace(term, weight=4.0 if compose else 0.0))
        config = StudentConfig(loop, objective, replay, teachers_compose=compose)
        student = train_student(ToyTask(width=16), teachers, histograms, config, seed=0)
        errors.append(float((at(student, 1, 1) - composed).square().mean()))
    assert errors[1] < 0.2 * errors[0]
    for teacher, weights in zip(teachers, before, strict=True):
        assert all(torch.equal(v, weights[k]) for k, v in teacher.state_dict().items())


@pytest.mark.parametrize(("method", "evaluations"), [("euler", 4), ("midpoint", 8), ("heun", 8), ("rk4", 15)])
@pytest.mark.parametrize("holds", [True, False])
def test_a_point_of_replay_is_used_as_often_as_asked(method: str, evaluations: int, holds: bool) -> None:
    task = ToyTask(8, holds)
    replay = ReplayConfig(paths=64, steps=4, method=method, reuse=3.0, held=0.5)
    torch.manual_seed(0)
    networks = [task.network().eval() for _ in range(2)]
    source = _ReplaySource(task, networks, [histogram(LEFT), histogram(BOTTOM)], StudentConfig(SHORT, replay=replay), 0)
    used = source.steps_of_block * SHORT.batch / len(source.at(0).points)
    assert used == pytest.approx(3.0, rel=0.05)
    assert len(source.at(0).points) % evaluations == 0


def test_replay_by_a_solver_without_a_grid() -> None:
    for method in ("adaptive", "foo"):
        with pytest.raises(ValueError, match="its grid can be of euler"):
            ReplayConfig(method=method)


def test_replay_lies_on_the_teachers_paths() -> None:
    """Points carry the teacher's own velocity, its silo's labels, all times, and held entries of its own samples."""
    teachers = [ToyTask().network(), ToyTask().network()]
    histograms = [histogram(LEFT, 30), histogram([[1, 0]], 10)]
    replay = make_replay(
        ToyTask(holds=True),
        teachers,
        histograms,
        ReplayConfig(paths=200, steps=5, held=0.5),
        torch.Generator().manual_seed(0),
    )
    points = replay.points
    second = points.y[:, 0] == 1
    assert 0.08 < second.float().mean() < 0.25  # the smaller silo has 10 of 70 samples
    assert points.held is not None
    for rows, teacher in ((~second, teachers[0]), (second, teachers[1])):
        with torch.no_grad():
            expected = teacher(points.x[rows], points.t[rows], points.y[rows], points.held[rows])
        torch.testing.assert_close(replay.velocity[rows], expected)
    assert points.held.any()
    assert (replay.velocity[points.held] == 0).all()
    assert 0 <= float(points.t.min()) < 0.05
    assert float(points.t.max()) < 1


def test_jittered_grid_covers_all_times(generator: torch.Generator) -> None:
    grids = torch.stack([jittered_grid(8, generator) for _ in range(300)])
    assert (grids.diff(dim=1) > 0).all()
    assert (grids[:, 0] == 0).all()
    assert (grids[:, -1] == 1).all()
    inner = grids[:, 1:-1].flatten()
    assert torch.histc(inner, 10, 1 / 16, 15 / 16).std() < 0.15 * len(inner) / 10


def test_routing_follows_support_and_always_names_the_silo(generator: torch.Generator) -> None:
    histograms = [histogram(LEFT), histogram(BOTTOM)]
    y = torch.tensor([[1, 1]]).repeat(500, 1)
    routing = draw_routing(y, histograms, 0, generator)
    assert (routing[:, 1] == 1).all()  # only silo 1 has seen attribute 0 = 1
    assert (routing[:, 2] == 0).all()  # only silo 0 has seen attribute 1 = 1
    assert (routing == 0).any(1).all()
    for index in (0, 1):
        drawn = draw_routing(torch.tensor([[0, 0]]).repeat(500, 1), histograms, index, generator, "uniform")
        assert (drawn == index).any(1).all()
        assert set(drawn.flatten().tolist()) == {0, 1}


def test_routing_of_a_pair_takes_its_slots_and_names_the_silo(generator: torch.Generator) -> None:
    y, pair = torch.tensor([[1, 1]]).repeat(500, 1), torch.tensor([[1, 0]]).repeat(500, 1)
    terms = pair_labels(y, SPACE.null, pair)
    routing = draw_routing(y, [histogram(LEFT), histogram(BOTTOM)], 0, generator, pair=terms)
    assert (routing[:, 1:] == torch.tensor([0, 1])).all()  # attribute 1 by silo 0, attribute 0 by silo 1
    assert (routing == 0).any(1).all()


def test_routing_of_a_contrast_asks_who_holds_the_whole_label(generator: torch.Generator) -> None:
    y = torch.zeros(500, 2, dtype=torch.long)
    terms = pair_labels(1 - y, y, torch.tensor([[0, 1]]).repeat(500, 1))  # 00, 10, 01 and the novel 11
    routing = draw_routing(y, [histogram(LEFT), histogram(BOTTOM)], 0, generator, pair=terms)
    assert (routing[:, 1] == 1).all()  # 10 lies at the bottom
    assert (routing[:, 2] == 0).all()  # 01 on the left
    assert set(routing[:, 0].tolist()) == {0, 1}  # 00 in both


def test_a_silo_serves_no_base_that_it_does_not_hold(generator: torch.Generator) -> None:
    y = torch.tensor([[0, 1]]).repeat(200, 1)  # on the left alone
    terms = pair_labels(1 - y, y, torch.tensor([[0, 1]]).repeat(200, 1))
    routing = draw_routing(y, [histogram(LEFT), histogram(BOTTOM)], 1, generator, pair=terms)
    assert (routing[:, 0] == 0).all()


def test_held_labels_are_drawn_by_the_root_of_their_counts(generator: torch.Generator) -> None:
    points = Points(torch.randn(400, 2), torch.rand(400), torch.zeros(400, 2, dtype=torch.long), None)
    config = IndependenceConfig(labels="held", share=1.0)
    held = LabelHistogram.merge([histogram(LEFT, 10), histogram(BOTTOM, 30)])
    y = independence_points(points, ToyTask().network(), SPACE, config, generator, held).y
    counts = torch.bincount(2 * y[:, 0] + y[:, 1], minlength=4)
    assert counts[3] == 0
    roots = torch.tensor([40.0, 10.0, 30.0]).sqrt()
    assert (counts[:3] / 400 - roots / roots.sum()).abs().max() < 0.08


def test_weights_of_a_label_that_nobody_holds_come_from_its_values() -> None:
    novel = torch.tensor([[[1, 1]]])
    assert holder_weights([histogram(LEFT), histogram(BOTTOM)], novel)[0, 0].tolist() == [0.5, 0.5]


@pytest.mark.parametrize(("pairwise", "contrast"), [(False, None), (True, None), (True, True)])
def test_peers_stay_frozen_and_the_own_network_moves(pairwise: bool, contrast: bool | None) -> None:
    data, labels = silo_data(LEFT, 50, seed=0)
    networks = [ToyTask().network(), ToyTask().network()]
    before = [{k: v.clone() for k, v in n.state_dict().items()} for n in networks]
    term = IndependenceConfig(weight=1.0, labels="own", share=1.0, pairwise=pairwise, contrast=contrast)
    config = PeerConfig(SHORT, ObjectiveConfig(independence=term))
    moved = train_peers(ToyTask(), data, labels, networks, [histogram(LEFT), histogram(BOTTOM)], 0, config, seed=0)
    for network, weights in zip(networks, before, strict=True):
        assert all(torch.equal(v, weights[k]) for k, v in network.state_dict().items())
    assert any(not torch.equal(v, before[0][k]) for k, v in moved.state_dict().items())


def test_independence_points_follow_the_configuration(generator: torch.Generator) -> None:
    network = ToyTask().network()
    points = Points(torch.randn(400, 2), torch.rand(400), torch.zeros(400, 2, dtype=torch.long), None)
    own = independence_points(points, network, SPACE, IndependenceConfig(labels="own", share=0.25), generator)
    assert len(own) == 100
    assert torch.equal(own.x, points.x[:100])
    assert (own.y == 0).all()
    everywhere = independence_points(points, network, SPACE, IndependenceConfig(labels="global", share=1.0), generator)
    counts = torch.bincount(2 * everywhere.y[:, 0] + everywhere.y[:, 1], minlength=4)
    assert (counts > 60).all()  # uniform over all four, the novel one included
    paths = independence_points(
        points, network, SPACE, IndependenceConfig(labels="global", paths="own", share=1.0), generator
    )
    assert not torch.equal(paths.x, points.x)
    assert torch.equal(paths.t, points.t)


def test_own_paths_keep_what_is_held(generator: torch.Generator) -> None:
    held = torch.zeros(50, 2, dtype=torch.bool)
    held[:, 0] = True
    points = Points(torch.randn(50, 2), torch.rand(50), torch.zeros(50, 2, dtype=torch.long), held)
    at = independence_points(points, ToyTask().network(), SPACE, IndependenceConfig(paths="own", share=1.0), generator)
    assert torch.equal(at.x[:, 0], points.x[:, 0])
    assert not torch.equal(at.x[:, 1], points.x[:, 1])


def test_own_paths_of_a_pair_are_those_of_its_two_values_alone(generator: torch.Generator) -> None:
    """The points lie where the network goes when asked for the pair, all other attributes null."""
    space, asked = AttributeSpace(("a", "b", "c"), (("0", "1"),) * 3), []

    def field(x, t, y, held=None):
        asked.append(y)
        return x

    points = Points(torch.randn(40, 2), torch.rand(40), torch.zeros(40, 3, dtype=torch.long), None)
    config = IndependenceConfig(labels="global", paths="own", share=1.0, path_steps=2, pairwise=True)
    at = independence_points(points, field, space, config, generator)
    assert at.pair is not None
    assert (at.pair != space.null).sum(-1).tolist() == [[0] * 40, [1] * 40, [1] * 40, [2] * 40]
    assert len(asked) == 2
    assert all(torch.equal(y, at.pair[-1]) for y in asked)


def test_a_contrast_says_what_the_fourth_label_is_by_three_that_are_known(generator: torch.Generator) -> None:
    space = AttributeSpace.from_cardinalities(2, 3, 2)
    known = torch.tensor([[0, 0, 0], [1, 0, 0], [0, 2, 0], [0, 0, 1]])
    y = known[:1].repeat(200, 1)
    none, first, second, both = draw_contrast(y, space, known, generator)
    assert torch.equal(none, y)
    assert is_among(first, known).all()
    assert is_among(second, known).all()
    assert torch.equal(both, first + second)  # of the label of zeros: both changes
    assert (first != second).any(1).all()
    assert len(torch.unique(both, dim=0)) == 3  # each pair of the three values occurs
    assert not is_among(both, known).any()


def test_a_contrast_prefers_a_label_that_nobody_holds(generator: torch.Generator) -> None:
    known = torch.tensor([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0], [0, 1, 1]])
    *_, both = draw_contrast(known[:1].repeat(200, 1), AttributeSpace.from_cardinalities(2, 2, 2), known, generator)
    assert ((both == torch.tensor([1, 0, 1])).all(1).float().mean()) > 0.98


def test_a_contrast_takes_any_pair_where_none_is_known(generator: torch.Generator) -> None:
    y = torch.zeros(50, 3, dtype=torch.long)
    terms = draw_contrast(y, AttributeSpace.from_cardinalities(2, 2, 2), y[:1], generator)
    assert terms.sum(-1).tolist() == [[0] * 50, [1] * 50, [1] * 50, [2] * 50]


def test_a_contrast_starts_from_a_label_that_is_held() -> None:
    with pytest.raises(ValueError, match="set pairwise: true and labels: own or held"):
        IndependenceConfig(contrast=True, pairwise=True, labels="global")
    with pytest.raises(ValueError, match="set pairwise: true and labels: own or held"):
        IndependenceConfig(contrast=True, labels="own")


def test_a_silo_asks_only_for_labels_that_it_holds_unless_told() -> None:
    """Eq. 10 is about a silo's own data."""
    assert LocalConfig().objective.independence.labels == "own"
    assert FedAvgConfig().objective.independence.labels == "own"


def test_a_pair_that_nothing_trains_is_refused() -> None:
    """With more than two attributes the labels of two alone are seen by the CI term only, which they then satisfy."""
    space = AttributeSpace.from_cardinalities(2, 2, 2)
    pairs = ObjectiveConfig(independence=IndependenceConfig(labels="own", pairwise=True))
    with pytest.raises(ValueError, match=r"masks\.pair=0 trains the network on none"):
        check_pairs(pairs, space)
    check_pairs(pairs, SPACE)
    check_pairs(replace(pairs, masks=MaskRates(0.8, 0.04, 0.01, pair=0.15)), space)
    check_pairs(replace(pairs, independence=replace(pairs.independence, contrast=True)), space)


@dataclass(frozen=True)
class FrozenLabels(ToyTask):
    """A task whose network keeps its embeddings as they are."""

    def network(self) -> nn.Module:
        network = super().network()
        network.labels.requires_grad_(False)  # type: ignore[union-attr, operator]
        return network


def test_what_a_task_freezes_no_trainer_moves() -> None:
    task, (data, labels) = FrozenLabels(width=8), silo_data(LEFT, 20, seed=0)
    loop, histogram = LoopConfig(steps=2, batch=8, warmup=1), LabelHistogram.from_labels(labels, (2, 2))
    first = train_local(task, data, labels, LocalConfig(loop), seed=0)
    moved = deepcopy(first)
    train_round(task, data, labels, moved, FedAvgConfig(rounds=1, steps=2, batch=8, warmup=1), 0, seed=0)
    further = [
        train_local(task, data, labels, LocalConfig(loop), seed=1, start=first),
        train_peers(task, data, labels, [first, first], [histogram] * 2, 0, PeerConfig(loop), seed=0),
        train_student(task, [first], [histogram], StudentConfig(loop, warm_start=True), seed=0),
        moved,
    ]
    frozen = first.labels.state_dict()  # type: ignore[union-attr, operator]
    for network in further:
        assert all(torch.equal(value, frozen[name]) for name, value in network.labels.state_dict().items())  # type: ignore[union-attr, operator]
        assert not torch.equal(network.out.weight, first.out.weight)  # type: ignore[union-attr]


def test_bad_input_is_refused_before_training() -> None:
    data, labels = silo_data(LEFT, 10, seed=0)
    with pytest.raises(ValueError, match="at least one"):
        train_local(ToyTask(), data[:0], labels[:0], LocalConfig(), seed=0)
    with pytest.raises(ValueError, match="shape"):
        train_local(ToyTask(), data[:, :1], labels, LocalConfig(), seed=0)
    with pytest.raises(ValueError, match="NaN"):
        train_local(ToyTask(), data * float("nan"), labels, LocalConfig(), seed=0)
    with pytest.raises(ValueError, match="null token"):
        train_local(ToyTask(), data, labels + 2, LocalConfig(), seed=0)
    with pytest.raises(ValueError, match="one of each"):
        train_student(ToyTask(), [ToyTask().network()], [], StudentConfig(), seed=0)
    with pytest.raises(ValueError, match="add up to 1"):
        MaskRates(full=0.9, marg=0.2, uncond=0.1)
    with pytest.raises(ValueError, match="rounds"):
        PeerConfig(rounds=0)
    with pytest.raises(ValueError, match="'own'"):
        IndependenceConfig(labels="mine")
