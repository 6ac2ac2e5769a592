"""What tests read of documentation pages, and how pages write figures."""

import re
from collections.abc import Mapping
from typing import Any


def block(page: str, language: str) -> str:
    """A page's first block of code in a language."""
    found = re.search(rf"```{language}\n(.*?)```", page, flags=re.DOTALL)
    assert found is not None
    return found[1]


def interval(estimate: Mapping[str, Any]) -> str:
    """A ratio with its interval."""
    return f"{estimate['value']:.2f} [{estimate['low']:.2f}, {estimate['high']:.2f}]"
