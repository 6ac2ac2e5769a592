"""The exchange: the only door between silos, and the ledger of everything that went through it.

Four kinds of message pass, each checked to be what it says. That keeps mistakes in; a method that means to can still
write a sample's numbers into weights, scalars or sums, so read one before you run it on data that must not leave:

==============  ===========================================================================================
``weights``     names, shapes and types of the declared architecture, finite
``histogram``   a :class:`~dcfm.silos.LabelHistogram`: counts of combinations of the task's own attributes
``scalars``     up to :data:`MOST_SCALARS` single finite numbers (losses, sample counts) of a type in :data:`NUMBERS`,
                named as in :data:`NAME`: a name is no room for a text
``sums``        for a common normaliser: ``count`` of at least :data:`FEWEST_SUMMED` samples, and per coordinate
                their ``sum`` and ``sum_of_squares``, of a type in :data:`NUMBERS`
==============  ===========================================================================================

A message travels as the bytes of a safetensors file and every receiver reads its own copy from them, on the CPU;
the ledger's sizes and hashes are those of the bytes. What the ledger says of a payload is worked out once, however many
silos receive it, and a copy is made when its receiver looks at it: an allgather among 1,000 silos is a million
messages.

Cost (Table 3) is counted per silo in models sent or received: an :meth:`~Exchange.upload` or
:meth:`~Exchange.download` of weights is 1; an :meth:`~Exchange.allgather` among ``N`` silos is ``N``, one sent and
``N - 1`` received (with ``m`` peers wanted, ``m + 1``). So DCFM-A with ``R`` rounds costs ``R * N``, DCFM-B 2, and
FedAvg over ``T`` rounds ``2 T``.
"""

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Final

import torch
from safetensors.torch import load as from_bytes
from safetensors.torch import save as to_bytes
from torch import Tensor

from dcfm.artefacts import write_text_atomically
from dcfm.attributes import AttributeSpace
from dcfm.silos import LabelHistogram
from dcfm.weights import check_architecture, check_finite, model_size

Payload = dict[str, Tensor]

SERVER: Final = "server"
"""The name of the other end of uploads and downloads; no silo may have it."""
MOST_SCALARS: Final = 64
NAME: Final = re.compile("[a-z][a-z0-9_]{0,31}")
"""Of a scalar."""
FEWEST_SUMMED: Final = 16
NUMBERS: Final = (torch.float32, torch.float64, torch.int64)
"""Types of scalars and sums: what every receiver can compute with."""


@dataclass(frozen=True, slots=True)
class Message:
    """One line of the ledger, seen from a silo: what went out of it or came into it. Never the content.

    Args:
        silo: whose line it is.
        direction: ``sent`` or ``received``.
        peer: the other end: a silo, ``server``, or ``all`` for what is sent into an allgather.
        kind: ``weights``, ``histogram``, ``scalars`` or ``sums``.
        bytes: size on the wire.
        values: how many numbers.
        shapes: of each tensor, by name.
        sha256: of the bytes.
    """

    silo: str
    direction: str
    peer: str
    kind: str
    bytes: int
    values: int
    shapes: dict[str, list[int]]
    sha256: str

    def line(self) -> str:
        """As a ledger's file has it. Without ``asdict``, whose copies take most of the time of a ledger that is written
        whenever answers come."""
        return json.dumps({f.name: getattr(self, f.name) for f in fields(self)}) + "\n"


@dataclass
class Ledger:
    """Every message, in order.

    Args:
        model_size: the number of values in one model, the unit of :meth:`units`.
        messages: so far.
    """

    model_size: int
    messages: list[Message] = field(default_factory=list)

    def units(self) -> dict[str, float]:
        """Weights sent and received by each silo, in models (Table 3)."""
        return {silo: total / self.model_size for silo, total in self._sum("values", kinds=["weights"]).items()}

    def bytes(self) -> dict[str, int]:
        """Bytes of all kinds sent and received by each silo."""
        return self._sum("bytes", kinds=KINDS)

    def _sum(self, what: str, kinds: Iterable[str]) -> dict[str, int]:
        total = {message.silo: 0 for message in self.messages}
        for message in self.messages:
            if message.kind in kinds:
                total[message.silo] += getattr(message, what)
        return total

    def to_jsonl(self, path: str | Path) -> None:
        """Write one JSON object a message."""
        write_text_atomically(path, "".join(message.line() for message in self.messages))

    @classmethod
    def from_jsonl(cls, path: str | Path, model_size: int, least: int = 0) -> "Ledger":
        """Read what :meth:`to_jsonl` wrote, to go on with after an interruption.

        Raises:
            ValueError: there is none, it is damaged, or has fewer than ``least`` messages.
        """
        try:
            lines = Path(path).read_text(encoding="utf-8").splitlines()
            messages = [Message(**json.loads(line)) for line in lines]
            if bad := [m for m in messages if not (_whole(m.bytes) and _whole(m.values) and m.kind in KINDS)]:
                raise ValueError(f"bytes, values and kind of a message cannot be: {bad[0].line().strip()}")
            if len(messages) < least:
                raise ValueError(f"it has {len(messages)} messages, at least {least} had passed")
            return cls(model_size, messages)
        except FileNotFoundError as error:
            raise ValueError(
                f"{path}, the ledger of a finished training, is gone; put it back, or train anew"
            ) from error
        except (ValueError, TypeError) as error:
            raise ValueError(f"{path} is no ledger ({error}); remove it and run the exchange again") from error


