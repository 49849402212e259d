"""Attention and rotary positions against plain NumPy."""

from __future__ import annotations

from functools import partial

import jax
import numpy as np
import pytest
from numpy.typing import NDArray

from pilothouse.programs.language.attention import attend, chosen_kernel, rotate, rotation

_OPTIONS: dict[str, bool | int | float | str] = {
    "xla_backend_optimization_level": 0,
    "xla_llvm_disable_expensive_passes": True,
}
"""What is compiled here runs once."""
_quickly = partial(jax.jit, compiler_options=_OPTIONS)


Numbers = NDArray[np.float64]
_attended = _quickly(attend, static_argnums=3)
_rotated = _quickly(rotate)


def _reference(query: Numbers, key: Numbers, value: Numbers) -> Numbers:
    """Attend position by position and head by head, as the definition says."""
    rows, length, heads, size = query.shape
    groups = heads // key.shape[2]
    out = np.zeros_like(query)
    for row in range(rows):
        for head in range(heads):
            for place in range(length):
                keys = key[row, : place + 1, head // groups]
                scores = keys @ query[row, place, head] / np.sqrt(size)
                chances = np.exp(scores - scores.max())
                out[row, place, head] = chances / chances.sum() @ value[row, : place + 1, head // groups]
    return out


@pytest.mark.parametrize("key_heads", [4, 2])
def test_attention_is_what_the_definition_says(key_heads: int) -> None:
    """For as many key heads as heads, and for groups of two that share one."""
    draw = np.random.default_rng(1)
    query = draw.standard_normal((2, 7, 4, 8))
    key, value = draw.standard_normal((2, 2, 7, key_heads, 8))

    found = _attended(*(part.astype(np.float32) for part in (query, key, value)), "xla")

    np.testing.assert_allclose(np.asarray(found), _reference(query, key, value), atol=2e-6)


def test_no_position_sees_a_later_one() -> None:
    """Changing the last position changes nothing before it."""
    draw = np.random.default_rng(2)
    parts = [draw.standard_normal((1, 6, 2, 4)).astype(np.float32) for _ in range(3)]
    before = _attended(*parts, "xla")
    for part in parts:
        part[:, -1] += 10

    after = _attended(*parts, "xla")

    np.testing.assert_array_equal(np.asarray(after)[:, :-1], np.asarray(before)[:, :-1])
    assert not np.allclose(np.asarray(after)[:, -1], np.asarray(before)[:, -1])


def test_rotation_is_multiplication_by_a_complex_number() -> None:
    """The two halves of a head are real and imaginary parts, turned by position times frequency."""
    draw = np.random.default_rng(3)
    heads = draw.standard_normal((1, 5, 2, 8))
    cosines, sines = rotation(5, 8, 10_000.0)

    found = np.asarray(_rotated(heads.astype(np.float32), cosines, sines))

    turned = (heads[..., :4] + 1j * heads[..., 4:]) * np.exp(
        1j * np.arange(5)[:, None, None] * 10_000.0 ** (-np.arange(4) / 4)
    )
    np.testing.assert_allclose(found, np.concatenate([turned.real, turned.imag], axis=-1), atol=1e-6)


def test_rotated_products_depend_on_the_distance_only() -> None:
    """A query and a key that stand three apart have the same product wherever they stand."""
    draw = np.random.default_rng(4)
    query, key = (np.tile(draw.standard_normal(8).astype(np.float32), (1, 40, 1, 1)) for _ in range(2))
    cosines, sines = rotation(40, 8, 10_000.0)
    turned = [np.asarray(_rotated(part, cosines, sines))[0, :, 0] for part in (query, key)]

    products = [float(turned[0][place] @ turned[1][place - 3]) for place in (3, 17, 39)]

    assert np.ptp(products) < 1e-4
    assert abs(products[0] - float(turned[0][3] @ turned[1][3])) > 1e-3


@pytest.mark.parametrize(
    ("asked", "platform", "half", "head_size", "kernel"),
    [
        ("auto", "cpu", False, 64, "xla"),
        ("auto", "gpu", True, 128, "cudnn"),
        ("auto", "cuda", True, 64, "cudnn"),
        ("auto", "gpu", False, 64, "xla"),
        ("auto", "gpu", True, 60, "xla"),
        ("auto", "tpu", True, 128, "xla"),
        ("xla", "gpu", True, 128, "xla"),
        ("cudnn", "gpu", True, 128, "cudnn"),
    ],
)
def test_the_fused_kernel_is_taken_where_it_works(
    asked: str, platform: str, half: bool, head_size: int, kernel: str
) -> None:
    """On an NVIDIA GPU in half precision, for head sizes that it takes; elsewhere plain products."""
    assert chosen_kernel(asked, platform=platform, half=half, head_size=head_size) == kernel
