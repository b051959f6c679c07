"""Seeded damage to octets that were good, and what may come of it: a refusal of the right family and nothing else."""

import random
from collections.abc import Callable
from typing import Final

from seclude.errors import DecodeError

EDGES: Final = (0x00, 0x01, 0x3F, 0x40, 0x7F, 0x80, 0xBF, 0xC0, 0xFF)  # where varints and signs change


def mutated(seeds: list[bytes], rng: random.Random) -> bytes:
    """Return one of the seeds after one to four changes, or now and then plain noise."""
    if rng.random() < 0.02:
        return rng.randbytes(rng.randrange(200))
    data = bytearray(rng.choice(seeds))
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(data) + 1)
        match rng.randrange(6):
            case 0 if at < len(data):
                data[at] ^= 1 << rng.randrange(8)
            case 1 if at < len(data):
                data[at] = rng.choice(EDGES)
            case 2:
                del data[at : at + rng.randint(1, 8)]
            case 3:
                data[at:at] = rng.randbytes(rng.randint(1, 8))
            case 4:
                other = rng.choice(seeds)
                data[at:] = other[rng.randrange(len(other) + 1) :]
            case _:
                del data[at:]
    return bytes(data)


def refuse_damage(
    again: Callable[[bytes], None],
    seeds: list[bytes],
    executions: int,
    refusals: type[Exception] | tuple[type[Exception], ...] = DecodeError,
) -> None:
    """Give a reader its seeds, which it must take, and damaged ones, which it takes or refuses."""
    rng = random.Random(again.__name__)
    for seed in seeds:
        again(seed)
    refused = 0
    for _ in range(executions):
        data = mutated(seeds, rng)
        try:
            again(data)
        except refusals:
            refused += 1
        except Exception as exc:
            raise AssertionError(f"{again.__name__} raised {exc!r} on {data.hex()}") from exc
    assert refused > executions // 200, again.__name__  # otherwise the damage tests nothing
