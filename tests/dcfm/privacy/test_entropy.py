"""The secret generators: all of their state is entropy, and their draws are what they should be."""

import os

import pytest
import torch
from scipy.stats import kstest

from dcfm.privacy import entropy
from dcfm.privacy.entropy import secret_generator, state_words


def test_the_whole_state_is_the_systems_entropy(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[bytes] = []

    def noted(number: int, draw=os.urandom) -> bytes:
        given.append(draw(number))
        return given[-1]

    monkeypatch.setattr(entropy.os, "urandom", noted)
    words = state_words(secret_generator().get_state())
    assert [len(g) for g in given] == [4 * 624]
    assert words.tolist() == [int.from_bytes(given[0][i : i + 4], "little") for i in range(0, 4 * 624, 4)]


def test_the_generator_draws_from_these_words() -> None:
    """The first raw output, by the Mersenne Twister's own recurrence (Matsumoto & Nishimura 1998)."""
    generator = secret_generator()
    words = state_words(generator.get_state()).tolist()
    bits = (words[0] & 0x80000000) | (words[1] & 0x7FFFFFFF)
    y = words[397] ^ (bits >> 1) ^ (0x9908B0DF if bits & 1 else 0)
    y ^= y >> 11
    y ^= (y << 7) & 0x9D2C5680
    y ^= (y << 15) & 0xEFC60000
    y ^= y >> 18
    # A draw of one number in single precision keeps the low 24 bits.
    assert float(torch.rand(1, generator=generator)) == (y & 0xFFFFFF) / 2**24


def test_two_are_not_alike() -> None:
    first, second = secret_generator(), secret_generator("cpu")
    same = state_words(first.get_state()) == state_words(second.get_state())
    assert int(same.sum()) <= 2
    assert not torch.equal(torch.randn(20, generator=first), torch.randn(20, generator=second))


def test_draws_are_standard_normal() -> None:
    # A right generator fails this one time in a million.
    assert kstest(torch.randn(5000, generator=secret_generator()).numpy(), "norm").pvalue > 1e-6


def test_another_layout_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entropy, "WORDS", slice(16, 16 + 8 * 624))
    with pytest.raises(RuntimeError, match="keeps a generator's state otherwise"):
        secret_generator()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu_all_bits_of_the_seed_are_drawn() -> None:
    seeds = [secret_generator("cuda").initial_seed() for _ in range(20)]
    assert len(set(seeds)) == 20
    assert max(seeds) >= 2**56
