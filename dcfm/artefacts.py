"""Artefacts: a trained model as a folder that says what it is, and files that appear whole or not at all.

======================  ===============================================================================================
``model.safetensors``   the weights (EMA), float16 when shipped
``config.yaml``         the resolved configuration that made them
``state.safetensors``   what an exact resume needs, where it was kept
``artefact.json``       SHA-256 of the above, git revision, data hash, metrics, normaliser, what wrote it
======================  ===============================================================================================

Nothing is pickled, so loading executes no code. A file is written under a temporary name beside its place, flushed,
then renamed. A folder is written in ``.incoming`` within itself and moved out file by file, ``artefact.json`` last:
while that file still lies in ``.incoming``, the artefact is what lies there, and the folder's own files where nothing
does. Hence an interruption at any point leaves either the old or the new artefact.
"""

import functools
import hashlib
import json
import os
import platform
import shutil
import subprocess
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import torch
import yaml
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from dcfm import __version__
from dcfm.weights import Weights, check_architecture, check_finite

MODEL: Final = "model.safetensors"
CONFIG: Final = "config.yaml"
STATE: Final = "state.safetensors"
MANIFEST: Final = "artefact.json"
FORMAT: Final = 1
"""Version of the folder's layout."""

_INCOMING: Final = ".incoming"


class ArtefactError(ValueError):
    """An artefact that cannot be read, or is not the one that was asked for."""


@dataclass(frozen=True)
class Artefact:
    """What :func:`load` found.

    Args:
        weights: the model's weights on the CPU; float32 again if they were stored as float16.
        config: the configuration.
        metadata: ``git_revision``, ``data_hash``, ``metrics``, ``normalizer``, ``created_by``, ``half``, ``files``.
        state: for an exact resume, or ``None``.
    """

    weights: Weights
    config: dict[str, Any]
    metadata: dict[str, Any]
    state: dict[str, Tensor] | None


@contextmanager
def atomically(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path`` to write to; rename it to ``path`` if all went well, else remove it."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{uuid.uuid4().hex[:8]}{path.suffix}")
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_bytes_atomically(path: str | Path, content: bytes) -> None:
    """Write a file whole or not at all."""
    with atomically(path) as temporary:
        temporary.write_bytes(content)


def write_text_atomically(path: str | Path, text: str) -> None:
    """Write a UTF-8 file whole or not at all."""
    write_bytes_atomically(path, text.encode())


def save_tensors(path: str | Path, tensors: Mapping[str, Tensor], metadata: dict[str, str] | None = None) -> None:
    """Write named tensors, on any device, strided or shared, to a safetensors file, whole or not at all.

    ``metadata`` are strings for the file's header.
    """
    plain = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    with atomically(path) as temporary:
        save_file(plain, temporary, metadata)


def load_tensors(path: str | Path) -> dict[str, Tensor]:
    """Read what :func:`save_tensors` wrote, to the CPU.

    Raises:
        ArtefactError: no such file, or one that is truncated or no safetensors file.
    """
    try:
        return load_file(path)
    except FileNotFoundError as error:
        raise ArtefactError(f"there is no file {path}; check the path, or make the file again") from error
    except (SafetensorError, OSError) as error:
        raise ArtefactError(f"{path} is damaged or no safetensors file ({error}); copy or make it again") from error


