"""Sources: real files of every kind that people have, and what is wrong with them, counted and named."""

import pickle
import re
import resource
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from dcfm_xray.chestmnist import CHESTMNIST_ORDER, ChestMnist
from dcfm_xray.findings import FINDINGS, describe, to_set
from dcfm_xray.nih import NihFolder
from dcfm_xray.sources import PhantomSource, Source, SourceError, UnreadableImage
from tests.dcfm_xray.conftest import nih_sample

HEADER = "Image Index,Finding Labels,Follow-up #,Patient ID\n"


def ramp(width: int = 40, height: int = 40) -> np.ndarray:
    return np.tile(np.linspace(0, 255, width).round().astype(np.uint8), (height, 1))


def nih(folder: Path, rows: str, name: str = "Data_Entry_2017_v2020.csv") -> Path:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(HEADER + rows, encoding="utf-8")
    return folder


def save(folder: Path, name: str, image: Image.Image) -> None:
    where = folder / "images_001" / "images"
    where.mkdir(parents=True, exist_ok=True)
    image.save(where / name)


def test_a_folder_as_downloaded(tmp_path: Path) -> None:
    save(tmp_path, "a.png", Image.fromarray(ramp()))
    save(tmp_path, "b.png", Image.fromarray(ramp()))
    source = NihFolder(nih(tmp_path, "a.png,Mass|Effusion,0,7\nb.png,No Finding,1,7\n"))
    assert isinstance(source, Source)
    assert [describe(to_set(y)) for y in source.labels.tolist()] == ["Effusion|Mass", "No Finding"]
    assert source.patients.tolist() == [7, 7]
    assert source.problems.describe() == ""
    (picture, _) = source.read([0, 1], 20)
    assert isinstance(picture, torch.Tensor)
    assert picture.shape == (20, 20)
    assert (picture.float().diff(dim=1) >= 0).all()
    assert picture[0, -1] > 240


def test_what_is_wrong_is_counted_and_named(tmp_path: Path) -> None:
    for name in ("a.png", "b.png", "d.png", "extra.png"):
        save(tmp_path, name, Image.fromarray(ramp()))
    rows = "a.png,Mass,0,1\nb.png,Massive,0,2\ngone.png,Mass,0,3\nd.png,Mass,0,x\na.png,Edema,0,1\n"
    source = NihFolder(nih(tmp_path, rows))
    assert len(source.labels) == 1
    text = source.problems.describe()
    assert "1 rows without a file (gone.png)" in text
    assert "1 files without a row (extra.png)" in text
    assert "3 rows left out" in text
    assert "'Massive'" in text
    assert "patient 'x'" in text
    assert "two rows" in text


@pytest.mark.parametrize("last", ["b.png", "b.png,Mass", "b.png,Mass,0", "b.png,Mass,0,1"])
def test_a_table_that_is_cut_off_in_its_last_line(tmp_path: Path, last: str) -> None:
    """That of patient 12 as well, of whose number a digit is left, since later columns are missing."""
    for name in ("a.png", "b.png"):
        save(tmp_path, name, Image.fromarray(ramp()))
    (tmp_path / "Data_Entry_2017.csv").write_text(HEADER[:-1] + f",Patient Age\na.png,Mass,0,7,58\n{last}")
    source = NihFolder(tmp_path)
    assert source.patients.tolist() == [7]
    assert source.problems.describe() == "1 rows left out (b.png: its row is cut off)"


def test_rows_that_all_end_early_are_whole(tmp_path: Path) -> None:
    """A header that ends in a comma names one column more than rows have."""
    save(tmp_path, "a.png", Image.fromarray(ramp()))
    (tmp_path / "Data_Entry_2017.csv").write_text(HEADER[:-1] + ",\na.png,Mass,0,7\n")
    assert NihFolder(tmp_path).problems.describe() == ""


def test_a_line_of_nothing_but_a_name_column_is_no_row(tmp_path: Path) -> None:
    save(tmp_path, "a.png", Image.fromarray(ramp()))
    (tmp_path / "Data_Entry_2017.csv").write_text("Finding Labels,Patient ID,Image Index\nMass,7,a.png\nMass")
    assert NihFolder(tmp_path).problems.describe() == "1 rows without a file (None)"


