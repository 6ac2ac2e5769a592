"""Measure the memory that the latent cache needs, whatever the number of images.

    python scripts/xray/measure_cache.py        # 10,000, then 112,120 phantoms of 32 pixels

Prints, and writes to ``out/cache.json``, the largest resident memory of this process and of its workers before anything
is encoded and after each number of rows, and the seconds it took. The autoencoder has the shipped one's sizes and
weights drawn by chance, which memory does not ask about. The keys are described in configs/xray/measure_cache.yaml.
"""

import platform
import resource
import sys
import time
from dataclasses import dataclass
from typing import Any

import torch
from omegaconf import DictConfig

from dcfm.configuration import script, typed, writable
from dcfm.progress import Stages
from dcfm.records import made_by, write_json
from dcfm_xray.autoencoder import Autoencoder
from dcfm_xray.cache import encode
from dcfm_xray.sources import PhantomSource


@dataclass
class Settings:
    """The keys of configs/xray/measure_cache.yaml and their types."""

    rows: list[int]
    size: int
    shard: int
    workers: int
    seed: int
    out: str


def peak(who: int) -> float:
    """The largest resident memory so far in MiB, of this process or of any of its children that ended."""
    return resource.getrusage(who).ru_maxrss / (1024 if sys.platform == "linux" else 1024**2)


def run(config: DictConfig) -> None:
    """Encode one number of rows after the other, measure, write.

    Raises:
        ValueError: settings that cannot be, or a cache that is there already: nothing would be measured.
    """
    given = typed(config, Settings, "xray/measure_cache")
    if not given.rows or min(given.rows) < 1 or sorted(set(given.rows)) != given.rows:
        raise ValueError(f"rows={given.rows}: give numbers of at least 1, each larger than the one before it")
    out = writable(given.out)
    if there := [rows for rows in given.rows if (out / f"cache-{rows}").exists()]:
        raise ValueError(f"{out} holds caches of {there} rows already; choose another out=, or delete them")
    torch.set_num_threads(1)
    torch.manual_seed(given.seed)
    encoder, stages = Autoencoder(given.size).eval().requires_grad_(False), Stages()
    measured: list[dict[str, Any]] = []
    before = peak(resource.RUSAGE_SELF)
    for rows in given.rows:
        folder, begun = out / f"cache-{rows}", time.perf_counter()
        encode(
            PhantomSource(rows, given.seed),
            torch.arange(rows),
            encoder,
            folder,
            shard=given.shard,
            workers=given.workers,
            on_shard=lambda done, total: stages("encoding", done, total),
        )
        seconds = time.perf_counter() - begun
        measured.append(
            {
                "rows": rows,
                "seconds": round(seconds, 1),
                "latents_mib": round((folder / "latents.npy").stat().st_size / 1024**2, 1),
                "peak_mib": round(peak(resource.RUSAGE_SELF), 1),
                "peak_of_a_worker_mib": round(peak(resource.RUSAGE_CHILDREN), 1) if given.workers else None,
            }
        )
    stages.close()
    content = {
        "what": "largest resident memory so far, libraries included; rows in this order in one process",
        **made_by(),
        "machine": f"{platform.platform()}, torch {torch.__version__}",
        "size": given.size,
        "shard": given.shard,
        "workers": given.workers,
        "before_mib": round(before, 1),
        "measured": measured,
    }
    write_json(out / "cache.json", content)
    print(f"before: {before:.0f} MiB")
    for entry in measured:
        print(
            f"{entry['rows']:,} rows, {entry['seconds']} s: {entry['peak_mib']} MiB, a worker "
            f"{entry['peak_of_a_worker_mib']} MiB, latents on disk {entry['latents_mib']} MiB"
        )
    print(f"wrote {out / 'cache.json'}")


@script("xray/measure_cache", "the caches that are complete stay; delete them before measuring again")
def main(config: DictConfig) -> None:
    """Measure; one line for each thing that can be wrong."""
    run(config)


if __name__ == "__main__":
    main()
