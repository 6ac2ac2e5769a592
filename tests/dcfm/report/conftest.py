"""A folder with every kind of result, small, and with names and texts that mean harm."""

import json
from pathlib import Path

import imageio.v3 as imageio
import numpy as np
import pytest
from PIL import Image

from dcfm.curves import Watch

EVIL = "<script>alert(1)</script><img src=https://example.org/x.png>"
SHARE = {"k": 9, "n": 10, "rate": 0.9, "low": 0.596, "high": 0.982}


@pytest.fixture
def results(tmp_path: Path) -> Path:
    folder = tmp_path / "results & more"
    film = folder / "video"
    film.mkdir(parents=True)
    pairs = {f"{a}-{b}": {"success": SHARE} for a in ("TL", "TR", "BL", "BR") for b in ("TL", "TR", "BL", "BR")}
    (folder / "metrics.json").write_text(json.dumps({"command": EVIL, "pairs": pairs, EVIL: {"a": [EVIL, 1]}}))
    (folder / "table.txt").write_text(f"{EVIL}\n" + "wide " * 200)
    cells = " | ".join(["a wide cell of a table"] * 12)
    (folder / "cost.md").write_text(
        f"# Cost {EVIL}\n\n![x](https://example.org/y.png) [x](javascript:alert(1)) <https://example.org>\n\n"
        f"| {cells} |\n|{' --- |' * 12}\n| {cells} |\n"
    )
    (folder / "trials.csv").write_text("name,value\n" + f'"{EVIL}",1\n' * 60)
    message = {"silo": EVIL, "direction": "sent", "kind": "weights", "bytes": 1000}
    (folder / "dcfm_b.ledger.jsonl").write_text((json.dumps(message) + "\n") * 3)
    (folder / "config.yaml").write_text(f"seed: '{EVIL}'\n")
    (folder / "model.safetensors").write_bytes(b"\0")
    Image.fromarray(np.full((40, 900, 3), 128, np.uint8)).save(folder / "paths.png")
    curve = Watch(folder)("stage1 robot0", 0)
    for step in range(1, 700):
        curve(step, 699, {"loss": 1 / step, "other": 2 / step})
    frames = [np.full((64, 96, 3), 20 * i, np.uint8) for i in range(10)]
    imageio.imwrite(film / "TL-BR.mp4", frames, fps=10)
    imageio.imwrite(film / "TL-BR.gif", frames)
    imageio.imwrite(film / "alone.gif", frames)
    (folder / "secret.txt").symlink_to("/etc/hostname")
    return folder
