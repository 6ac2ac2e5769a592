"""The cache: the same latents however it was made, resumed, never of something else, and no crash on what is wrong."""

import json
import os
import resource
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from dcfm_xray import cache
from dcfm_xray.cache import CacheError, encode, open_cache
from dcfm_xray.nih import NihFolder
from dcfm_xray.sources import PhantomSource

SOURCE = PhantomSource(150, seed=2)
ROWS = torch.arange(0, 150, 2)


@dataclass(frozen=True)
class Pooling:
    """An encoder: means over squares of pixels, as brightness in [-1, 1]."""

    size: int = 32
    factor: int = 8

    @property
    def shape(self) -> tuple[int, ...]:
        return (1, self.size // self.factor, self.size // self.factor)

    @property
    def fingerprint(self) -> str:
        return f"pooling {self.size} {self.factor}"

    def encode(self, pictures: Tensor) -> Tensor:
        return torch.nn.functional.avg_pool2d(pictures[:, None].float() / 127.5 - 1, self.factor)


@dataclass(frozen=True)
class HeavyPooling(Pooling):
    """The same encoder, which leaves a mark each time that it is sent to a process."""

    marks: Path = Path()

    def __getstate__(self) -> dict[str, Any]:
        with self.marks.open("a") as file:
            file.write(".")
        return dict(self.__dict__)


def test_latents_are_those_of_the_pictures(tmp_path: Path) -> None:
    found = encode(SOURCE, ROWS, Pooling(), tmp_path / "cache", shard=20, workers=0)
    assert found.latents.shape == (75, 1, 4, 4)
    assert torch.equal(found.rows, torch.arange(75))
    assert found.unreadable == ()
    (picture,) = SOURCE.read([int(ROWS[33])], 32)
    assert isinstance(picture, Tensor)
    assert torch.allclose(found.latents[33].float(), Pooling().encode(picture[None])[0], atol=1e-3)


def test_processes_and_sizes_of_shards_change_nothing(tmp_path: Path) -> None:
    one = encode(SOURCE, ROWS, Pooling(), tmp_path / "one", shard=1000, workers=0)
    heavy = HeavyPooling(marks=tmp_path / "sent")
    many = encode(SOURCE, ROWS, heavy, tmp_path / "many", shard=30, workers=2)
    assert torch.equal(one.latents, many.latents)
    assert len((tmp_path / "sent").read_text()) <= 2  # once to each process, not with each of three shards


def test_large_pictures_are_encoded_few_at_once(tmp_path: Path) -> None:
    """As many pixels as at 64 a side; smaller pictures as many as there, since latents' rounding depends on it."""
    assert [cache.at_once(64, size) for size in (32, 64, 128, 256, 1024)] == [64, 64, 16, 4, 1]
    seen: list[int] = []

    class Noting(Pooling):
        def encode(self, pictures: Tensor) -> Tensor:
            seen.append(len(pictures))
            return super().encode(pictures)

    encode(SOURCE, ROWS[:6], Noting(size=256), tmp_path / "cache", workers=0)
    assert seen == [4, 2]


def test_a_run_that_was_cut_off_goes_on(tmp_path: Path) -> None:
    folder, reports = tmp_path / "cache", []
    whole = encode(SOURCE, ROWS, Pooling(), folder, shard=20, workers=0).latents.clone()
    (folder / "shards" / "00002.json").unlink()
    np.lib.format.open_memmap(folder / "latents.npy", mode="r+")[40:60] = 0
    with pytest.raises(CacheError, match="incomplete"):
        open_cache(folder)
    again = encode(SOURCE, ROWS, Pooling(), folder, shard=20, workers=0, on_shard=lambda *n: reports.append(n))
    assert reports == [(75, 75)]  # one shard alone was encoded
    assert torch.equal(again.latents, whole)


def test_a_complete_cache_is_not_encoded_again(tmp_path: Path) -> None:
    encode(SOURCE, ROWS, Pooling(), tmp_path / "cache", workers=0)
    reports: list[tuple[int, int]] = []
    encode(SOURCE, ROWS, Pooling(), tmp_path / "cache", workers=0, on_shard=lambda *n: reports.append(n))
    assert reports == []


def test_a_cache_keeps_the_shards_that_it_was_begun_with(tmp_path: Path) -> None:
    """It is the same data: a complete one is taken, one that was cut off goes on."""
    folder, reports = tmp_path / "cache", []
    whole = encode(SOURCE, ROWS, Pooling(), folder, shard=20, workers=0).latents.clone()
    manifest = (folder / "cache.json").read_text()
    for _ in range(2):
        again = encode(SOURCE, ROWS, Pooling(), folder, shard=30, workers=0, on_shard=lambda *n: reports.append(n))
        assert torch.equal(again.latents, whole)
        (folder / "shards" / "00002.json").unlink()
    assert reports == [(75, 75)]
    assert (folder / "cache.json").read_text() == manifest


@pytest.mark.parametrize(
    ("source", "rows", "encoder", "differ"),
    [
        (PhantomSource(150, seed=3), ROWS, Pooling(), "source"),
        (SOURCE, ROWS[:50], Pooling(), "selected, rows"),
        (SOURCE, ROWS, Pooling(factor=4), "encoder, shape"),
    ],
)
def test_a_cache_of_something_else_is_refused(
    tmp_path: Path, source: PhantomSource, rows: Tensor, encoder: Pooling, differ: str
) -> None:
    encode(SOURCE, ROWS, Pooling(), tmp_path / "cache", workers=0)
    with pytest.raises(CacheError, match=rf"something else \({differ} differ\)"):
        encode(source, rows, encoder, tmp_path / "cache", workers=0)


def test_a_folder_of_other_files_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(CacheError, match="other files"):
        encode(SOURCE, ROWS, Pooling(), tmp_path, workers=0)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_an_array_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "latents.npy").write_text("mine")
    with pytest.raises(CacheError, match="other files"):
        encode(SOURCE, ROWS, Pooling(), tmp_path, workers=0)
    assert (tmp_path / "latents.npy").read_text() == "mine"


