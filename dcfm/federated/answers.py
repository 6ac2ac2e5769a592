"""What a silo may answer to which question, and how a message that came is read as such an answer."""

from typing import Final

from flwr.app import Message

from dcfm.attributes import AttributeSpace
from dcfm.federated.flights import INTRODUCE
from dcfm.federated.parcels import Parcel, unpack
from dcfm.silos import LabelHistogram

ANSWERS: Final = {
    INTRODUCE: {"scalars", "histogram"},
    "train.stage_one": {"weights"},
    "train.peers": {"weights"},
    "train.distil": {"weights"},
    "train.fedavg": {"weights"},
    "train.deliver": {"scalars"},
}
"""By question, exactly."""


def opened(reply: Message | Exception, question: str) -> Parcel:
    """The parcel in a reply.

    Raises:
        ValueError: it holds no answer to the question, or nobody can read it.
    """
    if isinstance(reply, Exception):
        raise ValueError(f"its answer cannot be read: {said(reply)}")
    parcel = unpack(reply.content)
    if set(parcel) != ANSWERS[question]:
        raise ValueError(f"it sent {sorted(parcel)}; the answer to {question} is {sorted(ANSWERS[question])}")
    return parcel


def histogram_of(parcel: Parcel, space: AttributeSpace) -> LabelHistogram:
    """Of an introduction.

    Raises:
        ValueError: it is none, over other attributes, or of too many samples.
    """
    given, own = parcel["histogram"].get("cardinalities"), space.cardinalities
    if given is None or given.reshape(-1)[: len(own) + 1].tolist() != list(own):
        shown = None if given is None else given.reshape(-1)[: len(own) + 1].tolist()
        raise ValueError(f"its label histogram is over attributes of {shown} values, this run's have {list(own)}")
    return LabelHistogram.from_state_dict(parcel["histogram"])


def said(error: Exception) -> str:
    """For people."""
    return str(error) if isinstance(error, ValueError) else repr(error)
