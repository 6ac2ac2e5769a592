"""What a silo sent, on the server's disk, so that a server which is started again does not ask for it again."""

import logging
import shutil
from pathlib import Path
from typing import Final

from safetensors import SafetensorError, safe_open

from dcfm.artefacts import load_tensors, save_tensors
from dcfm.federated.parcels import Parcel, scalar, scalars
from dcfm.weights import fingerprint

log = logging.getLogger(__name__)

COMPLETE: Final = "complete"
"""The file that is written last; it says how many entries the parcel has."""

QUESTION: Final = "question"


def question_of(parcel: Parcel) -> str:
    """What was sent, as a hash: an answer is one to this question alone."""
    return fingerprint([{f"{key} {name}": value for key, part in parcel.items() for name, value in part.items()}])


def keep(folder: Path, parcel: Parcel, sent: Parcel | None = None) -> None:
    """Write a parcel into a folder of its own, with a hash of what was ``sent`` for it, if that is to be told apart."""
    for key, payload in parcel.items():
        save_tensors(folder / f"{key}.safetensors", payload)
    save_tensors(
        folder / f"{COMPLETE}.safetensors",
        scalars(entries=len(parcel)),
        metadata={QUESTION: "" if sent is None else question_of(sent)},
    )


def forget(folder: Path) -> None:
    """Undo :func:`keep`."""
    (folder / f"{COMPLETE}.safetensors").unlink(missing_ok=True)  # first, so that what is left of it is nothing
    shutil.rmtree(folder, ignore_errors=True)


def kept(folder: Path, sent: Parcel | None = None) -> Parcel | None:
    """What :func:`keep` wrote, or ``None``, so that it is asked for again, if there is nothing, it is damaged, or the
    answer to another question."""
    complete = folder / f"{COMPLETE}.safetensors"
    if not complete.exists():
        return None
    try:
        with safe_open(complete, framework="pt") as file:
            answered = (file.metadata() or {}).get(QUESTION, "")
        if answered and sent is not None and answered != question_of(sent):
            log.warning("%s answers another question than this one, which is asked again", folder)
            return None
        entries = scalar({"scalars": load_tensors(complete)}, "entries")
        paths = [path for path in folder.glob("*.safetensors") if path != complete]
        if len(paths) != entries:
            raise ValueError(f"{len(paths)} of {entries} entries are there")
        return {path.stem: load_tensors(path) for path in paths}
    except (ValueError, SafetensorError, OSError) as error:
        log.warning("%s is damaged, and asked for again: %s", folder, error)
        return None