def file_hash(path: str | Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def plain_settings(config: Any) -> dict[str, Any]:
    """A dataclass of settings as plain data, without what is ``None``: a feature that is not used leaves no trace, so
    that what was trained before there was such a feature still counts as the same training."""
    return asdict(config, dict_factory=lambda pairs: {key: value for key, value in pairs if value is not None})


def save(
    folder: str | Path,
    weights: Mapping[str, Tensor],
    config: Mapping[str, Any],
    *,
    metrics: Mapping[str, Any] | None = None,
    state: Mapping[str, Tensor] | None = None,
    normalizer: Mapping[str, Any] | None = None,
    data_hash: str | None = None,
    half: bool = False,
) -> Path:
    """Write an artefact, whole or not at all; one that lies there is replaced, other files in the folder stay.

    Where it has the same weights, what made them (``git_revision``, ``created_by``) is kept.

    Args:
        folder: where to; made if missing.
        weights: the model's weights.
        config: plain values only (``OmegaConf.to_container`` of a hydra configuration).
        metrics: finite numbers, strings, lists and dictionaries.
        state: tensors for an exact resume.
        normalizer: constants that bring raw data to the model's coordinates, as plain numbers.
        data_hash: hash of the training data.
        half: store floating-point weights as float16.

    Returns:
        The folder.

    Raises:
        ValueError: weights that are not finite (as float16, where ``half``), or values that YAML or JSON cannot hold.
    """
    folder = Path(folder)
    check_finite(weights)
    if half:
        weights = {name: t.half() if t.is_floating_point() else t for name, t in weights.items()}
        if beyond := [name for name, t in weights.items() if not torch.isfinite(t).all()]:
            raise ValueError(f"{beyond[0]} has values above 65504, the largest of float16, as which they are kept")
    try:
        config_text = yaml.safe_dump(dict(config), sort_keys=False, allow_unicode=True)
    except yaml.YAMLError as error:
        raise ValueError(f"the configuration holds something other than plain values: {error}") from error
    manifest = {
        "format": FORMAT,
        "created_by": f"dcfm {__version__}, torch {torch.__version__}, python {platform.python_version()}",
        "git_revision": git_revision(),
        "data_hash": data_hash,
        "half": half,
        "normalizer": None if normalizer is None else dict(normalizer),
        "metrics": None if metrics is None else dict(metrics),
    }
    _to_json(manifest)  # before anything is written

    _settle(folder)
    incoming = folder / _INCOMING
    incoming.mkdir(parents=True)
    try:
        save_tensors(incoming / MODEL, weights)
        write_text_atomically(incoming / CONFIG, config_text)
        if state is not None:
            save_tensors(incoming / STATE, state)
        files = {path.name: file_hash(path) for path in sorted(incoming.iterdir())}
        manifest |= _origin(folder, files[MODEL])
        write_text_atomically(incoming / MANIFEST, _to_json(manifest | {"files": files}))
    except BaseException:
        shutil.rmtree(incoming, ignore_errors=True)
        raise
    _settle(folder)
    return folder


def load(folder: str | Path, *, template: Mapping[str, Tensor] | None = None) -> Artefact:
    """Read an artefact and check it against its own hashes.

    Args:
        folder: where :func:`save` wrote it.
        template: tensors with the names and shapes that the weights must have, e.g. a network's ``state_dict()``.

    Raises:
        ArtefactError: it is missing, incomplete, damaged, of a newer format, or of another architecture.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ArtefactError(f"there is no artefact folder {folder}; check the path, or train the model first")
    manifest = _read_manifest(_locate(folder, MANIFEST))
    files: dict[str, str] = manifest["files"]
    for name in (MODEL, CONFIG, STATE):
        path = _locate(folder, name)
        if name not in files:
            if name == STATE:
                continue
            raise ArtefactError(f"{folder / MANIFEST} does not list {name}; copy or make the artefact again")
        if not path.is_file():
            raise ArtefactError(f"{path} is missing; copy the whole folder again, or train the model again")
        if file_hash(path) != files[name]:
            raise ArtefactError(
                f"{path} is not the file that {MANIFEST} was written for: it is truncated, damaged or from elsewhere "
                "(with git, a missing checkout of large files does this too); copy or make the artefact again"
            )
    weights = load_tensors(_locate(folder, MODEL))
    if manifest["half"]:
        weights = {name: t.float() if t.dtype == torch.float16 else t for name, t in weights.items()}
    if template is not None:
        try:
            check_architecture(weights, template)
        except ValueError as error:
            raise ArtefactError(
                f"{folder}: {error}. Build the network from the artefact's own {CONFIG}, or choose another artefact"
            ) from error
    config = yaml.safe_load(_locate(folder, CONFIG).read_text(encoding="utf-8"))
    state = load_tensors(_locate(folder, STATE)) if STATE in files else None
    return Artefact(weights, config, manifest, state)


@functools.cache
def git_revision() -> str | None:
    """The commit of the checkout that this package runs from, ``-dirty`` if changed; ``None`` outside of one."""
    here = Path(__file__)

    def git(*arguments: str) -> str:
        return subprocess.run(
            ["git", "-C", str(here.parent), *arguments], capture_output=True, text=True, check=True, timeout=10
        ).stdout.strip()

    try:
        git("ls-files", "--error-unmatch", here.name)  # an installed package may lie inside somebody else's repository
        return git("describe", "--always", "--dirty", "--abbrev=40", "--exclude=*")
    except (OSError, subprocess.SubprocessError):
        return None


def _to_json(manifest: Mapping[str, Any]) -> str:
    try:
        return json.dumps(manifest, indent=2, allow_nan=False) + "\n"
    except (TypeError, ValueError) as error:
        raise ValueError(f"metrics or normalizer hold something other than finite plain values: {error}") from error


def _origin(folder: Path, weights_hash: str) -> dict[str, Any]:
    """What made the same weights that lie there already: writing them again, as a run that goes on does, is not it."""
    try:
        there = _read_manifest(folder / MANIFEST)
    except ArtefactError:
        return {}
    if there["files"].get(MODEL) != weights_hash:
        return {}
    return {name: there[name] for name in ("created_by", "git_revision") if name in there}


def _read_manifest(path: Path) -> dict[str, Any]:
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        written_for, files = manifest["format"], manifest["files"]
        _ = manifest["half"], files.items()
    except FileNotFoundError as error:
        raise ArtefactError(f"{path.parent} holds no artefact ({MANIFEST} is missing); check the path") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ArtefactError(f"{path} is damaged ({error!r}); copy or make the artefact again") from error
    if written_for != FORMAT:
        raise ArtefactError(f"{path} has format {written_for}; this version reads {FORMAT}: install a matching dcfm")
    return manifest


def _locate(folder: Path, name: str) -> Path:
    """Where the artefact's file lies: in ``.incoming`` if an interrupted :func:`save` had finished writing there."""
    incoming = folder / _INCOMING
    unsettled = (incoming / MANIFEST).is_file() and (incoming / name).is_file()
    return (incoming if unsettled else folder) / name


def _settle(folder: Path) -> None:
    """Move a completely written ``.incoming`` into place, ``artefact.json`` last; drop an incomplete one."""
    incoming = folder / _INCOMING
    if (incoming / MANIFEST).is_file():
        if STATE not in _read_manifest(incoming / MANIFEST)["files"]:
            (folder / STATE).unlink(missing_ok=True)  # the replaced artefact's
        for name in (MODEL, CONFIG, STATE, MANIFEST):
            if (incoming / name).is_file():
                os.replace(incoming / name, folder / name)
    if incoming.is_dir():
        shutil.rmtree(incoming)
