"""How much arithmetic a token costs, and how much a device can do.

Two counts are told. The nominal one is 6 times parameters times tokens (Kaplan et al. 2020, arXiv 2001.08361), by which
budgets are set. The true one counts the matrix products of a forward and a backward pass: not the lookup of embeddings,
which is none, but attention, of which a causal kernel does half.
"""

from __future__ import annotations

import time
from typing import Final

import jax
import jax.numpy as jnp
import numpy as np

from pilothouse.programs.language.presets import Shape

_TERA: Final = 1e12
_STATED: Final = {
    "h200 nvl": 835.5,
    "h200": 989.4,
    "h100 nvl": 835.5,
    "h100 pcie": 756.0,
    "h100": 989.4,
    "gh200": 989.4,
    "b200": 2250.0,
    "a100": 312.0,
    "l40s": 362.0,
    "tpu v4": 275.0,
    "tpu v5 lite": 197.0,
    "tpu v5e": 197.0,
    "tpu v5p": 459.0,
    "tpu v5": 459.0,
    "tpu v6 lite": 918.0,
    "tpu v6e": 918.0,
}
"""Dense bfloat16 TFLOP/s as the makers state them, by a part of the device's name; the first that fits counts."""

_AIM: Final = 0.45
"""Of true MFU on one H200."""
_PROBE_SIZE: Final = 1024
_PROBE_SECONDS: Final = 0.3
_PROBE_TURNS_MAX: Final = 50


def parameter_count(shape: Shape, vocabulary: int) -> int:
    """Count the learnt numbers."""
    embeddings = vocabulary * shape.width * (1 if shape.tied else 2)
    return embeddings + body_parameter_count(shape)


def body_parameter_count(shape: Shape) -> int:
    """Count the learnt numbers besides embedding and head."""
    return _matrix_parameters(shape) + (2 * shape.layers + 1) * shape.width


def _matrix_parameters(shape: Shape) -> int:
    heads = 2 * shape.heads + 2 * shape.key_heads
    return shape.layers * shape.width * (heads * shape.head_size + 3 * shape.hidden)


def true_flops_per_token(shape: Shape, vocabulary: int, sequence: int, *, causal: bool = True) -> float:
    """Return the FLOPs of a forward and a backward pass for one token of a sequence.

    Without `causal` attention counts in full, as plain products do it.
    """
    products = 2 * (_matrix_parameters(shape) + vocabulary * shape.width)
    seen = (sequence + 1) / 2 if causal else sequence
    attention = 4 * shape.layers * shape.heads * shape.head_size * seen
    return 3 * (products + attention)


def step_count(*, flops_target: float, parameters: int, batch: int, sequence: int) -> int:
    """Return how many steps a target buys, at least one: tokens are target // (6 * parameters)."""
    tokens = int(flops_target // (6 * parameters))
    return max(1, tokens // (batch * sequence))


def stated_peak(device_kind: str) -> float | None:
    """Return the TFLOP/s that the maker states for a device, or None for one that is not known here."""
    name = device_kind.lower()
    return next((peak for part, peak in _STATED.items() if part in name), None)


def aimed_tokens_per_s(flops_per_token: float) -> float:
    """Return the tokens a second of one H200 at the aimed share of its peak."""
    return _AIM * _STATED["h200"] * _TERA / flops_per_token


def measured_peak(*, size: int = _PROBE_SIZE) -> float:
    """Measure the TFLOP/s of a float32 matrix product on the first device: the best of some turns."""
    draw = np.random.default_rng(0)
    matrix = jnp.asarray(draw.standard_normal((size, size), dtype=np.float32))
    product = jax.jit(jnp.matmul)
    product(matrix, matrix).block_until_ready()
    best, since = float("inf"), time.perf_counter()
    for _ in range(_PROBE_TURNS_MAX):
        start = time.perf_counter()
        product(matrix, matrix).block_until_ready()
        end = time.perf_counter()
        best = min(best, end - start)
        if end - since > _PROBE_SECONDS:
            break
    return 2 * size**3 / best / _TERA


def peak_tflops(asked: float, device: jax.Device) -> tuple[float | None, str]:
    """Return what a device can do, and where the figure is from: the config, the maker, or a measurement.

    Only a processor is measured. What is not known of another device is None: a product in float32 would make MFU look
    many times better than it is.
    """
    if asked:
        return asked, "configured"
    if (stated := stated_peak(device.device_kind)) is not None:
        return stated, f"stated for {device.device_kind}"
    if device.platform == "cpu":
        return measured_peak(), f"measured on {device.device_kind}"
    return None, f"not known for {device.device_kind}"
