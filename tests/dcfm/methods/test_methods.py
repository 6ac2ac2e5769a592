"""One test covers everything registered: each method trains, resumes, sends what it says, and makes a field."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml

from dcfm.attributes import MaskRates
from dcfm.decentralized import Federation
from dcfm.exchange import Exchange
from dcfm.fields import Composed, Routed
from dcfm.methods import registry
from dcfm.methods.factored import FactoredNetwork
from dcfm.methods.method import Method, Recipe, without_independence
from dcfm.mixtures import EnergyMixture, LabelMixture
from dcfm.privacy.settings import PrivacyConfig
from dcfm.trainers.fedavg import FedAvgConfig
from dcfm.trainers.loop import ResumeError
from tests.dcfm.federation import TASK, federation
from tests.dcfm.test_decentralized import LOCAL, PEERS, STUDENT

FEDAVG = FedAvgConfig(rounds=4, steps=2, batch=8, warmup=1, checkpoint_every=2)
RECIPE = Recipe(LOCAL, LOCAL, PEERS, STUDENT, FEDAVG, LOCAL)
UNITS = {"fedflow": 8, "fedflow_l": 8, "factored": 8, "dcfm_a": 6, "dcfm_b": 2, "dcfm_b_r": 8, "pooled": 0}
UNITS |= dict.fromkeys(("ddm", "ddm_l", "dfd", "dfd_l"), 2)
"""Models sent and received by each of two silos: 2T; (R + 1) N with the last gather; 2; 2 r + 2; one gather: N. A
method that a user has added is not here."""


def trained(method: Method, run: Federation) -> tuple[list[torch.nn.Module], Exchange]:
    exchange = method.exchange(run)
    networks = []
    for weights in method.train(run, RECIPE, exchange):
        network = method.task(TASK).network()
        network.load_state_dict(weights)
        networks.append(network)
    return networks, exchange


@pytest.mark.parametrize("name", registry.names())
class TestEveryMethod:
    def test_trains_and_makes_a_field(self, name: str, tmp_path: Path, generator: torch.Generator) -> None:
        run, method = federation(tmp_path), registry.make(name)
        networks, exchange = trained(method, run)
        for silo in ("silo0", "silo1"):
            sent = exchange.ledger.units().get(silo, 0)
            assert sent == UNITS.get(name, sent)
        assert {m.kind for m in exchange.ledger.messages} <= {"weights", "histogram"}
        x, t = torch.randn(6, 2, generator=generator), torch.rand(6, generator=generator)
        y = torch.tensor([[0, 0], [0, 1], [1, 0], [1, 1], [2, 1], [2, 2]])
        velocities = {}
        for rule in ("joint", "composed", "full"):
            field = method.field(networks, run.histograms, TASK.space.null, rule, (1.0, 1.0))
            velocities[rule] = field(x, t, y)
            assert velocities[rule].isfinite().all()
        # Whole labels that no silo holds, here (1, 1), are answered jointly by every method but DCFM-A, or as it says.
        nobody = (y == 1).all(1)
        jointly = torch.equal(velocities["full"][nobody], velocities["joint"][nobody])
        assert jointly == (method.novel_rule("joint") == "joint")
        assert jointly == (name != "dcfm_a") or name not in UNITS
        with pytest.raises(ValueError, match="the rules are joint, composed and full"):
            method.field(networks, run.histograms, TASK.space.null, "marginal")

    def test_again_gives_the_same_without_training(self, name: str, tmp_path: Path) -> None:
        method = registry.make(name)
        first, ledger = trained(method, federation(tmp_path))
        written = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*.safetensors")}
        again, same = trained(method, federation(tmp_path))
        assert {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*.safetensors")} == written
        assert ledger.ledger.messages == same.ledger.messages
        for a, b in zip(first, again, strict=True):
            assert all(torch.equal(p, q) for p, q in zip(a.parameters(), b.parameters(), strict=True))

    def test_a_recipe_that_it_cannot_train_with_is_refused_by_itself(self, name: str, tmp_path: Path) -> None:
        """Whoever calls ``train``: what was asked to be private is never trained without."""
        method, run = registry.make(name), federation(tmp_path)
        strange = [part for part in ("fedavg", "stage_one") if method.decentralised and part not in method.private]
        for part in strange:
            recipe = replace(RECIPE, **{part: replace(getattr(RECIPE, part), privacy=PrivacyConfig(1.0))})
            with pytest.raises(ValueError, match=rf"{part}\.privacy"):
                method.train(run, recipe, method.exchange(run))
        assert strange or not method.decentralised or name == "dcfm_b_r"
        assert not list(tmp_path.rglob("*.safetensors"))


def test_what_is_sampled_by_what(tmp_path: Path) -> None:
    run = federation(tmp_path)
    kinds = {"ddm": LabelMixture, "ddm_l": LabelMixture, "dfd": EnergyMixture, "dfd_l": EnergyMixture, "dcfm_a": Routed}
    for name, kind in kinds.items():
        method = registry.make(name)
        assert isinstance(method.field([TASK.network()] * 2, run.histograms, TASK.space.null), kind)
    assert [registry.make(n).decentralised for n in ("pooled", "factored", "dcfm_b")] == [False, True, True]


def test_full_asks_experts_for_what_nobody_holds(tmp_path: Path, generator: torch.Generator) -> None:
    """DCFM-A by whole labels: the experts' own velocities, mixed by label statistics."""
    run, y = federation(tmp_path), torch.tensor([[1, 1]] * 4)
    experts = [TASK.network() for _ in run.silos]
    field = registry.make("dcfm_a").field(experts, run.histograms, TASK.space.null, "full")
    x, t = torch.randn(4, 2, generator=generator), torch.rand(4, generator=generator)
    # (1, 1) is held by nobody; silo 1 alone holds a first value of 1, silo 0 alone a second value of 1.
    half = (experts[0](x, t, y) + experts[1](x, t, y)) / 2
    torch.testing.assert_close(field(x, t, y), half)


