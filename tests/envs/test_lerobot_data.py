"""What is written is LeRobot's v3.0, read here by its description with pyarrow; lerobot 0.4.4 itself was tried once
(docs/data.md)."""

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from dcfm_envs import lerobot_data
from dcfm_envs.lerobot_data import TASK, export_lerobot
from dcfm_envs.play_data import PlayData, PlayDataError


def play(rows: int = 12) -> PlayData:
    rng = np.random.default_rng(0)
    observations = rng.normal(size=(rows, 28)).astype(np.float32)
    actions = rng.uniform(-1, 1, (rows, 5)).astype(np.float32)
    return PlayData(observations, actions, np.arange(rows) % 6 == 5)


def read(folder: Path) -> tuple[dict, dict[str, np.ndarray], list[dict]]:
    """Info, the columns of all frames in the episodes' order, and the episodes, found as LeRobot finds them."""
    info = json.loads((folder / "meta/info.json").read_text())
    episodes = pq.read_table(folder / "meta/episodes/chunk-000/file-000.parquet").to_pylist()
    paths = []
    for episode in episodes:
        place = {part: episode[f"data/{part}"] for part in ("chunk_index", "file_index")}
        path = folder / info["data_path"].format(**place)
        if path not in paths:
            paths.append(path)
    tables = [pq.read_table(path) for path in paths]
    columns = {}
    for name, feature in info["features"].items():
        parts = [np.array(table[name].to_pylist(), dtype=feature["dtype"]) for table in tables]
        columns[name] = np.concatenate(parts)
        assert list(columns[name].shape[1:]) == (feature["shape"] if feature["shape"] != [1] else [])
        for table in tables:
            kind = table.schema.field(name).type
            value = kind if feature["shape"] == [1] else kind.value_type
            assert str(value) == {"float32": "float"}.get(feature["dtype"], feature["dtype"])
    return info, columns, episodes


@pytest.mark.parametrize("megabytes", [100, 0, 0.001])  # a row has 169 bytes: 6 rows of an episode, not 12 of both
def test_reads_back_bit_for_bit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, megabytes: float) -> None:
    """In one file, and, where no second episode fits in, in one an episode."""
    monkeypatch.setattr(lerobot_data, "_MEGABYTES", megabytes)
    given = play()
    info, columns, episodes = read(export_lerobot(given, tmp_path / "data"))
    assert columns["observation.state"].tobytes() == given.observations.tobytes()
    assert columns["action"].tobytes() == given.actions.tobytes()
    assert columns["next.done"].tobytes() == given.terminals.tobytes()
    np.testing.assert_array_equal(columns["index"], np.arange(12))
    np.testing.assert_array_equal(columns["frame_index"], np.tile(np.arange(6), 2))
    np.testing.assert_array_equal(columns["episode_index"], np.repeat([0, 1], 6))
    np.testing.assert_allclose(columns["timestamp"], columns["frame_index"] / info["fps"], atol=1e-4)
    assert (info["codebase_version"], info["total_episodes"], info["total_frames"]) == ("v3.0", 2, 12)
    assert [(e["dataset_from_index"], e["dataset_to_index"], e["length"]) for e in episodes] == [(0, 6, 6), (6, 12, 6)]
    assert [e["data/file_index"] for e in episodes] == ([0, 0] if megabytes == 100 else [0, 1])
    assert len(info["features"]["observation.state"]["names"]) == 28
    task = pq.read_table(tmp_path / "data/meta/tasks.parquet").to_pandas()
    assert task.index.tolist() == [TASK]
    assert task["task_index"].tolist() == [0]
    assert not [path for path in tmp_path.iterdir() if path.name != "data"]


def test_statistics(tmp_path: Path) -> None:
    given = play()
    export_lerobot(given, tmp_path / "data")
    statistics = json.loads((tmp_path / "data/meta/stats.json").read_text())
    found = statistics["action"]
    np.testing.assert_allclose(found["mean"], given.actions.mean(0), rtol=1e-5)
    np.testing.assert_allclose(found["std"], given.actions.std(0), rtol=1e-5)
    for name, share in (("q01", 0.01), ("q10", 0.1), ("q50", 0.5), ("q90", 0.9), ("q99", 0.99)):
        np.testing.assert_allclose(found[name], np.quantile(given.actions, share, axis=0), rtol=1e-5)
    np.testing.assert_array_equal(np.float32(found["max"]), given.actions.max(0))
    assert found["count"] == [12]
    (first, _) = pq.read_table(tmp_path / "data/meta/episodes/chunk-000/file-000.parquet").to_pylist()
    np.testing.assert_allclose(first["stats/action/mean"], given.actions[:6].mean(0), rtol=1e-5)


def test_what_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(PlayDataError, match="no rows"):
        export_lerobot(play(0), tmp_path / "data")
    export_lerobot(play(), tmp_path / "data")
    with pytest.raises(PlayDataError, match="exists"):
        export_lerobot(play(), tmp_path / "data")
