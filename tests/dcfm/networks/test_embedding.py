"""The embedding of time: bounded, and different times differ."""

import torch

from dcfm.networks.embedding import sinusoidal_embedding


def test_embedding_is_bounded_and_tells_times_apart() -> None:
    rows = sinusoidal_embedding(torch.linspace(0, 1, 101), 64)
    assert rows.shape == (101, 64)
    torch.testing.assert_close(rows.square().sum(1), torch.full((101,), 32.0))  # sines and cosines in pairs
    gaps = torch.cdist(rows, rows) + torch.eye(101) * 9
    assert gaps.min() > 0.1
