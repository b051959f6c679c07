"""Arithmetic on weights."""

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from inference.convert.weights import BLOCK, Quantised, quantise, rotations, sine, turned_back
from seclude.errors import ConfigError


def back(found: Quantised) -> NDArray[np.float32]:
    """Return the numbers that onnxruntime computes with."""
    numbers = (found.octets.astype(np.float32) - found.zeros[:, :, None]) * found.scales[:, :, None]
    return numbers.reshape(len(numbers), -1)


def test_sines_are_those_of_the_library() -> None:
    angles = np.concatenate([np.linspace(-20, 20, 10_001), np.arange(8192.0), np.arange(8192) * 0.73])
    assert np.abs(sine(angles) - np.sin(angles)).max() < 1e-11


def test_rotations_are_those_of_the_paper() -> None:
    cosines, sines = rotations(50, 10_000.0, np.array([1, 1, 4, 1], dtype=np.float32))
    for position in (0, 1, 49):
        for i, stretch in enumerate((1, 1, 4, 1)):
            angle = position * 10_000 ** (-2 * i / 8) / stretch
            assert cosines[position, i] == pytest.approx(math.cos(angle), abs=1e-7)
            assert sines[position, i] == pytest.approx(math.sin(angle), abs=1e-7)


def test_an_element_is_off_by_half_a_step_at_most() -> None:
    weight = np.random.default_rng(0).normal(size=(5, 3 * BLOCK)).astype(np.float32)
    weight[0, :BLOCK] = 0
    found = quantise(weight, np.zeros((5, 3), dtype=np.float32))
    assert (np.abs(back(found) - weight) <= np.repeat(found.scales, BLOCK, axis=1) * 1.0001).all()
    assert np.sqrt(np.mean((back(found) - weight) ** 2)) < 0.32 * found.scales.mean()  # of a step, as chance has it
    assert not back(found)[0, :BLOCK].any()


@pytest.mark.parametrize(("offset", "worst"), [(0, 0), (-8, 0), (-8.37, 0.06), (3, 0), (300, 2)])
@pytest.mark.parametrize("step", [0.01, 3e-4])
def test_what_lies_on_a_grid_stays_there(offset: float, worst: float, step: float) -> None:
    numbers = np.tile(np.arange(16, dtype=np.float32), 2)[None]
    weight = ((numbers + offset) * step).astype(np.float32)
    found = quantise(weight, np.full((1, 1), step, dtype=np.float32))
    assert np.abs(back(found) - weight).max() <= worst * step + 1e-6 * step
    if worst == 0:
        assert found.scales[0, 0] == np.float32(step)


def test_all_of_an_octet_is_used() -> None:
    weight = np.linspace(-127, 127, 8 * BLOCK, dtype=np.float32).round().reshape(1, -1) * np.float32(0.5)
    found = quantise(weight, np.full((1, 8), 0.5, dtype=np.float32))
    assert np.array_equal(back(found), weight)


def test_weights_that_are_not_finite_are_refused() -> None:
    for wrong in (math.inf, math.nan):
        weight = np.zeros((1, BLOCK), dtype=np.float32)
        weight[0, 3] = wrong
        with pytest.raises(ConfigError, match="not finite"):
            quantise(weight, np.zeros((1, 1), dtype=np.float32))


def test_neighbours_become_halves() -> None:
    rows = np.arange(8, dtype=np.float32)[:, None]  # two heads of four
    assert turned_back(rows, 2).ravel().tolist() == [0, 2, 1, 3, 4, 6, 5, 7]
