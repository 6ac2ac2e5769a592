"""Weights' fingerprints."""

import hashlib

import pytest
import torch

from dcfm.weights import fingerprint


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16, torch.float8_e4m3fn, torch.int64, torch.bool])
def test_a_fingerprint_is_of_names_shapes_and_bytes(kind: torch.dtype) -> None:
    value = torch.tensor([[0.0, 1.0], [2.0, 3.0]]).to(kind)
    content = value.contiguous().view(torch.uint8).numpy().tobytes()
    assert fingerprint([{"w": value}]) == hashlib.sha256(b"w(2, 2)" + content).hexdigest()
    assert fingerprint([{"w": value}]) != fingerprint([{"w": value.flip(0)}])
    assert fingerprint([{"w": value[0, 1]}]) != fingerprint([{"w": value[0, 1:]}])