def test_a_table_of_other_bytes_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "Data_Entry_2017.csv").write_bytes(HEADER.encode() + b"a.png,M\xe4ss,0,1\n")
    with pytest.raises(SourceError, match="no readable table"):
        NihFolder(tmp_path)


def test_files_of_one_name_in_two_folders_are_named(tmp_path: Path) -> None:
    save(tmp_path, "a.png", Image.fromarray(ramp()))
    (tmp_path / "images_002").mkdir()
    Image.fromarray(np.zeros((40, 40), dtype=np.uint8)).save(tmp_path / "images_002" / "a.png")
    source = NihFolder(nih(tmp_path, "a.png,Mass,0,1\n"))
    assert source.problems.describe() == "1 files of the same name as a later one (images_001/images/a.png)"
    (picture,) = source.read([0], 20)
    assert isinstance(picture, torch.Tensor)
    assert picture.max() == 0


def test_links_that_lead_nowhere_are_rows_without_a_file(tmp_path: Path) -> None:
    save(tmp_path, "a.png", Image.fromarray(ramp()))
    (tmp_path / "images_001" / "images" / "b.png").symlink_to(tmp_path / "nowhere.png")
    (tmp_path / "images_001" / "images" / "c.png").mkdir()
    source = NihFolder(nih(tmp_path, "a.png,Mass,0,1\nb.png,Mass,0,2\nc.png,Mass,0,3\n"))
    assert source.problems.describe() == "2 rows without a file (b.png, c.png)"
    assert source.fingerprint


def test_linked_folders_are_entered_once(tmp_path: Path) -> None:
    """Images that lie on another disk, and links that lead back to where they are."""
    save(tmp_path / "elsewhere", "b.png", Image.fromarray(ramp()))
    save(tmp_path / "nih", "a.png", Image.fromarray(ramp()))
    folder = nih(tmp_path / "nih", "a.png,Mass,0,1\nb.png,Mass,0,2\n")
    (folder / "images_002").symlink_to(tmp_path / "elsewhere" / "images_001")
    (folder / "images_003").symlink_to(tmp_path / "elsewhere" / "images_001")
    (folder / "images_001" / "back").symlink_to(folder)
    source = NihFolder(folder)
    assert source.patients.tolist() == [1, 2]
    assert source.problems.describe() == ""
    assert all(isinstance(picture, torch.Tensor) for picture in source.read([0, 1], 20))


def test_a_file_that_cannot_be_read_is_no_unreadable_image(tmp_path: Path) -> None:
    save(tmp_path, "a.png", Image.fromarray(ramp()))
    source = NihFolder(nih(tmp_path, "a.png,Mass,0,1\n"))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        with pytest.raises(OSError, match=r"Too many open files.*a\.png"):
            source.read([0], 20)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    (picture,) = source.read([0], 20)
    assert isinstance(picture, torch.Tensor)


def test_grey_from_every_kind_of_png(tmp_path: Path) -> None:
    grey = ramp()
    kinds = {
        "grey.png": Image.fromarray(grey),
        "rgb.png": Image.fromarray(np.stack([grey] * 3, axis=-1)),
        "rgba.png": Image.fromarray(np.stack([grey] * 3 + [np.full_like(grey, 255)], axis=-1)),
        "deep.png": Image.fromarray(grey.astype(np.uint16) * 257),
        "palette.png": Image.fromarray(grey).convert("P"),
    }
    for name, image in kinds.items():
        save(tmp_path, name, image)
    source = NihFolder(nih(tmp_path, "".join(f"{name},Mass,0,{i}\n" for i, name in enumerate(kinds))))
    pictures = source.read(range(len(kinds)), 40)
    for name, picture in zip(kinds, pictures, strict=True):
        assert isinstance(picture, torch.Tensor), name
        assert (picture.int() - torch.from_numpy(grey).int()).abs().max() <= 2, name


def test_an_unreadable_image_is_named_and_the_others_are_read(tmp_path: Path) -> None:
    save(tmp_path, "good.png", Image.fromarray(ramp()))
    save(tmp_path, "cut.png", Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64), dtype=np.uint8)))
    cut = tmp_path / "images_001" / "images" / "cut.png"
    cut.write_bytes(cut.read_bytes()[:200])
    (tmp_path / "images_001" / "images" / "text.png").write_text("no image")
    source = NihFolder(nih(tmp_path, "cut.png,Mass,0,1\ngood.png,Mass,0,2\ntext.png,Mass,0,3\n"))
    cut_, good, text = source.read([0, 1, 2], 20)
    assert isinstance(good, torch.Tensor)
    assert isinstance(cut_, UnreadableImage)
    assert "cut.png" in str(cut_)
    assert isinstance(text, UnreadableImage)
    assert "text.png" in str(text)


