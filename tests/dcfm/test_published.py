"""Publishing and loading models of any task: round trip, fields by rule, and what is refused."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from dcfm.attributes import AttributeSpace
from dcfm.fields import Composed, Routed
from dcfm.methods import registry
from dcfm.methods.sampling import Sampling
from dcfm.published import (
    ModelError,
    check_dealt,
    load_published,
    load_task,
    publish,
    publish_task,
    resolve_device,
)
from dcfm.silos import LabelHistogram
from dcfm.toy.task import ToyTask

SPACE = AttributeSpace(("side", "height"), (("left", "right"), ("low", "middle", "high")))
CPU = torch.device("cpu")


class Linear(nn.Module):
    """A field that is linear in x, with one offset a label."""

    def __init__(self, space: AttributeSpace, width: int) -> None:
        super().__init__()
        self.weight = nn.Linear(2, width)
        self.leave = nn.Linear(width, 2)
        self.labels = nn.ModuleList(nn.Embedding(n + 1, 2) for n in space.cardinalities)

    def forward(
        self,
        x: Float[Tensor, "batch 2"],
        t: Float[Tensor, " batch"],
        y: Int[Tensor, "batch k"],
        held: Bool[Tensor, "batch 2"] | None = None,
    ) -> Float[Tensor, "batch 2"]:
        offset = sum(table(y[:, i]) for i, table in enumerate(self.labels))
        return self.leave(self.weight(x)) + offset * t[:, None]


class PlainTask:
    """The least of a task."""

    def __init__(self, width: int = 4, space: AttributeSpace = SPACE) -> None:
        self.width, self.space, self.shape = width, space, (2,)

    def network(self) -> nn.Module:
        return Linear(self.space, self.width)

    def prepare(self, stored: Tensor, y: Tensor) -> Tensor:
        return stored

    def draw_held(self, x1: Tensor, generator: torch.Generator) -> None:
        return None


def build(settings: Mapping[str, Any]) -> PlainTask:
    return PlainTask(**settings)


def histograms() -> list[LabelHistogram]:
    everything = SPACE.combinations()
    return [LabelHistogram.from_labels(part, SPACE.cardinalities) for part in (everything[:4], everything[2:5])]


def published(folder: Path, method: str = "dcfm_a", number: int = 2, width: int = 4, **more: Any) -> list[Any]:
    torch.manual_seed(0)
    experts = [PlainTask(width).network().state_dict() for _ in range(number)]
    settings = {"task": {"width": 4}, "space": SPACE, "training": {"seed": 0}} | more
    held = [histograms()[i % 2] for i in range(max(2, number))]
    publish(folder, experts, held, method=method, partition="iid", **settings)
    return experts


def test_round_trip(tmp_path: Path) -> None:
    experts = published(tmp_path)
    found = load_published(tmp_path, build, CPU, what="a plain model")
    assert (found.name, found.partition, found.config["training"]) == ("dcfm_a", "iid", {"seed": 0})
    for network, expert in zip(found.networks, experts, strict=True):
        assert not any(p.requires_grad for p in network.parameters())
        for name, value in network.state_dict().items():
            torch.testing.assert_close(value, expert[name], atol=1e-3, rtol=1e-3)  # float16
    for mine, theirs in zip(histograms(), found.histograms, strict=True):
        assert torch.equal(mine.combinations, theirs.combinations)
        assert torch.equal(mine.counts, theirs.counts)
    assert torch.equal(found.known, SPACE.combinations()[:5])  # what some silo holds


def test_a_method_that_was_changed_since_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Another scale is another field: what is sampled is not what was judged."""
    published(tmp_path, "dfd_l")
    load_published(tmp_path, build, CPU, what="a plain model")
    assert not caplog.messages
    settings = registry.settings_of
    monkeypatch.setattr(registry, "settings_of", lambda name, **changes: {**settings(name), "scale": 0.0, **changes})
    assert load_published(tmp_path, build, CPU, what="a plain model").method == registry.make("dfd_l")
    assert "the registry's dfd_l was another when this model was published (scale=2.0, now 0.0)" in caplog.text


def test_what_is_sampled_refuses_labels_that_are_none(tmp_path: Path) -> None:
    """A network may take them without a word, and answer something else."""
    published(tmp_path, "dcfm_b", 1)
    field = load_published(tmp_path, build, CPU, what="a plain model").sampled(Sampling("joint"))
    x, t = torch.randn(2, 2), torch.rand(2)
    assert field(x, t, SPACE.null.expand(2, -1)).shape == x.shape
    with pytest.raises(ValueError, match="label 7 of attribute 1, which has 0 to 2 and null"):
        field(x, t, torch.tensor([[0, 7], [0, 1]]))


def test_experts_come_back_in_their_order(tmp_path: Path) -> None:
    """The tenth's name begins like the first's."""
    experts = published(tmp_path, number=11)
    found = load_published(tmp_path, build, CPU, what="a plain model")
    assert len(found.networks) == 11
    for network, expert in zip(found.networks, experts, strict=True):
        torch.testing.assert_close(network.state_dict()["weight.bias"], expert["weight.bias"], atol=1e-3, rtol=1e-3)