def test_local_ci_is_all_that_l_adds(tmp_path: Path) -> None:
    """DDM and DFD share their experts; "+L" trains others, in other folders, of the same out."""
    run = federation(tmp_path)
    networks = {name: trained(registry.make(name), run)[0] for name in ("ddm", "dfd", "ddm_l", "dfd_l")}

    def equal(a: str, b: str) -> bool:
        pairs = zip(networks[a], networks[b], strict=True)
        return all(torch.equal(p, q) for m, n in pairs for p, q in zip(m.parameters(), n.parameters(), strict=True))

    assert equal("ddm", "dfd")
    assert equal("ddm_l", "dfd_l")
    assert not equal("ddm", "ddm_l")


def test_factored_networks_compose_by_construction(generator: torch.Generator) -> None:
    """Eq. 1 at the level of velocities cannot be violated: the mixed difference over two attributes vanishes."""
    network = FactoredNetwork(TASK.network(), TASK.space.null)
    x, t = torch.randn(5, 2, generator=generator), torch.rand(5, generator=generator)

    def v(a: int, b: int) -> torch.Tensor:
        return network(x, t, torch.tensor([[a, b]]).expand(5, 2))

    assert torch.allclose(v(1, 1) - v(1, 0) - v(0, 1) + v(0, 0), torch.zeros(5, 2), atol=1e-6)
    inner = TASK.network()
    mixed = [inner(x, t, torch.tensor([[a, b]]).expand(5, 2)) for a, b in ((1, 1), (1, 0), (0, 1), (0, 0))]
    assert not torch.allclose(mixed[0] - mixed[1] - mixed[2] + mixed[3], torch.zeros(5, 2), atol=1e-6)


def test_federated_averaging_goes_on_where_it_was(tmp_path: Path) -> None:
    """Cut off after round 3 of 4, with a checkpoint of round 2: the same weights and the same ledger as uncut."""
    method = registry.make("fedflow")
    uncut, ledger = trained(method, federation(tmp_path / "uncut"))

    class Cut(Exception):
        pass

    def factory(name: str, position: int):
        def show(done: int, total: int, terms: dict[str, float]) -> None:
            if done == 3 * FEDAVG.steps:
                raise Cut

        return show

    with pytest.raises(Cut):
        trained(method, federation(tmp_path / "cut", progress=factory))
    other = Recipe(LOCAL, LOCAL, PEERS, STUDENT, FedAvgConfig(rounds=4, steps=3, batch=8, checkpoint_every=2), LOCAL)
    run = federation(tmp_path / "cut")
    with pytest.raises(ResumeError, match="give the old settings back"):
        method.train(run, other, method.exchange(run))
    resumed, same = trained(method, run)
    assert all(torch.equal(p, q) for p, q in zip(uncut[0].parameters(), resumed[0].parameters(), strict=True))
    assert same.ledger.messages == ledger.ledger.messages
    assert not list((tmp_path / "cut").rglob("*checkpoint*"))


@pytest.mark.parametrize("name", ["ddm", "ddm_l", "dfd", "dfd_l"])
def test_lone_experts_are_private_in_both_trainings_or_in_none(name: str, tmp_path: Path) -> None:
    """They see the same data twice: noise in one of the two alone would protect nothing."""
    private, method, run = replace(LOCAL, privacy=PrivacyConfig(1.0)), registry.make(name), federation(tmp_path)
    with pytest.raises(ValueError, match=r"stage_one\.privacy is given and further\.privacy is not"):
        method.train(run, replace(RECIPE, stage_one=private), method.exchange(run))
    with pytest.raises(ValueError, match=r"give stage_one\.privacy too, or neither"):
        method.train(run, replace(RECIPE, further=private), method.exchange(run))
    assert not list(tmp_path.iterdir())


