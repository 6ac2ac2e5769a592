"""Generators that nobody can set up again: for noise that hides what is private.

``torch.Generator.seed`` is not enough on the CPU: its Mersenne Twister keeps the low 32 bits of a seed, which can all
be tried. Here its whole state, 624 words of 32 bits, comes from the operating system's entropy. On a GPU the generator
(Philox) is its seed, and all 64 bits of it come from there. Neither is a cryptographic generator: who sees enough of
its raw output can tell the rest.
"""

import os
from typing import Final

import torch

WORDS: Final = slice(24, 24 + 8 * 624)
"""The Mersenne Twister's words within the bytes of a CPU generator's state, each in 8 bytes; before them lie the seed
and the place in the words, which a new generator has at the start."""
SIZE: Final = 5056
"""Bytes of the whole state."""
KNOWN_SEED: Final = 123_456_789
"""The first word is the seed, by which the layout is known again."""


def secret_generator(device: torch.device | str = "cpu") -> torch.Generator:
    """A generator with a state from the operating system's entropy.

    Raises:
        RuntimeError: torch keeps the state of a CPU generator in another layout than this was written for.
    """
    generator = torch.Generator(device)
    if generator.device.type != "cpu":
        return generator.manual_seed(int.from_bytes(os.urandom(8), "little"))
    state = generator.manual_seed(KNOWN_SEED).get_state()
    if len(state) != SIZE or int(state_words(state)[0]) != KNOWN_SEED:
        raise RuntimeError(f"torch {torch.__version__} keeps a generator's state otherwise; adapt {__name__}.WORDS")
    entropy = torch.frombuffer(bytearray(os.urandom(4 * 624)), dtype=torch.uint32)
    state_words(state).copy_(entropy.long())
    return generator.set_state(state)


def state_words(state: torch.Tensor) -> torch.Tensor:
    """The Mersenne Twister's words in a CPU generator's state; a view."""
    return state[WORDS].view(torch.int64)