def test_fourteen_bits_in_sixteen_are_named_instead_of_dark(tmp_path: Path) -> None:
    deep = ramp().astype(np.uint16)
    kinds = (("twelve.png", deep * 16), ("fourteen.png", deep * 64), ("fifteen.png", deep * 65), ("eight.png", deep))
    for name, image in kinds:
        save(tmp_path, name, Image.fromarray(image))
    rows = "".join(f"{name},Mass,0,{i}\n" for i, (name, _) in enumerate(kinds))
    twelve, fourteen, fifteen, eight = NihFolder(nih(tmp_path, rows)).read(range(len(kinds)), 40)
    assert isinstance(twelve, UnreadableImage)
    assert "twelve.png: 16 bits with no value above 4080" in str(twelve)
    assert isinstance(fourteen, UnreadableImage)
    assert "fourteen.png: 16 bits with no value above 16320" in str(fourteen)
    assert isinstance(fifteen, torch.Tensor)
    assert isinstance(eight, torch.Tensor)
    assert eight.max() == 255


def test_patients_may_have_numbers_of_any_length(tmp_path: Path) -> None:
    for name in ("a.png", "b.png", "c.png"):
        save(tmp_path, name, Image.fromarray(ramp()))
    long = "9" * 30
    found = NihFolder(nih(tmp_path, f"a.png,Mass,0,{long}\nb.png,Mass,0,{long}\nc.png,Mass,0,7\n")).patients
    assert found[0] == found[1] != found[2] == 7


def test_a_wide_image_is_padded_not_squeezed(tmp_path: Path) -> None:
    save(tmp_path, "wide.png", Image.fromarray(np.full((20, 40), 200, dtype=np.uint8)))
    (picture,) = NihFolder(nih(tmp_path, "wide.png,Mass,0,1\n")).read([0], 40)
    assert isinstance(picture, torch.Tensor)
    assert picture[:10].max() == 0
    assert picture[30:].max() == 0
    assert picture[10:30].min() == 200


