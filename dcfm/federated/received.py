"""What a silo sent, on the server's disk, so that a server which is started again does not ask for it again."""

import logging
import shutil
from pathlib import Path
from typing import Final

from dcfm.artefacts import load_tensors, save_tensors
from dcfm.federated.parcels import Parcel, scalar, scalars

log = logging.getLogger(__name__)

COMPLETE: Final = "complete"
"""The file that is written last; it says how many entries the parcel has."""


def keep(folder: Path, parcel: Parcel) -> None:
    """Write a parcel into a folder of its own."""
    for key, payload in parcel.items():
        save_tensors(folder / f"{key}.safetensors", payload)
    save_tensors(folder / f"{COMPLETE}.safetensors", scalars(entries=len(parcel)))


def forget(folder: Path) -> None:
    """Undo :func:`keep`."""
    (folder / f"{COMPLETE}.safetensors").unlink(missing_ok=True)  # first, so that what is left of it is nothing
    shutil.rmtree(folder, ignore_errors=True)


def kept(folder: Path) -> Parcel | None:
    """What :func:`keep` wrote, or ``None``, so that it is asked for again, if there is nothing or it is damaged."""
    complete = folder / f"{COMPLETE}.safetensors"
    if not complete.exists():
        return None
    try:
        entries = scalar({"scalars": load_tensors(complete)}, "entries")
        paths = [path for path in folder.glob("*.safetensors") if path != complete]
        if len(paths) != entries:
            raise ValueError(f"{len(paths)} of {entries} entries are there")
        return {path.stem: load_tensors(path) for path in paths}
    except ValueError as error:
        log.warning("%s is damaged, and asked for again: %s", folder, error)
        return None