def test_an_interrupted_start_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*arguments: int) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(os, "posix_fallocate", interrupt, raising=False)
        with pytest.raises(KeyboardInterrupt):
            encode(SOURCE, ROWS, Pooling(), tmp_path / "cache", workers=0)
    assert not (tmp_path / "cache").exists()
    assert len(encode(SOURCE, ROWS, Pooling(), tmp_path / "cache", workers=0).rows) == 75


def test_a_start_that_was_killed_is_made_again(tmp_path: Path) -> None:
    """Its shards are not taken for this cache's: whose they are is not known."""
    folder = tmp_path / "cache"
    other = encode(SOURCE, ROWS + 1, Pooling(), folder, workers=0).latents.clone()
    (folder / "cache.json").rename(folder / ".cache.1234.json")
    found = encode(SOURCE, ROWS, Pooling(), folder, workers=0)
    assert found.latents.shape == other.shape
    assert not torch.equal(found.latents, other)
    assert sorted(path.name for path in folder.iterdir()) == ["cache.json", "latents.npy", "shards"]


def test_room_is_taken_where_the_system_has_no_call_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usual = encode(SOURCE, ROWS, Pooling(), tmp_path / "usual", workers=0)
    monkeypatch.delattr(os, "posix_fallocate", raising=False)
    path = tmp_path / "latents.npy"
    np.lib.format.open_memmap(path, mode="w+", dtype=np.float16, shape=(3_000_000,)).flush()
    cache._take_room(path)
    assert path.stat().st_blocks * 512 >= path.stat().st_size
    assert np.load(path).shape == (3_000_000,)
    assert torch.equal(encode(SOURCE, ROWS, Pooling(), tmp_path / "here", workers=0).latents, usual.latents)


def test_unreadable_images_are_named_and_left_out(tmp_path: Path) -> None:
    """In the second batch of the first shard, and in the second shard."""
    for i in range(8):
        Image.fromarray(np.full((40, 40), 20 * i, dtype=np.uint8)).save(tmp_path / f"{i}.png")
    for broken in ("4.png", "6.png"):
        (tmp_path / broken).write_bytes(b"no image")
    rows = "".join(f"{i}.png,Mass,{i}\n" for i in range(8))
    (tmp_path / "Data_Entry_2017.csv").write_text(f"Image Index,Finding Labels,Patient ID\n{rows}")
    found = encode(NihFolder(tmp_path), torch.arange(8), Pooling(256), tmp_path / "cache", shard=5, workers=0)
    assert found.rows.tolist() == [0, 1, 2, 3, 5, 7]
    assert [name in text for name, text in zip(("4.png", "6.png"), found.unreadable, strict=True)] == [True, True]
    expected = 20 * found.rows[:, None, None, None] / 127.5 - 1
    assert torch.allclose(found.latents.float(), expected.expand(found.latents.shape), atol=1e-3)


