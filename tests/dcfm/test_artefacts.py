"""An artefact comes back as it went in; what is not whole is refused; an interruption loses nothing."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import dcfm
from dcfm import artefacts
from dcfm.artefacts import CONFIG, MANIFEST, MODEL, STATE, ArtefactError, load, save

WEIGHTS = {"weight": torch.arange(6.0).reshape(2, 3), "steps": torch.tensor(7)}
CONFIG_VALUES = {"method": "dcfm_b", "rates": {"full": 0.9, "tiny": 1e-5}, "widths": [64, 128], "name": None}
NEWER = {"weight": torch.full((2, 3), 9.0), "steps": torch.tensor(8)}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return save(tmp_path / "model", WEIGHTS, CONFIG_VALUES, state={"optimizer": torch.ones(2)}, metrics={"loss": 0.5})


def equal(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


class TestRoundTrip:
    def test_everything_comes_back(self, folder: Path) -> None:
        artefact = load(folder, template=WEIGHTS)
        assert equal(artefact.weights, WEIGHTS)
        assert artefact.config == CONFIG_VALUES
        assert artefact.state is not None
        assert equal(artefact.state, {"optimizer": torch.ones(2)})
        assert artefact.metadata["metrics"] == {"loss": 0.5}
        assert artefact.metadata["created_by"].startswith(f"dcfm {dcfm.__version__}, torch ")

    def test_optional_parts(self, tmp_path: Path) -> None:
        artefact = load(save(tmp_path, WEIGHTS, {}, normalizer={"scale": [0.1, 0.2]}, data_hash="abc"))
        assert artefact.state is None
        assert artefact.metadata["normalizer"] == {"scale": [0.1, 0.2]}
        assert artefact.metadata["data_hash"] == "abc"

    def test_half_is_half_the_size_and_comes_back_as_single(self, tmp_path: Path, generator: torch.Generator) -> None:
        weights = {"w": torch.randn(1000, generator=generator), "steps": torch.tensor(7)}
        whole, half = save(tmp_path / "whole", weights, {}), save(tmp_path / "half", weights, {}, half=True)
        assert (half / MODEL).stat().st_size < 0.6 * (whole / MODEL).stat().st_size
        back = load(half).weights
        assert back["w"].dtype == torch.float32
        assert back["steps"].dtype == torch.int64
        assert torch.equal(back["w"], weights["w"].half().float())

    def test_saved_files_are_the_same_each_time(self, folder: Path, tmp_path: Path) -> None:
        again = save(tmp_path / "b", WEIGHTS, CONFIG_VALUES, state={"optimizer": torch.ones(2)}, metrics={"loss": 0.5})
        for name in (MODEL, CONFIG, STATE, MANIFEST):
            assert (folder / name).read_bytes() == (again / name).read_bytes()

    def test_shared_and_strided_tensors(self, tmp_path: Path) -> None:
        base = torch.arange(6.0).reshape(2, 3)
        tensors = {"a": base, "b": base, "c": base.T, "d": base[:, 1]}
        artefacts.save_tensors(tmp_path / "x.safetensors", tensors)
        assert equal(artefacts.load_tensors(tmp_path / "x.safetensors"), tensors)

    def test_replacing_drops_what_the_new_one_has_not_and_keeps_strangers(self, folder: Path) -> None:
        (folder / "trials.csv").write_text("mine")
        save(folder, NEWER, {})
        assert load(folder).state is None
        assert sorted(path.name for path in folder.iterdir()) == [MANIFEST, CONFIG, MODEL, "trials.csv"]

    def test_the_revision_that_made_the_weights_stays_with_them(self, folder: Path) -> None:
        manifest = json.loads((folder / MANIFEST).read_text())
        (folder / MANIFEST).write_text(json.dumps(manifest | {"git_revision": "earlier", "created_by": "then"}))
        save(folder, WEIGHTS, CONFIG_VALUES | {"workers": 2})
        again = load(folder)
        assert again.config["workers"] == 2
        assert (again.metadata["git_revision"], again.metadata["created_by"]) == ("earlier", "then")
        save(folder, NEWER, CONFIG_VALUES)
        assert load(folder).metadata["git_revision"] == manifest["git_revision"]


class TestDamage:
    def test_no_folder_and_no_artefact(self, tmp_path: Path) -> None:
        with pytest.raises(ArtefactError, match=r"no artefact folder .*; check the path, or train"):
            load(tmp_path / "nothing")
        with pytest.raises(ArtefactError, match="holds no artefact"):
            load(tmp_path)

    @pytest.mark.parametrize("name", [MODEL, CONFIG, STATE])
    def test_missing_file(self, folder: Path, name: str) -> None:
        (folder / name).unlink()
        with pytest.raises(ArtefactError, match=f"{name} is missing; copy"):
            load(folder)

    @pytest.mark.parametrize("name", [MODEL, CONFIG, STATE])
    def test_truncated_or_foreign_file(self, folder: Path, name: str) -> None:
        content = (folder / name).read_bytes()
        for other in (content[:-1], b"", content + b" "):
            (folder / name).write_bytes(other)
            with pytest.raises(ArtefactError, match=rf"{name} is not the file .*copy or make"):
                load(folder)

    @pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"format": 1, "files": 3, "half": false}'])
    def test_damaged_manifest(self, folder: Path, text: str) -> None:
        (folder / MANIFEST).write_text(text)
        with pytest.raises(ArtefactError, match=r"artefact\.json is damaged"):
            load(folder)

    def test_newer_format(self, folder: Path) -> None:
        manifest = json.loads((folder / MANIFEST).read_text())
        (folder / MANIFEST).write_text(json.dumps(manifest | {"format": 99}))
        with pytest.raises(ArtefactError, match="has format 99; this version reads 1"):
            load(folder)

    def test_another_architecture(self, folder: Path) -> None:
        with pytest.raises(
            ArtefactError, match=r"weight has shape \(2, 3\) instead of \(3, 3\).*Build the network from"
        ):
            load(folder, template=WEIGHTS | {"weight": torch.zeros(3, 3)})

    def test_tensors_of_a_damaged_file(self, tmp_path: Path) -> None:
        (tmp_path / "x").write_bytes(b"no tensors")
        with pytest.raises(ArtefactError, match="damaged or no safetensors"):
            artefacts.load_tensors(tmp_path / "x")
        with pytest.raises(ArtefactError, match="there is no file"):
            artefacts.load_tensors(tmp_path / "y")


class TestWhatCannotBeSaved:
    @pytest.mark.parametrize(
        ("weights", "config", "options", "message"),
        [
            ({"w": torch.tensor([float("nan")])}, {}, {}, "NaN or infinity in w"),
            ({"w": torch.tensor([1e6])}, {}, {"half": True}, "w has values above 65504"),
            (WEIGHTS, {"path": Path("x")}, {}, "configuration holds something other"),
            (WEIGHTS, {}, {"metrics": {"rate": float("nan")}}, "metrics or normalizer"),
            (WEIGHTS, {}, {"normalizer": {"scale": torch.ones(1)}}, "metrics or normalizer"),
        ],
    )
    def test_is_found_before_anything_is_written(
        self, tmp_path: Path, weights: Any, config: Any, options: Any, message: str
    ) -> None:
        with pytest.raises(ValueError, match=message):
            save(tmp_path / "new", weights, config, **options)
        assert not (tmp_path / "new").exists()


class TestInterruption:
    def test_atomically_leaves_the_old_file_and_no_other(self, tmp_path: Path) -> None:
        path = tmp_path / "file.txt"
        artefacts.write_text_atomically(path, "old")

        def interrupted() -> None:
            with artefacts.atomically(path) as temporary:
                temporary.write_text("half of the n")
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            interrupted()
        assert path.read_text() == "old"
        assert list(tmp_path.iterdir()) == [path]

    def test_a_full_disk_loses_nothing(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def full(*_: Any) -> None:
            raise OSError(28, "No space left on device")

        before = sorted(folder.iterdir())
        monkeypatch.setattr(artefacts, "save_file", full)
        with pytest.raises(OSError, match="No space left"):
            save(folder, NEWER, {})
        assert sorted(folder.iterdir()) == before
        assert equal(load(folder).weights, WEIGHTS)

    @pytest.mark.parametrize("moves", range(9))
    def test_killed_at_any_rename(self, folder: Path, monkeypatch: pytest.MonkeyPatch, moves: int) -> None:
        """Four renames write ``.incoming``, four more move it out: from the fourth on, the new artefact is read."""

        class Killed(BaseException):
            """The process ends: no clean-up runs."""

        rename, done = os.replace, 0

        def until_killed(source: Any, target: Any) -> None:
            nonlocal done
            if done == moves:
                raise Killed
            done += 1
            rename(source, target)

        with monkeypatch.context() as patch:
            patch.setattr(os, "replace", until_killed)
            patch.setattr(artefacts.shutil, "rmtree", lambda *_, **__: None)
            try:
                save(folder, NEWER, {"new": True}, state={"optimizer": torch.zeros(2)})
            except Killed:
                assert moves < 8
        artefact = load(folder)
        assert equal(artefact.weights, WEIGHTS if moves < 4 else NEWER)
        assert artefact.config == (CONFIG_VALUES if moves < 4 else {"new": True})
        assert artefact.state is not None
        assert bool(artefact.state["optimizer"].any()) == (moves < 4)

        save(folder, WEIGHTS, {})  # the next save clears up
        assert sorted(path.name for path in folder.iterdir()) == [MANIFEST, CONFIG, MODEL]
        assert equal(load(folder).weights, WEIGHTS)