@dataclass(frozen=True)
class _Packed:
    """A payload on its way: its bytes, and what the ledger says of them."""

    content: bytes
    values: int
    shapes: dict[str, list[int]]
    sha256: str

    @classmethod
    def of(cls, payload: Payload) -> "_Packed":
        content = to_bytes({name: tensor.detach().cpu().contiguous().clone() for name, tensor in payload.items()})
        shapes = {name: list(tensor.shape) for name, tensor in sorted(payload.items())}
        return cls(content, model_size(payload), shapes, hashlib.sha256(content).hexdigest())


class Received(Mapping[str, Payload]):
    """What one silo got from an allgather, by the name of the silo it comes from: copies of its own, each read from
    the bytes when it is first asked for."""

    def __init__(self, packed: Mapping[str, _Packed]) -> None:
        self._packed = packed
        self._copies: dict[str, Payload] = {}

    def __getitem__(self, peer: str) -> Payload:
        if peer not in self._copies:
            self._copies[peer] = from_bytes(self._packed[peer].content)
        return self._copies[peer]

    def __iter__(self) -> Iterator[str]:
        return iter(self._packed)

    def __len__(self) -> int:
        return len(self._packed)


class Exchange:
    """The exchange of one process that plays all silos; a network's exchange has the same three methods.

    Args:
        silos: their names.
        template: tensors with the names and shapes of the one architecture that all silos train, for example a
            network's ``state_dict()``. Only weights of this architecture pass.
        space: the attributes; histograms of others, in which samples could hide, do not pass. ``None`` lets all pass,
            for messages that are only counted.
        ledger: of an earlier part of the same run, to be continued.

    Raises:
        ValueError: no silo, a name given twice or reserved, or an empty template.
    """

    def __init__(
        self,
        silos: list[str],
        *,
        template: Mapping[str, Tensor],
        space: AttributeSpace | None = None,
        ledger: Ledger | None = None,
    ) -> None:
        if not silos or len(set(silos)) != len(silos) or {SERVER, "all"} & set(silos):
            raise ValueError(f"silos = {silos}; give at least one, names unique and neither {SERVER!r} nor 'all'")
        if not template:
            raise ValueError("the template is empty; give the state_dict of the network that the silos train")
        self.silos = tuple(silos)
        self.template = {name: tensor.detach().to("meta") for name, tensor in template.items()}
        self.space = space
        self.ledger = Ledger(model_size(self.template)) if ledger is None else ledger

    def allgather(
        self, kind: str, payloads: Mapping[str, Payload], wanted: Mapping[str, Sequence[str]] | None = None
    ) -> dict[str, Received]:
        """Give every silo what each silo contributes.

        Args:
            kind: of all the payloads.
            payloads: one a silo.
            wanted: for each silo, whose payloads it receives, its own among them; everyone's if not given.

        Returns:
            For each silo, its own copy of the payloads by the name of the silo they come from.

        Raises:
            ValueError: a silo is missing or unknown, or a payload is not of its kind; nothing has been sent then.
        """
        if set(payloads) != set(self.silos):
            raise ValueError(
                f"an allgather needs one payload from each of {list(self.silos)}; given are {list(payloads)}"
            )
        if wanted is None:
            wanted = dict.fromkeys(self.silos, self.silos)
        if set(wanted) != set(self.silos) or not all(set(peers) <= set(self.silos) for peers in wanted.values()):
            raise ValueError(f"wanted={dict(wanted)} must give for each of {list(self.silos)} some of them")
        packed = {silo: self._pack(kind, payloads[silo], silo) for silo in self.silos}
        for silo, message in packed.items():
            self._record(silo, "sent", "all", kind, message)
        for silo in self.silos:
            for peer in wanted[silo]:
                if peer != silo:
                    self._record(silo, "received", peer, kind, packed[peer])
        return {silo: Received({peer: packed[peer] for peer in wanted[silo]}) for silo in self.silos}

    def upload(self, silo: str, kind: str, payload: Payload) -> Payload:
        """Send from a silo to the server; returns the server's copy.

        Raises:
            ValueError: an unknown silo, or a payload that is not of its kind.
        """
        return self._send(silo, "sent", kind, payload)

    def download(self, silo: str, kind: str, payload: Payload) -> Payload:
        """Send from the server to a silo; returns the silo's copy.

        Raises:
            ValueError: an unknown silo, or a payload that is not of its kind.
        """
        return self._send(silo, "received", kind, payload)

    def _send(self, silo: str, direction: str, kind: str, payload: Payload) -> Payload:
        if silo not in self.silos:
            raise ValueError(f"unknown silo {silo!r}; the silos are {', '.join(self.silos)}")
        message = self._pack(kind, payload, silo)
        self._record(silo, direction, SERVER, kind, message)
        return from_bytes(message.content)

    def _pack(self, kind: str, payload: Payload, silo: str) -> _Packed:
        if kind not in KINDS:
            raise ValueError(
                f"messages of kind {kind!r} do not pass; the kinds are {', '.join(KINDS)}. Samples stay in their silo"
            )
        try:
            KINDS[kind](payload, self)
        except ValueError as error:
            raise ValueError(f"silo {silo!r}: this is no message of kind {kind!r}: {error}") from error
        return _Packed.of(payload)

    def _record(self, silo: str, direction: str, peer: str, kind: str, message: _Packed) -> None:
        self.ledger.messages.append(
            Message(
                silo=silo,
                direction=direction,
                peer=peer,
                kind=kind,
                bytes=len(message.content),
                values=message.values,
                shapes=message.shapes,
                sha256=message.sha256,
            )
        )


