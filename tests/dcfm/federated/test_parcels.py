"""What a message's content is read as: what was packed, and nothing else."""

from collections import OrderedDict

import pytest
import torch
from flwr.app import Array, ArrayRecord, RecordDict
from safetensors.torch import save

from dcfm.exchange import Payload
from dcfm.federated.parcels import by_number, pack, scalar, scalars, unpack

ONE = {"a": torch.ones(2, 3)}


def record(content: bytes, name: str = "safetensors", storage: str = "safetensors") -> ArrayRecord:
    return ArrayRecord(OrderedDict({name: Array(dtype="uint8", shape=(len(content),), stype=storage, data=content)}))


def test_what_is_packed_comes_back() -> None:
    given = {"weights/12": {"a": torch.arange(6.0).reshape(2, 3).T}, "scalars": scalars(round=3)}
    found = unpack(pack(given))
    assert list(found) == list(given)
    assert torch.equal(found["weights/12"]["a"], given["weights/12"]["a"])
    assert by_number(found, "weights") == {12: found["weights/12"]}
    assert by_number(found, "scalars") == {}
    assert scalar(found, "round") == 3


@pytest.mark.parametrize("key", ["data", "weights/-1", "weights/1/2", "weights/a"])
def test_entries_of_other_names_are_refused(key: str) -> None:
    with pytest.raises(ValueError, match="its entries are"):
        unpack(RecordDict({key: record(save(ONE))}))


@pytest.mark.parametrize(
    "found",
    [record(save(ONE), storage="numpy.ndarray"), record(save(ONE), name="a"), record(save(ONE)[:20]), record(b"")],
)
def test_entries_of_another_form_are_refused(found: ArrayRecord) -> None:
    with pytest.raises(ValueError, match="weights is no safetensors file"):
        unpack(RecordDict({"weights": found}))


@pytest.mark.parametrize(
    "payload", [{}, {"round": torch.tensor(0.5)}, {"round": torch.ones(1)}, {"round": torch.tensor(float("nan"))}]
)
def test_a_number_is_whole_and_one(payload: Payload) -> None:
    """A silo of number 0.5, or a round, would be taken for another."""
    with pytest.raises(ValueError, match="no whole number 'round'"):
        scalar({"scalars": payload}, "round")
