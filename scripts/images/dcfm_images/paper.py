"""The paper's own Table 1 (arXiv 2606.10153): FID on Colored MNIST, n = 10 silos, half of the combinations observed.

Its feature network is another one, so that these numbers and ours differ in unit; ratios between methods have none.
"""

from typing import Any, Final

SOURCE: Final = "Compositional Generative Modeling from Decentralized Data, arXiv 2606.10153, Table 1"

BASELINES: Final = ("fedflow", "fedflow_l", "ddm", "ddm_l", "dfd", "dfd_l")
"""The decentralised baselines of the table."""

TABLE_1: Final = {
    "iid": {
        "fedflow": (9.41, 20.83),
        "fedflow_l": (12.37, 18.65),
        "ddm": (8.19, 25.19),
        "ddm_l": (9.03, 16.38),
        "dfd": (8.81, 29.71),
        "dfd_l": (9.58, 19.13),
        "dcfm_a": (8.53, 11.41),
        "dcfm_b": (9.32, 12.24),
    },
    "noniid": {
        "fedflow": (15.02, 20.02),
        "fedflow_l": (15.81, 17.12),
        "ddm": (7.46, 17.98),
        "ddm_l": (7.99, 18.84),
        "dfd": (7.02, 38.27),
        "dfd_l": (8.17, 31.36),
        "dcfm_a": (7.33, 9.29),
        "dcfm_b": (8.49, 9.15),
    },
}
"""FID of known and of novel combinations, by partition and method."""


def printed(partition: str, method: str) -> dict[str, Any] | None:
    """What the paper prints for a method, and its ratio to the best baseline's; ``None`` where it prints nothing."""
    rows = TABLE_1.get(partition, {})
    if method not in rows:
        return None
    best = [min(rows[baseline][i] for baseline in BASELINES) for i in range(2)]
    known, novel = rows[method]
    return {"known": known, "novel": novel, "known_ratio": known / best[0], "novel_ratio": novel / best[1]}
