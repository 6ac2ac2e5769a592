"""Images decoded, resized and encoded once, into a cache on disk whose memory need does not grow with the data set.

A cache is a folder:

    latents.npy          all rows' latents, float16, written in place shard by shard and read through a memory map
    shards/00012.json    the shard is complete: its rows, what was unreadable, SHA-256 of its latents
    cache.json           whose cache it is: source, rows, size, encoder; complete once every shard is. The source is
                         known by its content; its name, which says where it lay, is for people to read

Shards are encoded in parallel processes, each holding one batch of pictures at a time. A run that was cut off goes on
with the shards that are missing. The room for all latents is taken from the disk at the start, so a disk that is too
small is an error before any work; a start that was interrupted then is made again.
"""

import errno
import hashlib
import json
import multiprocessing
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Float16, Int, UInt8
from torch import Tensor

from dcfm import locks
from dcfm.artefacts import write_text_atomically
from dcfm_xray.sources import Source, UnreadableImage

BATCH: Final = 64
"""Pictures that are encoded at once, up to :data:`USUAL` pixels a side; see :func:`at_once`."""

USUAL: Final = 64
"""Pixels a side up to which as many pictures as usual go through a network at once."""

_WRITTEN: Final = 1 << 20
"""Bytes written at once to take room on the disk."""

LATENTS, MANIFEST, SHARDS = "latents.npy", "cache.json", "shards"


class CacheError(ValueError):
    """A cache of something else, an incomplete or damaged one, or one that cannot be written."""


@runtime_checkable
class Encoder(Protocol):
    """What turns pictures into latents; picklable, the same everywhere.

    Attributes:
        size: pixels a side that it takes.
        shape: of one latent.
        fingerprint: changes when the latents of equal pictures do.
    """

    @property
    def size(self) -> int: ...

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def fingerprint(self) -> str: ...

    def encode(self, pictures: UInt8[Tensor, "batch size size"]) -> Float[Tensor, " batch *shape"]: ...


@dataclass(frozen=True, eq=False)
class Cached:
    """A complete cache.

    Attributes:
        latents: of the readable rows, mapped from the disk where all rows were readable.
        rows: the readable rows, ascending.
        unreadable: why each of the others is not there.
    """

    latents: Float16[Tensor, " rows *shape"]
    rows: Int[Tensor, " rows"]
    unreadable: tuple[str, ...]


