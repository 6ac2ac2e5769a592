"""A silo's data as a file on the silo's own disk: the tensors ``data`` and ``labels`` in one safetensors file.

    write_silo("hospital/data.safetensors", images, labels)

What ``data`` means is the task's affair (:meth:`dcfm.task.Task.prepare`).
"""

from pathlib import Path

from jaxtyping import Int, Shaped
from torch import Tensor

from dcfm.artefacts import load_tensors, save_tensors, write_text_atomically
from dcfm.silos import Silo


def write_silo(path: str | Path, data: Shaped[Tensor, "n ..."], labels: Int[Tensor, "n k"]) -> Path:
    """Write a silo's samples and labels, whole or not at all; returns the path.

    Raises:
        ValueError: as of :class:`~dcfm.silos.Silo`.
    """
    Silo("silo", data, labels)
    save_tensors(path, {"data": data, "labels": labels})
    return Path(path)


def read_silo(path: str | Path, name: str) -> Silo:
    """Read what :func:`write_silo` wrote.

    Raises:
        ValueError: no such file, or not a silo's.
    """
    tensors = load_tensors(path)
    if set(tensors) != {"data", "labels"}:
        raise ValueError(f"{path} holds {sorted(tensors)}; a silo's file holds data and labels, see write_silo")
    return Silo(name, tensors["data"], tensors["labels"])


def silo_path(out: str | Path, number: int) -> Path:
    """Where a simulation keeps the file of a silo."""
    return Path(out) / "silos" / str(number) / "data.safetensors"


def work_of(data: str | Path) -> Path:
    """Where a silo keeps its work: the folder ``work`` beside its data."""
    return Path(data).parent / "work"


def claim(data: str | Path) -> None:
    """Mark a silo's work folder as that of its data file.

    Raises:
        ValueError: it is another file's, and two silos would overwrite each other's work.
    """
    marker = work_of(data) / "data_file"
    if not marker.exists():
        write_text_atomically(marker, Path(data).name)
    elif (other := marker.read_text(encoding="utf-8")) != Path(data).name:
        raise ValueError(
            f"{marker.parent} holds the work of {other}; give each silo's data a folder of its own, or, if {other} was "
            f"renamed, delete {marker}"
        )
