"""A few random peers a round: who is chosen, what crosses, and that all peers is what it was."""

from dataclasses import replace
from pathlib import Path

import pytest

from dcfm.artefacts import plain_settings
from dcfm.decentralized import Federation
from dcfm.silos import Silo
from dcfm.trainers.objective import IndependenceConfig, ObjectiveConfig
from dcfm.trainers.peers import PeerConfig, choose_peers
from tests.dcfm.federation import TASK
from tests.dcfm.test_decentralized import LOCAL, LOOP
from tests.dcfm.trainers.toy import silo_data


def test_each_silo_is_among_its_own_and_peers_are_drawn_anew() -> None:
    rounds = [choose_peers(range(20), 3, number, seed=0) for number in (1, 2)]
    for chosen in rounds:
        assert all(len(set(peers)) == 4 and silo in peers for silo, peers in chosen.items())
        assert all(peers == sorted(peers) for peers in chosen.values())
        assert set().union(*chosen.values()) == set(range(20))
    assert rounds[0] != rounds[1]
    assert rounds[0] == choose_peers(range(20), 3, 1, seed=0)
    assert rounds[0] != choose_peers(range(20), 3, 1, seed=1)


def test_a_date_is_a_seed_too() -> None:
    assert choose_peers(range(5), 2, 3, seed=20250101) != choose_peers(range(5), 2, 3, seed=20250102)


def test_every_peer_is_as_likely() -> None:
    seen = [peer for seed in range(600) for peer in choose_peers(range(5), 2, 1, seed=seed)[0] if peer]
    for peer in range(1, 5):
        assert seen.count(peer) == pytest.approx(300, abs=60)  # five standard deviations


def test_all_peers_is_everyone_and_leaves_no_trace_in_the_settings() -> None:
    for few in (None, 2, 9):
        assert choose_peers([0, 1, 2], few, 1, seed=0) == {i: [0, 1, 2] for i in range(3)}
    assert "peers_per_round" not in plain_settings(PeerConfig())


def test_a_silo_receives_its_peers_models_alone(tmp_path: Path) -> None:
    parts = [[[0, 0], [0, 1]], [[0, 0], [1, 0]]] * 3
    silos = [Silo(f"silo{i}", *silo_data(list(p), 20, seed=i)) for i, p in enumerate(parts)]
    run = Federation(TASK, silos, tmp_path, workers=0)
    config, exchange = PeerConfig(LOOP, rounds=2, peers_per_round=2), run.exchange()
    experts = run.dcfm_a(run.stage_one(LOCAL), config, exchange)
    assert len(experts) == 6
    assert exchange.ledger.units() == {silo.name: 2 * 3.0 for silo in silos}
    chosen = [choose_peers(range(6), 2, number, seed=0) for number in (1, 2)]
    got = [
        m.peer for m in exchange.ledger.messages if (m.silo, m.kind, m.direction) == ("silo3", "weights", "received")
    ]
    assert got == [f"silo{i}" for round_ in chosen for i in round_[3] if i != 3]


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        PeerConfig(peers_per_round=0)
    for term in (IndependenceConfig(labels="global"), IndependenceConfig(labels="held", pairwise=True, contrast=True)):
        with pytest.raises(ValueError, match="need not hold every value"):
            replace(PeerConfig(peers_per_round=2), objective=ObjectiveConfig(independence=term))
