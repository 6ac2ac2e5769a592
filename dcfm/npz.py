"""What goes wrong with NumPy's archives of arrays."""

import tokenize
import zipfile
import zlib
from typing import Final

DAMAGED: Final = (
    OSError,
    EOFError,
    KeyError,
    RuntimeError,
    TypeError,
    ValueError,
    tokenize.TokenError,
    zipfile.BadZipFile,
    zlib.error,
)
"""What reading a missing, truncated or damaged npz file, or one of other arrays, can raise, wherever the damage is."""
