"""Communication: what passes between silos, read off the ledger, beside the formulas of Table 3.

The unit is one model, sent or received by one silo. A silo that takes part in an allgather among ``N`` silos sends one
model and receives ``N - 1``; an upload and a download are one each. Table 3, per silo:

=================  ==========  ===============================================================================
federated average  ``2 T``     ``T`` rounds of a download and an upload
DDM, DFD           ``N - 1``   every other silo's expert is received; sending one's own is not counted
DCFM-A             ``R N``     ``R`` allgathers
DCFM-B             ``2``       one upload, one download
=================  ==========  ===============================================================================

A :class:`Protocol` is what a method of this package really sends, so that a ledger can be checked to the byte. Label
histograms are no models: they cost bytes and no units.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from dcfm.exchange import Exchange, Ledger

Payloads = Mapping[str, dict[str, Tensor]]
"""One message's tensors for each silo."""


def federated_averaging_units(rounds: int) -> int:
    """``2 T``: Table 3's units per silo of federated averaging over ``rounds`` rounds."""
    return 2 * rounds


def experts_units(silos: int) -> int:
    """``N - 1``: Table 3's units per silo of DDM and DFD."""
    return silos - 1


def peers_units(silos: int, rounds: int) -> int:
    """``R N``: Table 3's units per silo of DCFM-A with ``rounds`` allgathers."""
    return rounds * silos


def student_units() -> int:
    """``2``: Table 3's units per silo of DCFM-B."""
    return 2


@dataclass(frozen=True)
class Traffic:
    """What one silo sent and received, in models or in bytes."""

    sent: float | int
    received: float | int

    @property
    def total(self) -> float | int:
        """Both together."""
        return self.sent + self.received


@dataclass(frozen=True)
class Protocol:
    """What every silo sends and receives when a method of this package runs.

    Args:
        downloads, uploads: of weights, from and to the server.
        allgathers: of weights among all silos.
        histogram_uploads, histogram_allgathers: the same of label histograms.
    """

    downloads: int = 0
    uploads: int = 0
    allgathers: int = 0
    histogram_uploads: int = 0
    histogram_allgathers: int = 0

    def units(self, silos: int) -> Traffic:
        """Models sent and received by each of ``silos`` silos."""
        return Traffic(self.uploads + self.allgathers, self.downloads + self.allgathers * (silos - 1))

    def histogram_bytes(self, own: int, all_silos: int) -> Traffic:
        """Bytes of label histograms, of a silo whose own takes ``own`` bytes and all silos' together ``all_silos``."""
        sent = (self.histogram_uploads + self.histogram_allgathers) * own
        return Traffic(sent, self.histogram_allgathers * (all_silos - own))

    def run(self, exchange: Exchange, weights: Payloads, histograms: Payloads) -> None:
        """Send all of it through an exchange, without training in between: for costs at sizes that nobody trains at."""
        for _ in range(self.allgathers):
            exchange.allgather("weights", weights)
        for _ in range(self.histogram_allgathers):
            exchange.allgather("histogram", histograms)
        for silo in exchange.silos:
            for _ in range(self.histogram_uploads):
                exchange.upload(silo, "histogram", histograms[silo])
            for _ in range(self.uploads):
                exchange.upload(silo, "weights", weights[silo])
            for _ in range(self.downloads):
                exchange.download(silo, "weights", weights[silo])


def federated_averaging(rounds: int) -> Protocol:
    """``T`` downloads and uploads, and a label histogram, which says how many samples a silo's weights stand for. The
    last average stays with the server: a silo that is to sample needs one more."""
    return Protocol(downloads=rounds, uploads=rounds, histogram_uploads=1)


def experts() -> Protocol:
    """DDM and DFD: one allgather of experts and label statistics, after which every silo can sample."""
    return Protocol(allgathers=1, histogram_allgathers=1)


def peers(rounds: int) -> Protocol:
    """DCFM-A: label statistics once, an allgather before each round, and both once more after the last one, after which
    every silo can sample."""
    return Protocol(allgathers=rounds + 1, histogram_allgathers=2)


def student() -> Protocol:
    """DCFM-B: weights and label histogram up, the student down."""
    return Protocol(downloads=1, uploads=1, histogram_uploads=1)


def student_then_rounds(rounds: int) -> Protocol:
    """DCFM-B+R: as for the student, whose place the average of ``rounds`` rounds takes, and these rounds."""
    return Protocol(downloads=rounds + 1, uploads=rounds + 1, histogram_uploads=2)


def traffic(ledger: Ledger, silos: Sequence[str], kind: str, what: str = "bytes") -> dict[str, Traffic]:
    """What each silo sent and received according to a ledger; silos without messages have 0.

    Args:
        ledger: of an exchange.
        silos: whose.
        kind: of message, e.g. ``weights`` or ``histogram``.
        what: ``units`` (models) or ``bytes``.

    Raises:
        ValueError: something else is asked for.
    """
    if what not in ("units", "bytes"):
        raise ValueError(f"what={what!r}; traffic is counted in 'units' or 'bytes'")
    totals = {silo: {"sent": 0, "received": 0} for silo in silos}
    for message in ledger.messages:
        if message.kind == kind:
            totals[message.silo][message.direction] += message.values if what == "units" else message.bytes
    size = ledger.model_size if what == "units" else 1
    return {silo: Traffic(total["sent"] / size, total["received"] / size) for silo, total in totals.items()}
