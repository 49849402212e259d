"""Noisy surfaces with a known truth: functions of COCO's `bbob` suite, and the noise of its noisy one.

COCO's own noisy suite draws from one stream for the whole process. Here a run's noise follows from its config and its
seed, as a training's does, so the published models of noise (Hansen, Finck, Ros, Auger: "Real-Parameter Black-Box
Optimization Benchmarking 2009: Noisy Functions Definitions") are written out below over the noiseless functions.

What is reported of a run is the logarithm to base 10 of its noisy height above the optimum: heights span many orders
of magnitude, and rules that only ask which of two runs is lower see no difference.
"""

from __future__ import annotations

import hashlib
import importlib.util
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from pilothouse.errors import NotFound

LOW, HIGH = -5.0, 5.0
"""The range of every coordinate."""

LEAST = 1e-8
"""The height at which COCO counts a function as solved; noise never goes below it."""

OFFSET = 1000.0
"""What Cauchy noise is centred on before it is cut off at zero."""


class Noise(StrEnum):
    """The models of noise, each as strong as in COCO's noisy suite."""

    NONE = "none"
    MODERATE_GAUSSIAN = "moderate Gaussian"
    MODERATE_UNIFORM = "moderate uniform"
    SEVERE_GAUSSIAN = "severe Gaussian"
    SEVERE_UNIFORM = "severe uniform"
    SEVERE_CAUCHY = "severe Cauchy"


SHAPES: Mapping[str, tuple[int, Noise]] = {
    "sphere": (1, Noise.MODERATE_GAUSSIAN),
    "rosenbrock": (8, Noise.MODERATE_UNIFORM),
    "step-ellipsoid": (7, Noise.SEVERE_GAUSSIAN),
    "ellipsoid": (10, Noise.SEVERE_UNIFORM),
    "different-powers": (14, Noise.SEVERE_CAUCHY),
    "schaffers": (17, Noise.SEVERE_GAUSSIAN),
    "gallagher": (21, Noise.SEVERE_GAUSSIAN),
}
"""The surfaces by name: the number of the function in `bbob`, and the noise over it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Surface:
    """A function of some coordinates with its noise; `height` is the noiseless one, 0 at the optimum."""

    name: str
    dims: int
    height: Callable[[Sequence[float]], float]
    noise: Noise

    def measure(self, place: Sequence[float], seed: int) -> float:
        """Return what one run reports: the same place and seed always have the same luck."""
        luck = hashlib.sha256(f"{self.name}/{self.dims}/{seed}/{list(place)!r}".encode()).digest()
        rng = np.random.default_rng(int.from_bytes(luck[:8], "big"))
        return math.log10(max(noisy(self.height(place), self.noise, self.dims, rng), LEAST))


def noisy(height: float, noise: Noise, dims: int, rng: np.random.Generator) -> float:
    """Return a height with noise as COCO defines it."""
    match noise:
        case Noise.NONE:
            return height
        case Noise.MODERATE_GAUSSIAN:
            return height * math.exp(0.01 * float(rng.normal()))
        case Noise.SEVERE_GAUSSIAN:
            return height * math.exp(float(rng.normal()))
        case Noise.MODERATE_UNIFORM:
            return _uniform(height, 0.01 * (0.49 + 1 / dims), 0.01, rng)
        case Noise.SEVERE_UNIFORM:
            return _uniform(height, 0.49 + 1 / dims, 1.0, rng)
        case Noise.SEVERE_CAUCHY:
            jump = float(rng.normal()) / (abs(float(rng.normal())) + 1e-199)
            return height + max(0.0, OFFSET + (jump if float(rng.random()) < 0.2 else 0.0))


def _uniform(height: float, power: float, shrink: float, rng: np.random.Generator) -> float:
    low, high = float(float(rng.random()) ** shrink), float(rng.random())
    lifted = float((1e9 / (height + 1e-99)) ** (power * high))
    return height * low * max(1.0, lifted)


def coco_surface(name: str, *, dims: int, instance: int) -> Surface:
    """Return a surface of COCO; without its package `NotFound` says what to install."""
    if importlib.util.find_spec("cocoex") is None:
        raise NotFound("the surfaces are not installed", fix="install `pilothouse[bench]`")
    from cocoex import BareProblem  # noqa: PLC0415  an extra

    number, noise = SHAPES[name]
    problem = BareProblem("bbob", number, dims, instance)
    lowest = float(problem.best_value())
    return Surface(
        name=name, dims=dims, height=lambda place: max(0.0, float(problem(list(place))) - lowest), noise=noise
    )
