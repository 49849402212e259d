"""How much repetition stands behind a claim, by the labels of the logbook."""

from __future__ import annotations

from pilothouse.evidence.verdict import Confidence

REPLICATED_RUNS = 3
"""Agreeing runs with different seeds from which a claim is replicated; one can mislead, and two are one repetition."""

STABLE_VARIANTS = 2
"""Variants (another shape, machine or data set) on which a replicated claim has held, from which it is stable."""


def confidence(*, runs: int, variants: int = 1) -> Confidence:
    """Return the label for a claim that held in `runs` runs with different seeds, on each of `variants` variants.

    Only runs that agree with the claim count, so one run is always exploratory, whatever its interval.
    """
    assert runs >= 1, f"a claim stands on at least one run, got {runs}"
    assert variants >= 1, f"a claim stands on at least one variant, got {variants}"
    if runs < REPLICATED_RUNS:
        return Confidence.EXPLORATORY
    return Confidence.STABLE if variants >= STABLE_VARIANTS else Confidence.REPLICATED
