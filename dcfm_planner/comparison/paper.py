"""The paper's own values for this table (arXiv 2606.10153, Table 2), of which only the non-IID rows are at hand."""

from typing import Final

SOURCE: Final = "Compositional Generative Modeling from Decentralized Data, arXiv 2606.10153, Table 2, non-IID"

TABLE_2: Final = {
    ("noniid", "paper"): {
        "ddm_l": {"known": 0.6767, "novel": 0.2967},
        "dfd_l": {"known": 0.6867, "novel": 0.1833},
        "dcfm_a": {"known": 0.6833, "novel": 0.53},
        "dcfm_b": {"known": 0.6567, "novel": 0.5467},
    }
}
"""Success rates by (partition, protocol), method, and known or novel pairs; of what is absent nothing is said."""


def printed(partition: str, protocol: str, method: str) -> dict[str, float] | None:
    """What the paper prints for a method, or ``None``."""
    return TABLE_2.get((partition, protocol), {}).get(method)