def test_latents_that_float16_cannot_hold_are_an_error(tmp_path: Path) -> None:
    class Large(Pooling):
        def encode(self, pictures: Tensor) -> Tensor:
            return 1e6 * super().encode(pictures)

    with pytest.raises(CacheError, match="float16 cannot hold"):
        encode(SOURCE, ROWS, Large(), tmp_path / "cache", workers=0)


def test_a_file_that_cannot_be_read_for_a_time_is_not_lost(tmp_path: Path) -> None:
    """Its shard is not complete: once the file is there again, so is its latent."""
    for name in ("a.png", "b.png", "c.png"):
        Image.fromarray(np.full((40, 40), 100, dtype=np.uint8)).save(tmp_path / name)
    (tmp_path / "Data_Entry_2017.csv").write_text(
        "Image Index,Finding Labels,Patient ID\na.png,Mass,1\nb.png,Mass,2\nc.png,Mass,3\n"
    )
    source, folder, reports = NihFolder(tmp_path), tmp_path / "cache", []

    def show(done: int, total: int) -> None:
        reports.append(done)
        if reports == [1]:
            (tmp_path / "b.png").rename(tmp_path / "away")
            (tmp_path / "b.png").mkdir()  # opening it is an error of the system, as of a mount that drops

    with pytest.raises(IsADirectoryError, match=r"run the same command again.*b\.png"):
        encode(source, torch.arange(3), Pooling(), folder, shard=1, workers=0, on_shard=show)
    (tmp_path / "b.png").rmdir()
    (tmp_path / "away").rename(tmp_path / "b.png")
    found = encode(source, torch.arange(3), Pooling(), folder, shard=1, workers=0, on_shard=show)
    assert reports == [1, 2, 3]
    assert found.unreadable == ()
    assert len(found.latents) == 3


def test_no_room_on_the_disk_is_told_before_any_work_and_leaves_nothing(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))  # a largest file: what a quota does
    try:
        with pytest.raises(CacheError, match=r"no room"):
            encode(SOURCE, ROWS, Pooling(), tmp_path / "cache", workers=0)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not (tmp_path / "cache").exists()
    encode(SOURCE, ROWS, Pooling(), tmp_path / "cache", workers=0)


def test_a_disk_that_fills_up_on_the_way_is_told_and_what_is_complete_stays(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill(done: int, total: int) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))

    try:
        with pytest.raises(CacheError, match=r"no room .* 20 of 75 rows are cached .* and stay"):
            encode(SOURCE, ROWS, Pooling(), tmp_path / "cache", shard=20, workers=0, on_shard=fill)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    reports: list[tuple[int, int]] = []
    encode(SOURCE, ROWS, Pooling(), tmp_path / "cache", shard=20, workers=0, on_shard=lambda *n: reports.append(n))
    assert [done for done, _ in reports] == [40, 60, 75]  # the first shard is not encoded again


@pytest.mark.parametrize("name", ["cache.json", "shards/00000.json", "latents.npy"])
def test_a_damaged_cache_is_an_error(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "cache"
    encode(SOURCE, ROWS, Pooling(), folder, workers=0)
    (folder / name).write_bytes(b"{")
    with pytest.raises(CacheError, match="damaged"):
        open_cache(folder)


def test_changed_bytes_are_found_before_anything_is_trained_on_them(tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    encode(SOURCE, ROWS, Pooling(), folder, shard=20, workers=0)
    np.lib.format.open_memmap(folder / "latents.npy", mode="r+")[25] += 1
    with pytest.raises(CacheError, match=r"changed since it was written, in the shards 00001\.json; delete"):
        open_cache(folder)
    with pytest.raises(CacheError, match="changed since it was written"):
        encode(SOURCE, ROWS, Pooling(), folder, shard=20, workers=0)
    whole = encode(SOURCE, ROWS, Pooling(), tmp_path / "other", workers=0).latents
    (folder / "shards/00001.json").unlink()
    assert torch.equal(encode(SOURCE, ROWS, Pooling(), folder, shard=20, workers=0).latents, whole)


def test_the_manifest_says_whose_cache_it_is(tmp_path: Path) -> None:
    encode(SOURCE, ROWS, Pooling(), tmp_path / "cache", workers=0)
    manifest = json.loads((tmp_path / "cache" / "cache.json").read_text())
    assert manifest["name"] == SOURCE.name
    assert manifest["rows"] == 75
