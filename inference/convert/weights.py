"""Arithmetic on weights whose results are the same octets on every machine: what IEEE 754 rounds in one way only.

Libraries differ in the last bit of sines and powers, and then in the digest of the whole model. So powers are computed
in decimal and sines by additions and multiplications.
"""

import math
from decimal import Context, Decimal
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from inference.convert.quants import GROUP
from seclude.errors import ConfigError

BLOCK: Final = GROUP  # elements that share a scale and a zero
LIMIT: Final = 255  # of an octet
MAX_PARTS: Final = 17  # of a step of a four-bit grid, whose 15 steps then fill an octet
DIGITS: Final = 40  # of a power, of which a float keeps 16
TAYLOR_TERMS: Final = 14  # of the sine up to pi: the next one is under 1e-16

Floats = NDArray[np.float32]
Octets = NDArray[np.uint8]


class Quantised(NamedTuple):
    """A matrix as MatMulNBits takes it."""

    octets: Octets
    """[rows, blocks, BLOCK]"""
    scales: Floats
    """[rows, blocks]"""
    zeros: Octets
    """[rows, blocks]"""


def quantise(weight: Floats, steps: Floats) -> Quantised:
    """Return a matrix as octets, with a scale and a zero for each BLOCK of a row: (octet - zero) x scale.

    `steps` says how far the numbers of each block lie apart, or 0. Where they do lie on a grid, a scale is sought that
    divides its step and of which the grid's offset is nearly a multiple: little or nothing is lost then.
    """
    if not np.isfinite(weight).all() or not np.isfinite(steps).all():
        raise ConfigError("the GGUF file has weights that are not finite")
    blocks = weight.reshape(len(weight), -1, BLOCK)
    low, high = blocks.min(axis=2), blocks.max(axis=2)
    scales = (np.maximum(high, 0) - np.minimum(low, 0)) / np.float32(LIMIT)
    lost = scales / 4  # as much, on average, without a grid
    for parts in range(1, MAX_PARTS + 1):
        finer = np.where(steps > 0, steps, 1) / np.float32(parts)
        off = np.abs(low - np.rint(low / finer) * finer)
        zero = np.clip(np.rint(-low / finer), 0, LIMIT)
        fits = (steps > 0) & (np.rint(low / finer) + zero >= 0) & (np.rint(high / finer) + zero <= LIMIT)
        better = fits & (off < lost)
        scales, lost = np.where(better, finer, scales), np.where(better, off, lost)
    divisors = np.where(scales == 0, np.float32(1), scales)
    zeros = np.clip(np.rint(-low / divisors), 0, LIMIT)
    octets = np.clip(np.rint(blocks / divisors[:, :, None]) + zeros[:, :, None], 0, LIMIT)
    return Quantised(octets.astype(np.uint8), scales, zeros.astype(np.uint8))


def turned_back(weight: Floats, heads: int) -> Floats:
    """Return a query's or key's rows as halves that rotate together; a GGUF file has them as neighbours."""
    return weight.reshape(heads, -1, 2, weight.shape[1]).swapaxes(1, 2).reshape(weight.shape)


def rotations(context: int, theta: float, stretch: Floats) -> tuple[Floats, Floats]:
    """Return cosines and sines of each position's angles; each wave length is `stretch` times its power of theta."""
    exact, count = Context(prec=DIGITS), len(stretch)
    exponents = [exact.divide(Decimal(-i), Decimal(count)) for i in range(count)]
    waves = np.array([float(exact.power(Decimal(theta), exponent)) for exponent in exponents]) / stretch
    angles = np.arange(context, dtype=np.float64)[:, None] * waves
    return sine(angles + math.pi / 2).astype(np.float32), sine(angles).astype(np.float32)


def sine(angles: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return sines by additions and multiplications alone; libraries differ in their last bit."""
    reduced = angles - np.rint(angles / (2 * math.pi)) * (2 * math.pi)
    term = total = reduced
    for n in range(1, TAYLOR_TERMS):
        term = term * reduced * reduced * (-1 / (2 * n * (2 * n + 1)))
        total = total + term
    return total