def at_once(usual: int, size: int) -> int:
    """How many pictures of ``size`` pixels a side go through a network at once, such that they have no more pixels than
    ``usual`` ones of :data:`USUAL`; at least 1. Below that it stays ``usual``: rounding depends on it."""
    return usual if size <= USUAL else max(1, usual * USUAL**2 // size**2)


Done = Callable[[int, int], None]
"""Called with (rows done, rows in all) after each shard."""


def encode(
    source: Source,
    rows: Int[Tensor, " n"],
    encoder: Encoder,
    folder: Path,
    *,
    shard: int = 1024,
    workers: int = 1,
    on_shard: Done | None = None,
) -> Cached:
    """Encode the rows of a source into ``folder``, or take what is there already, and open it.

    Args:
        source: the images.
        rows: which of them, ascending.
        encoder: to latents.
        folder: of the cache; made if need be.
        shard: rows of a shard, the unit of resuming; a cache that is there keeps its own.
        workers: processes; 0 works in this one.
        on_shard: see :data:`Done`.

    Raises:
        CacheError: the folder holds another cache, or the disk is full (what is complete stays).
        OSError: an image's file cannot be read (what is complete stays; its shard is not).
    """
    if shard < 1 or workers < 0 or not len(rows):
        raise ValueError(f"shard={shard}, workers={workers}, {len(rows)} rows; give at least 1 row a shard, and 1 row")
    identity = _identity(source, rows, encoder, shard)
    try:
        shard = _claim(folder, identity, (len(rows), *encoder.shape))
    except OSError as error:
        raise _no_room(error, f"{folder} needs room for {len(rows)} latents of {encoder.shape}") from error
    todo = [i for i in range(_number(len(rows), shard)) if not (folder / SHARDS / f"{i:05d}.json").exists()]
    done = len(rows) - sum(min(shard, len(rows) - i * shard) for i in todo)
    jobs = [(rows[i * shard : (i + 1) * shard], folder, i, i * shard) for i in todo]
    try:
        for count in _map(source, encoder, jobs, workers):
            done += count
            if on_shard is not None:
                on_shard(done, len(rows))
    except OSError as error:
        raise _no_room(error, f"{done} of {len(rows)} rows are cached in {folder} and stay") from error
    return open_cache(folder, identity)


def open_cache(folder: Path, identity: dict[str, Any] | None = None) -> Cached:
    """Open a complete cache, memory-mapped, its latents compared with their hashes.

    Raises:
        CacheError: no cache, another one than ``identity`` says, an incomplete or a damaged one.
    """
    given = _read_json(folder / MANIFEST)
    if identity is not None:
        _check_same(folder, given, identity)
    number = _number(given["rows"], given["shard"])
    shards = [_read_json(folder / SHARDS / f"{i:05d}.json") for i in range(number)]
    try:
        array = np.load(folder / LATENTS, mmap_mode="c", allow_pickle=False)
    except (OSError, EOFError, ValueError) as error:
        raise CacheError(f"{folder / LATENTS} is damaged ({error}); delete {folder} and encode again") from error
    _check_hashes(folder, shards, array)
    skipped = {int(row): why for entry in shards for row, why in entry["unreadable"].items()}
    latents = torch.from_numpy(array)
    kept = torch.tensor([i not in skipped for i in range(len(latents))])
    rows = kept.nonzero()[:, 0]
    return Cached(latents if not skipped else latents[rows], rows, tuple(skipped.values()))


def _check_hashes(folder: Path, shards: Sequence[Mapping[str, Any]], latents: np.memmap) -> None:
    """Read all latents once, shard by shard and not through their map, whose pages would stay in memory, and compare
    them with their hashes: what is trained on damaged ones is damaged, and nothing else would tell."""
    row, bad = latents[0].nbytes, []
    with (folder / LATENTS).open("rb") as file:
        file.seek(latents.offset)
        for i, entry in enumerate(shards):
            if hashlib.sha256(file.read(entry["rows"] * row)).hexdigest() != entry["sha256"]:
                bad.append(f"{i:05d}.json")
    if bad:
        raise CacheError(
            f"{folder / LATENTS} changed since it was written, in the shards {', '.join(bad)}; delete these files "
            f"under {folder / SHARDS} and run again: they are encoded anew"
        )


def _identity(source: Source, rows: Int[Tensor, " n"], encoder: Encoder, shard: int) -> dict[str, Any]:
    return {
        "format": 1,
        "source": source.fingerprint,
        "name": source.name,
        "selected": hashlib.sha256(rows.numpy().tobytes()).hexdigest(),
        "rows": len(rows),
        "shard": shard,
        "size": encoder.size,
        "encoder": encoder.fingerprint,
        "shape": list(encoder.shape),
    }


def _check_same(folder: Path, given: dict[str, Any], identity: dict[str, Any]) -> None:
    # The name has the data's path in it, and data may be moved; the fingerprint says whether they are the same. Latents
    # are the same data however they were dealt to shards.
    if changed := [key for key in identity if key not in ("name", "shard") and given.get(key) != identity[key]]:
        raise CacheError(
            f"{folder} is a cache of something else ({', '.join(changed)} differ); choose another folder, or delete it"
        )


def _claim(folder: Path, identity: dict[str, Any], shape: tuple[int, ...]) -> int:
    """Make the folder this cache's: its manifest, its array's full length on disk, its folder of shards. Returns
    how many rows its shards have, which its start decided."""
    manifest = folder / MANIFEST
    if not manifest.exists():
        with locks.alone(folder.with_name(f".{folder.name}.lock")):  # a start under way looks like an interrupted one
            if not manifest.exists():
                _start(folder, identity, shape)
    given = _read_json(manifest)
    _check_same(folder, given, identity)
    return given["shard"]


def _start(folder: Path, identity: dict[str, Any], shape: tuple[int, ...]) -> None:
    if _begun(folder):
        shutil.rmtree(folder)
    elif folder.exists() and any(folder.iterdir()):
        raise CacheError(f"{folder} holds other files; choose an empty or new folder for the cache")
    try:
        (folder / SHARDS).mkdir(parents=True)
        np.lib.format.open_memmap(folder / LATENTS, mode="w+", dtype=np.float16, shape=shape).flush()
        _take_room(folder / LATENTS)
        # Last: a folder without a manifest is no cache.
        write_text_atomically(folder / MANIFEST, json.dumps(identity, indent=1) + "\n")
    except BaseException:  # an interrupt, too
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _begun(folder: Path) -> bool:
    """Whether a folder holds nothing but what a cache consists of, without the manifest that says whose it is: that of
    a start that was killed, or a cache whose manifest was removed. It cannot be gone on with."""
    if not (folder / SHARDS).is_dir() or (folder / MANIFEST).exists():
        return False
    manifest = Path(MANIFEST)
    others = [p.name for p in folder.iterdir() if p.name not in (LATENTS, SHARDS)]
    temporary = all(n.startswith(f".{manifest.stem}.") and n.endswith(manifest.suffix) for n in others)
    return temporary and all(p.suffix == ".json" for p in (folder / SHARDS).iterdir())


def _take_room(path: Path) -> None:
    """Take a file's full length from the disk: writing to a mapped hole of a full one would kill the process later, and
    is an ``OSError`` now."""
    allocate = getattr(os, "posix_fallocate", None)  # not on macOS
    with path.open("r+b") as file:
        length = os.fstat(file.fileno()).st_size
        if allocate is not None:
            allocate(file.fileno(), 0, length)
            return
        for begin in range(0, length, _WRITTEN):
            file.seek(begin)
            content = file.read(_WRITTEN)
            file.seek(begin)
            file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _no_room(error: OSError, what: str) -> Exception:
    """The error in words where it is about room on the disk, else itself."""
    if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return error
    return CacheError(f"no room on the disk ({error}): {what}; make room, then run the same command again")


def _encode_shard(
    source: Source, encoder: Encoder, rows: Int[Tensor, " n"], folder: Path, index: int, first: int
) -> int:
    """Encode one shard; returns its number of rows."""
    torch.set_num_threads(1)
    array = np.lib.format.open_memmap(folder / LATENTS, mode="r+")
    unreadable: dict[str, str] = {}
    batch = at_once(BATCH, encoder.size)
    for begin in range(0, len(rows), batch):
        found = source.read(rows[begin : begin + batch].tolist(), encoder.size)
        pictures = torch.zeros(len(found), encoder.size, encoder.size, dtype=torch.uint8)
        for i, picture in enumerate(found):
            if isinstance(picture, UnreadableImage):
                unreadable[str(first + begin + i)] = str(picture)
            else:
                pictures[i] = picture
        with torch.no_grad():
            latents = encoder.encode(pictures).to(torch.float16)
        if not latents.isfinite().all():
            raise CacheError(f"the encoder gave values that float16 cannot hold in shard {index} of {folder}")
        array[first + begin : first + begin + len(found)] = latents.numpy()
    array.flush()
    entry = {"rows": len(rows), "unreadable": unreadable, "sha256": _hash(array[first : first + len(rows)])}
    write_text_atomically(folder / SHARDS / f"{index:05d}.json", json.dumps(entry) + "\n")
    return len(rows)


_given: list[tuple[Source, Encoder]] = []
"""In a worker: what it encodes, sent once, since it can be as large as a data set."""


def _begin(source: Source, encoder: Encoder) -> None:
    _given.append((source, encoder))


def _encode_given(rows: Int[Tensor, " n"], folder: Path, index: int, first: int) -> int:
    return _encode_shard(*_given[0], rows, folder, index, first)


def _map(source: Source, encoder: Encoder, jobs: Sequence[tuple[Any, ...]], workers: int) -> Iterator[int]:
    """Encode shards, in this process or in others; the numbers of their rows, in order."""
    if workers == 0 or not jobs:
        yield from (_encode_shard(source, encoder, *job) for job in jobs)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(workers, len(jobs)), context, _begin, (source, encoder)) as pool:
        yield from pool.map(_encode_given, *zip(*jobs, strict=True))


def _number(rows: int, shard: int) -> int:
    return -(-rows // shard)


def _hash(array: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()


def _read_json(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise CacheError(f"{path} is missing: the cache is incomplete; run the encoding again") from error
    except (OSError, ValueError) as error:
        raise CacheError(f"{path} is damaged ({error}); delete it and run the encoding again") from error
