"""A small decoder that computes: its logits depend on every token of a slot, in their order, and on nothing else.

Whatever an engine mixes up (two slots, a token twice, what was in a slot before) changes every token from there on.
"""

import threading
import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

MULTIPLIER, INCREMENT, MODULUS = 6364136223846793005, 1442695040888963407, 1 << 64  # Knuth's MMIX generator
VOCABULARY = 256  # a token is an octet


class Tiny:
    """Slots of states, and a log of what was done: ("prefill", slot, tokens), ("step", slots), ("clear", slot)."""

    def __init__(
        self, slots: int, *, context: int = 4096, token_seconds: float = 0.0, step_seconds: float = 0.0
    ) -> None:
        self.slots, self.context, self.vocabulary = slots, context, VOCABULARY
        self.eos = frozenset({0})
        self._token_seconds, self._step_seconds = token_seconds, step_seconds
        self._states = [1] * slots
        self.log: list[tuple[str, object, object]] = []
        self.fails: Callable[[str, Sequence[int]], bool] = lambda what, slots: False
        self.gate: threading.Semaphore | None = None
        """Where there is one, each step waits for it."""

    def prefill(self, slot: int, ids: Sequence[int]) -> NDArray[np.float32]:
        self.log.append(("prefill", slot, len(ids)))
        if self.fails("prefill", [slot]):
            raise RuntimeError(f"tokens {ids}")
        time.sleep(len(ids) * self._token_seconds)
        for token in ids:
            self._states[slot] = follow(self._states[slot], token)
        return logits(self._states[slot])

    def step(self, tokens: Mapping[int, int]) -> dict[int, NDArray[np.float32]]:
        if self.gate is not None:
            self.gate.acquire()
        self.log.append(("step", tuple(tokens), None))
        if self.fails("step", list(tokens)):
            raise RuntimeError(f"tokens {tokens}")
        time.sleep(self._step_seconds)
        for slot, token in tokens.items():
            self._states[slot] = follow(self._states[slot], token)
        return {slot: logits(self._states[slot]) for slot in tokens}

    def clear(self, slot: int) -> None:
        self.log.append(("clear", slot, None))
        self._states[slot] = 1

    def encode(self, text: str, *, special: bool = False) -> list[int]:
        """Octets are tokens; the marks of ChatML are octets that UTF-8 has not."""
        octets = text.encode()
        if special:
            octets = octets.replace(b"<|im_start|>", b"\xfe").replace(b"<|im_end|>", b"\xff")
        return list(octets)

    def piece(self, token: int) -> bytes:
        return bytes([token]) if token < 0xFE else b""


def follow(state: int, token: int) -> int:
    return (state * MULTIPLIER + INCREMENT + token) % MODULUS


def logits(state: int) -> NDArray[np.float32]:
    """Return logits with the state's own token on top."""
    row = np.zeros(VOCABULARY, dtype=np.float32)
    row[state >> 56] = 1
    return row


def alone(ids: Sequence[int], most: int) -> list[int]:
    """Return what one who is alone would write: at most so many tokens, a 0 being the last."""
    state, written = 1, list[int]()
    for token in ids:
        state = follow(state, token)
    while len(written) < most and 0 not in written:
        written.append(state >> 56)
        state = follow(state, written[-1])
    return written