def _whole(number: object) -> bool:
    return isinstance(number, int) and not isinstance(number, bool) and number >= 0


def _check_weights(payload: Payload, exchange: Exchange) -> None:
    template = exchange.template
    check_architecture(payload, template)
    other = [
        f"{name} is {payload[name].dtype} instead of {value.dtype}"
        for name, value in template.items()
        if payload[name].dtype != value.dtype
    ]
    if other:
        raise ValueError(f"weights of another type: {'; '.join(other[:3])}{' ...' if len(other) > 3 else ''}")
    check_finite(payload)


def _check_histogram(payload: Payload, exchange: Exchange) -> None:
    said, space = payload.get("cardinalities"), exchange.space
    if space is not None and said is not None:  # first: a histogram is as large as the values that it claims
        given = tuple(said.reshape(-1)[: max(space.size, 8) + 1].tolist())
        if given != space.cardinalities:
            shown = f"{str(given[:8])[:-1]}, ...)" if len(given) > 8 else str(given)
            raise ValueError(f"it is over attributes of {shown} values, the task's have {space.cardinalities}")
    LabelHistogram.from_state_dict(payload)


def _check_numbers(payload: Payload) -> None:
    other = {name: str(tensor.dtype) for name, tensor in payload.items() if tensor.dtype not in NUMBERS}
    if other:
        raise ValueError(f"types {dict(list(other.items())[:3])}; give one of {', '.join(map(str, NUMBERS))}")


def _check_scalars(payload: Payload, exchange: Exchange) -> None:
    if not 0 < len(payload) <= MOST_SCALARS or any(tensor.ndim for tensor in payload.values()):
        shapes = {name: tuple(tensor.shape) for name, tensor in list(payload.items())[:3]}
        raise ValueError(f"{len(payload)} tensors, {shapes} ...; give 1 to {MOST_SCALARS} of shape ()")
    if other := [name for name in payload if not NAME.fullmatch(name)]:
        raise ValueError(f"the name {other[0][:40]!r}; scalars' names are of up to 32 of a-z, 0-9, _, a letter first")
    _check_numbers(payload)
    check_finite(payload)


def _check_sums(payload: Payload, exchange: Exchange) -> None:
    names = {"count", "sum", "sum_of_squares"}
    if set(payload) != names:
        raise ValueError(f"names {sorted(payload)}; give {sorted(names)}")
    count, total, squares = payload["count"], payload["sum"], payload["sum_of_squares"]
    if count.ndim or total.ndim != 1 or total.shape != squares.shape:
        shapes = {name: tuple(tensor.shape) for name, tensor in payload.items()}
        raise ValueError(f"shapes {shapes}; the count is a scalar, the sums have one entry a coordinate")
    _check_numbers(payload)
    if count < FEWEST_SUMMED:
        raise ValueError(f"sums of {float(count):g} samples would show them; sum at least {FEWEST_SUMMED}")
    check_finite(payload)
    least = total.double().square() / count.double() * (1 - SLACK)  # by Cauchy and Schwarz
    if count != count.round() or (squares.double() < least).any():
        raise ValueError(
            f"no {float(count):g} samples have these sums: the count is whole, and no square of a sum is above the "
            "count times the sum of squares"
        )


SLACK: Final = 1e-3
"""How far sums of squares may fall short by rounding, as a fraction."""

KINDS: Final[dict[str, Callable[[Payload, Exchange], None]]] = {
    "weights": _check_weights,
    "histogram": _check_histogram,
    "scalars": _check_scalars,
    "sums": _check_sums,
}
"""What may pass, and the check of it."""