def test_silos_dealt_here_are_a_federations_if_their_labels_are(tmp_path: Path) -> None:
    published(tmp_path, training={"protocol": "dcfm_a"})
    found = load_published(tmp_path, build, CPU, what="a plain model")
    one, other = histograms()
    more = LabelHistogram(one.combinations, one.counts + 1, one.cardinalities)
    check_dealt(found, [one, other], "scripts/train.py")
    for wrong in ([one], [other, one], [more, other], [one, other, other]):
        with pytest.raises(ModelError, match=r"protocol=dcfm_a.*or train dcfm_a with scripts/train\.py"):
            check_dealt(found, wrong, "scripts/train.py")


def test_the_rule_chooses_the_field_and_guidance_is_one_weight_an_attribute(tmp_path: Path) -> None:
    published(tmp_path / "a")
    published(tmp_path / "b", "dcfm_b", 1)
    a, b = (load_published(tmp_path / name, build, CPU, what="a plain model") for name in "ab")
    joint = a.field()
    assert isinstance(joint, Routed)
    assert joint.joint
    assert b.field("joint") is b.networks[0]
    composed = b.field("composed", (2.0, 0.5))
    assert isinstance(composed, Composed)
    x, t, y = torch.randn(3, 2), torch.rand(3), SPACE.combinations()[:3]
    base = b.networks[0](x, t, SPACE.null.expand(3, -1))
    sides = [b.networks[0](x, t, torch.stack([y[:, 0], torch.full((3,), 3)], 1))]
    sides.append(b.networks[0](x, t, torch.stack([torch.full((3,), 2), y[:, 1]], 1)))
    torch.testing.assert_close(composed(x, t, y), base + 2 * (sides[0] - base) + 0.5 * (sides[1] - base))
    with pytest.raises(ModelError, match=r"give one weight for each attribute \(side, height\), e.g. 'guidance="):
        b.field("composed", (1.0,))


def test_another_attribute_space_is_refused(tmp_path: Path) -> None:
    published(tmp_path)
    other = AttributeSpace(("side", "depth"), SPACE.values)
    renamed = AttributeSpace(SPACE.names, (("left", "right"), ("low", "high", "middle")))
    turned = AttributeSpace(SPACE.names[::-1], SPACE.values[::-1])
    for space in (other, renamed, turned):
        with pytest.raises(ModelError, match="was trained over the attributes"):
            load_published(tmp_path, lambda _, s=space: PlainTask(4, s), CPU, what="a plain model")
    # Without names on record, sizes still tell.
    larger = AttributeSpace.from_cardinalities(2, 4)
    published(tmp_path / "unnamed", space=None)
    with pytest.raises(ModelError, match="another architecture"):
        load_published(tmp_path / "unnamed", lambda _: PlainTask(4, larger), CPU, what="a plain model")
    smaller = AttributeSpace.from_cardinalities(2, 2)
    with pytest.raises(ValueError, match=r"allowed are 0 to 1|label"):
        load_published(tmp_path / "unnamed", lambda _: PlainTask(4, smaller), CPU, what="a plain model")


def test_weights_that_do_not_fit_and_artefacts_of_something_else(tmp_path: Path) -> None:
    published(tmp_path / "wide", width=5)
    with pytest.raises(ModelError, match="another architecture than its configuration says"):
        load_published(tmp_path / "wide", build, CPU, what="a plain model")
    published(tmp_path / "none", number=0)
    with pytest.raises(ModelError, match="no expert's weights"):
        load_published(tmp_path / "none", build, CPU, what="a plain model")
    published(tmp_path / "task", task={"depth": 3})
    with pytest.raises(ModelError, match="not of a plain model"):
        load_published(tmp_path / "task", build, CPU, what="a plain model")


def test_what_no_field_could_be_made_of_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="unknown method 'dcfmb'"):
        published(tmp_path / "misspelt", "dcfmb")
    assert not (tmp_path / "misspelt").exists()
    published(tmp_path / "two", "dcfm_b", 2)
    with pytest.raises(ModelError, match="holds 2 networks and 2 histograms, of which dcfm_b makes no field"):
        load_published(tmp_path / "two", build, CPU, what="a plain model")


@dataclass(frozen=True)
class NestedTask(ToyTask):
    """A task with settings within settings."""

    limits: tuple[tuple[float, float], ...] = ()


def test_settings_of_a_task_come_back_as_they_were(tmp_path: Path) -> None:
    task = NestedTask(2, 8, 1, limits=((0.0, 1.0), (2.0, 3.0)))
    held = LabelHistogram.from_labels(task.space.combinations()[:3], task.space.cardinalities)
    weights = task.network().state_dict()
    publish_task(tmp_path, [weights], [held], task, method="dcfm_b", partition="iid", training={})
    assert load_task(tmp_path, NestedTask, "cpu", what="a nested one").task == task


def test_devices() -> None:
    assert resolve_device("cpu") == CPU
    assert resolve_device("auto").type in ("cpu", "cuda")
    with pytest.raises(ModelError, match="use auto or cpu"):
        resolve_device("cuda:99")
