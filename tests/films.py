"""Films read back with ffmpeg itself; imageio's reader leaves its pipes open, and warnings are errors here."""

import re
import subprocess
from pathlib import Path

import imageio_ffmpeg
import numpy as np


def read_mp4(path: Path) -> tuple[np.ndarray, float]:
    """The pictures ``(n, height, width, 3)``, and how many a second."""
    ffmpeg = imageio_ffmpeg.get_ffmpeg_exe()
    told = subprocess.run([ffmpeg, "-i", path], capture_output=True, text=True, timeout=60).stderr
    size, rate = re.search(r"Video: h264.*?, (\d+)x(\d+)", told), re.search(r"([\d.]+) fps", told)
    assert size is not None, told
    assert rate is not None, told
    command = [ffmpeg, "-v", "error", "-i", path, "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    raw = subprocess.run(command, capture_output=True, timeout=60, check=True).stdout
    width, height = int(size[1]), int(size[2])
    return np.frombuffer(raw, dtype=np.uint8).reshape(-1, height, width, 3), float(rate[1])