def test_the_folders_own_test_list(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        save(tmp_path, name, Image.fromarray(ramp()))
    folder = nih(tmp_path, "a.png,Mass,0,1\nb.png,Mass,0,2\n")
    assert NihFolder(folder).given_test is None
    for text in ("b.png\n", "\ufeffb.png\r\n"):  # the second as some editors write it
        (folder / "test_list.txt").write_text(text, encoding="utf-8")
        given = NihFolder(folder).given_test
        assert given is not None
        assert given.tolist() == [False, True]


@pytest.mark.usefixtures("unpacked")
def test_other_pixels_in_files_of_the_same_size_are_other_data(tmp_path: Path) -> None:
    folder, path = nih(tmp_path, "a.png,Mass,0,1\n"), tmp_path / "chestmnist.npz"
    labels = {f"{name}_labels": np.zeros((2, 14), dtype=np.uint8) for name in ("train", "val", "test")}
    found, sizes = [], []
    for value in (200, 50, 200):
        picture = np.full((40, 40), value, dtype=np.uint8)
        Image.fromarray(picture).save(folder / "a.png", compress_level=0)
        arrays = labels | {f"{name}_images": np.stack([picture] * 2) for name in ("train", "val", "test")}
        np.savez(path, **arrays)  # type: ignore[arg-type]
        found.append((NihFolder(folder).fingerprint, ChestMnist(path).fingerprint))
        sizes.append(((folder / "a.png").stat().st_size, path.stat().st_size))
    assert sizes[0] == sizes[1]
    assert found[0][0] != found[1][0]
    assert found[0][1] != found[1][1]
    assert found[0] == found[2]
    for row in ("a.png,Edema,0,1\n", "a.png,Mass,0,2\n"):  # other labels or patients, too
        assert NihFolder(nih(folder, row)).fingerprint != found[2][0]


@pytest.mark.parametrize(
    ("prepare", "message"),
    [
        (lambda folder: None, "no folder"),
        (lambda folder: folder.mkdir(), "holds 0 tables"),
        (lambda folder: nih(folder, "a.png,Mass,0,1\n"), "no image with a usable row"),
        (lambda folder: [nih(folder, ""), nih(folder, "", "Data_Entry_2017.csv")], "holds 2 tables"),
        (lambda folder: [folder.mkdir(), (folder / "Data_Entry_2017.csv").write_text("a,b\n1,2\n")], "no column"),
    ],
)
def test_a_folder_that_is_none(tmp_path: Path, prepare: object, message: str) -> None:
    folder = tmp_path / "nih"
    prepare(folder)  # type: ignore[operator]
    with pytest.raises(SourceError, match=message):
        NihFolder(folder)


@pytest.fixture
def unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where ChestMNIST's pixels are unpacked."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "dcfm" / "chestmnist"


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_chestmnist_is_unpacked_once_and_mapped(tmp_path: Path, unpacked: Path, save: Callable[..., None]) -> None:
    """Pixels are the archive's, in the order of its splits; a second look, as another process's, writes nothing."""
    generator = np.random.default_rng(0)
    arrays: dict[str, np.ndarray] = {}
    for number, split in enumerate(("train", "val", "test"), 2):
        arrays[f"{split}_images"] = generator.integers(0, 256, (number, 28, 28), dtype=np.uint8)
        arrays[f"{split}_labels"] = generator.integers(0, 2, (number, 14), dtype=np.uint8)
    save(tmp_path / "chestmnist.npz", **arrays)
    source = ChestMnist(tmp_path / "chestmnist.npz")
    whole = np.concatenate([arrays[f"{split}_images"] for split in ("train", "val", "test")])
    pictures = source.read(range(9), 28)
    assert all(np.array_equal(p.numpy(), whole[i]) for i, p in enumerate(pictures) if isinstance(p, torch.Tensor))
    assert len(pictures) == 9
    labels = np.concatenate([arrays[f"{split}_labels"] for split in ("train", "val", "test")])
    order = [CHESTMNIST_ORDER.index(name) for name in FINDINGS]
    assert np.array_equal(source.labels.numpy(), labels[:, order])
    assert source.given_test.tolist() == [False] * 5 + [True] * 4
    files = {path: path.stat().st_mtime_ns for path in unpacked.iterdir()}
    assert len(files) == 3
    assert all(isinstance(images, np.memmap) for images in source._arrays[0])
    again = pickle.loads(pickle.dumps(source))
    assert torch.equal(again.read([8], 28)[0], pictures[8])
    assert {path: path.stat().st_mtime_ns for path in unpacked.iterdir()} == files
    # What was cut off since is unpacked again; what is damaged otherwise is named, and not the archive.
    path, content = next((path, path.read_bytes()) for path in unpacked.iterdir() if "test" in path.name)
    path.write_bytes(content[:-5])
    assert torch.equal(ChestMnist(tmp_path / "chestmnist.npz").read([8], 28)[0], pictures[8])
    path.write_bytes(b"none" + content[4:])
    with pytest.raises(SourceError, match=f"^{re.escape(str(path))}, unpacked from .* remove it"):
        ChestMnist(tmp_path / "chestmnist.npz")


def test_what_is_not_chestmnist_is_not_unpacked(tmp_path: Path, unpacked: Path) -> None:
    images, labels = np.zeros((3, 28, 28), dtype=np.uint8), np.zeros((3, 14), dtype=np.uint8)
    for wrong in ({"val_images": images[:, :20]}, {"test_images": images.astype(float)}, {"test_labels": labels[:2]}):
        arrays = {f"{s}_images": images for s in ("train", "val", "test")}
        arrays |= {f"{s}_labels": labels for s in ("train", "val", "test")} | wrong
        np.savez(tmp_path / "chestmnist.npz", **arrays)  # type: ignore[arg-type]
        with pytest.raises(SourceError, match=r"ChestMNIST has \(n, size, size\) uint8 and \(n, 14\)"):
            ChestMnist(tmp_path / "chestmnist.npz")
    assert not unpacked.exists()


@pytest.mark.usefixtures("unpacked")
def test_chestmnist_in_our_order(tmp_path: Path) -> None:
    labels = np.eye(14, dtype=np.uint8)
    arrays = {}
    for split in ("train", "val", "test"):
        arrays |= {f"{split}_images": np.stack([ramp(28, 28)] * 14), f"{split}_labels": labels}
    np.savez(tmp_path / "chestmnist.npz", **arrays)
    source = ChestMnist(tmp_path / "chestmnist.npz")
    assert isinstance(source, Source)
    assert [describe(to_set(y)) for y in source.labels[:14].tolist()] == list(CHESTMNIST_ORDER)
    assert source.given_test.tolist() == [False] * 28 + [True] * 14
    assert len(source.patients.unique()) == 42
    assert (source.knows_patients, PhantomSource(2).knows_patients) == (False, True)
    sent = pickle.dumps(source)
    assert len(sent) < 1000  # not the pixels: 42 times 784
    assert torch.equal(pickle.loads(sent).labels, source.labels)
    (picture,) = source.read([3], 14)
    assert isinstance(picture, torch.Tensor)
    assert picture.shape == (14, 14)


def test_a_single_array_is_not_chestmnist(tmp_path: Path) -> None:
    np.save(tmp_path / "chestmnist.npy", np.zeros((3, 28, 28), dtype=np.uint8))
    with pytest.raises(SourceError, match=r"not ChestMNIST.*one array"):
        ChestMnist(tmp_path / "chestmnist.npy")


@pytest.mark.parametrize("content", [b"", b"not an npz", None])
def test_a_file_that_is_not_chestmnist(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "chestmnist.npz"
    if content is None:
        np.savez(path, other=np.zeros(3))
    else:
        path.write_bytes(content)
    with pytest.raises(SourceError, match="not ChestMNIST"):
        ChestMnist(path)


def test_a_damaged_chestmnist_is_an_error_wherever_the_damage_is(tmp_path: Path, unpacked: Path) -> None:
    """Which error NumPy, zipfile or zlib raises depends on the byte. Nothing damaged is kept."""
    arrays = {f"{s}_images": np.zeros((3, 28, 28), dtype=np.uint8) for s in ("train", "val", "test")}
    arrays |= {f"{s}_labels": np.zeros((3, 14), dtype=np.uint8) for s in ("train", "val", "test")}
    path = tmp_path / "chestmnist.npz"
    np.savez_compressed(path, **arrays)  # type: ignore[arg-type]
    whole, refused = path.read_bytes(), 0
    for place in range(0, len(whole), 3):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
        shutil.rmtree(unpacked, ignore_errors=True)
        try:
            ChestMnist(path)
        except SourceError:
            refused += 1
        else:
            assert all(not np.load(kept).any() for kept in unpacked.iterdir())
    assert refused > 100


def test_phantoms_are_read_in_any_order_and_grouped_by_patients() -> None:
    source = PhantomSource(200, seed=3)
    assert isinstance(source, Source)
    assert source.labels.shape == (200, len(FINDINGS))
    assert 30 < len(source.patients.unique()) < 90  # 55 expected
    together = source.read([5, 9], 32)
    assert torch.equal(together[1], source.read([9], 32)[0])  # type: ignore[arg-type]
    assert PhantomSource(200, seed=4).fingerprint != source.fingerprint == PhantomSource(200, seed=3).fingerprint


def test_phantoms_of_one_patient_look_alike_and_other_seeds_are_other_pictures() -> None:
    source, other = PhantomSource(120, seed=3), PhantomSource(120, seed=4)
    rows = ((source.labels.sum(1) == 0) & (other.labels.sum(1) == 0)).nonzero()[:, 0]
    pictures, others = (torch.stack(s.read(rows.tolist(), 32)).float() for s in (source, other))  # type: ignore[arg-type]
    apart = torch.cdist(pictures.flatten(1), pictures.flatten(1))
    patients = source.patients[rows]
    alike = (patients[:, None] == patients).fill_diagonal_(False)
    assert alike.any()
    assert apart[alike].max() < apart[patients[:, None] != patients].median()
    assert apart[alike].min() > 0  # exposure and noise are the image's
    assert (pictures != others).flatten(1).any(1).all()


def test_the_real_sample() -> None:
    source = NihFolder(nih_sample())
    assert len(source.labels) == 621
    assert source.problems.describe() == ""
    assert int((source.labels.sum(1) == 0).sum()) == 100
    pictures = source.read(range(0, 621, 60), 64)
    assert all(isinstance(picture, torch.Tensor) for picture in pictures)