def test_lone_experts_can_train_privately_twice(tmp_path: Path) -> None:
    plain = without_independence(LOCAL.objective)
    private = replace(LOCAL, objective=plain, privacy=PrivacyConfig(1.0))
    method, run = registry.make("ddm"), federation(tmp_path)
    assert len(method.train(run, replace(RECIPE, stage_one=private, further=private), method.exchange(run))) == 2


def test_dcfm_a_refuses_privacy_and_says_what_takes_it(tmp_path: Path) -> None:
    private, method, run = replace(LOCAL, privacy=PrivacyConfig(1.0)), registry.make("dcfm_a"), federation(tmp_path)
    with pytest.raises(ValueError, match=r"use dcfm_b, or ddm_l or dfd_l with further\.privacy too"):
        method.train(run, replace(RECIPE, stage_one=private), method.exchange(run))


class TestRegistry:
    def test_baselines_and_what_is_held_against_them(self) -> None:
        assert registry.contenders(sorted(UNITS)) == ("dcfm_a", "dcfm_b", "dcfm_b_r")
        given = ("pooled", "factored", "dcfm_b", "dfd_l", "ddm", "dcfm_a", "fedflow")
        assert registry.baselines(given) == ("factored", "dfd_l", "ddm", "fedflow")
        assert registry.contenders(given) == ("dcfm_b", "dcfm_a")

    def test_unknown_names_say_what_there_is(self) -> None:
        with pytest.raises(ValueError, match="unknown method 'dcfm_c'; the methods are dcfm_a, dcfm_b, dcfm_b_r, ddm"):
            registry.make("dcfm_c")
        with pytest.raises(ValueError, match=r"method ddm, .*ddm.yaml, cannot be made with {'temperature': 3}: "):
            registry.make("ddm", temperature=3)

    def test_a_new_method_is_one_file_and_one_config(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        settings = {"_target_": "dcfm.methods.dfd.DFD", "title": "DFD, flat", "scale": 0.0}
        (tmp_path / "dfd_flat.yaml").write_text(yaml.safe_dump(settings))
        (tmp_path / "no_method.yaml").write_text(yaml.safe_dump({"_target_": "fractions.Fraction"}))
        monkeypatch.setattr(registry, "FOLDER", tmp_path)
        assert registry.names() == ("dfd_flat", "no_method")
        assert registry.make("dfd_flat").title == "DFD, flat"
        assert registry.make("dfd_flat", scale=1.0) != registry.make("dfd_flat")
        with pytest.raises(ValueError, match="which is no dcfm Method"):
            registry.make("no_method")
        for text, message in (
            ("title: [", "mine.yaml is no YAML: "),
            ("title: mine", "mine.yaml names no class; begin it with _target_"),
            ("_target_: dcfm.methods.mine.Mine", r"mine.yaml, cannot be made: .*dcfm.methods.mine"),
        ):
            (tmp_path / "mine.yaml").write_text(text)
            with pytest.raises(registry.MethodError, match=message) as caught:
                registry.make("mine")
            assert "HYDRA" not in str(caught.value)


def test_guidance_reaches_every_composition(tmp_path: Path, generator: torch.Generator) -> None:
    torch.manual_seed(0)
    networks, null = [TASK.network() for _ in range(2)], TASK.space.null
    histograms, weights = federation(tmp_path).histograms, (2.0, 0.5)
    x, t, y = torch.randn(4, 2, generator=generator), torch.full((4,), 0.4), torch.tensor([[0, 0], [0, 1]]).repeat(2, 1)
    expected = {
        "dcfm_a": Routed(networks, histograms, null, weights, joint=False),
        "ddm": Composed(LabelMixture(networks, histograms), null, weights),
        "dfd": Composed(EnergyMixture(networks, histograms), null, weights),
    }
    for name, field in expected.items():
        found = registry.make(name).field(networks, histograms, null, "composed", weights)
        torch.testing.assert_close(found(x, t, y), field(x, t, y))
        assert not torch.allclose(
            found(x, t, y), registry.make(name).field(networks, histograms, null, "composed")(x, t, y)
        )


def test_a_factored_network_is_trained_on_whole_labels_alone() -> None:
    """Masks would pull base and heads to the observed marginals; nothing of a CI term is left to ask for."""
    objective = registry.make("factored").own(RECIPE).fedavg.objective
    assert objective.masks == MaskRates(1.0, 0.0, 0.0)
    assert objective.independence.weight == 0
