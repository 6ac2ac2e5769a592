"""Parcels: what a Flower message contains. Each entry is the bytes of a safetensors file, under ``kind`` or, if it is
another silo's, under ``kind/number``; these bytes are what the ledger gives size and hash of. Nothing else is sent, no
text either, except the name of the phase, which is the message's type, and an error's class name."""

from collections import OrderedDict
from collections.abc import Mapping

from flwr.app import Array, ArrayRecord, RecordDict
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, tensor

from dcfm.exchange import KINDS, Payload
from dcfm.weights import Weights, fingerprint

Parcel = dict[str, Payload]
"""Payloads by ``kind`` or ``kind/number``."""

STORAGE = "safetensors"


def kind_of(key: str) -> str:
    """The kind of an entry."""
    return key.split("/")[0]


def pack(parcel: Mapping[str, Payload]) -> RecordDict:
    """A parcel as the content of a Flower message."""
    records: dict[str, ArrayRecord] = {}
    for key, payload in parcel.items():
        content = save({name: value.detach().cpu().contiguous().clone() for name, value in payload.items()})
        array = Array(dtype="uint8", shape=(len(content),), stype=STORAGE, data=content)
        records[key] = ArrayRecord(OrderedDict({STORAGE: array}))
    return RecordDict(records)  # type: ignore[arg-type] - its values may be of any record type


def unpack(content: RecordDict) -> Parcel:
    """The inverse of :func:`pack`.

    Raises:
        ValueError: a record that is no entry of a parcel.
    """
    parcel: Parcel = {}
    for key, record in content.items():
        kind, _, number = str(key).partition("/")
        if kind not in KINDS or (number and not number.isdecimal()):
            raise ValueError(f"the message holds {key!r}; its entries are {', '.join(KINDS)}, perhaps with /number")
        if not isinstance(record, ArrayRecord) or list(record) != [STORAGE] or record[STORAGE].stype != STORAGE:
            raise ValueError(f"the message's {key} is no safetensors file")
        try:
            parcel[str(key)] = load(record[STORAGE].data)
        except (SafetensorError, ValueError, KeyError) as error:
            raise ValueError(f"the message's {key} is no safetensors file: {error}") from error
    return parcel


def scalars(**values: int | float) -> Payload:
    """Numbers as a payload of kind ``scalars``."""
    return {name: tensor(float(value)) for name, value in values.items()}


def scalar(parcel: Mapping[str, Payload], name: str) -> int:
    """A whole number among a parcel's scalars.

    Raises:
        ValueError: it is not there.
    """
    value = parcel.get("scalars", {}).get(name)
    if not isinstance(value, Tensor) or value.ndim or value.is_complex() or not float(value).is_integer():
        raise ValueError(f"the message has no whole number {name!r} among its scalars")
    return int(value)


def mark(weights: Weights) -> int:
    """A number by which a silo finds which of its networks the server means; small enough for a scalar."""
    return int(fingerprint([weights])[:6], 16)


def by_number(parcel: Mapping[str, Payload], kind: str) -> dict[int, Payload]:
    """The other silos' payloads of a kind, by their numbers."""
    found = {}
    for key, payload in parcel.items():
        name, _, number = key.partition("/")
        if name == kind and number:
            found[int(number)] = payload
    return found
