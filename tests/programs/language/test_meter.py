"""How fast steps are said to be."""

from __future__ import annotations

from typing import Any

import pytest

from pilothouse.programs.language.meter import Cost, Meter


def _meter(peak: float | None, *, trailing: int = 100) -> Meter:
    meter = Meter(Cost(tokens=10, true_flops=4e12, nominal_flops=6e12, peak_tflops=peak), trailing=trailing)
    meter.resumed(0.0)
    return meter


def test_the_median_step_speaks_for_all_and_pauses_do_not_count() -> None:
    """Nine steps of a second and one of ten: the median is a second, the tenth percentile hears of the slow one."""
    meter, now = _meter(8.0), 0.0
    for seconds in (1, 1, 1, 10, 1, 1, 1, 1, 1, 1):
        now += seconds
        meter.step_done(now)
    meter.resumed(now + 500)
    meter.step_done(now + 501)

    told = meter.summary()

    assert told["mfu_p50"] == told["mfu_p90"] == pytest.approx(0.5)
    assert told["nominal_mfu_p50"] == pytest.approx(0.75)
    assert told["mfu_p10"] <= told["mfu_p50"]
    assert told["tokens_per_s"] == pytest.approx(10.0)
    assert meter.steps == 11


def test_only_the_trailing_steps_are_judged() -> None:
    """What was slow at the start is forgotten."""
    meter, now = _meter(8.0, trailing=3), 0.0
    for seconds in (50, 50, 50, 2, 2, 2):
        now += seconds
        meter.step_done(now)

    assert meter.summary()["mfu_p10"] == pytest.approx(0.25)


@pytest.mark.parametrize(("peak", "names"), [(None, {"tokens_per_s"}), (8.0, {"tokens_per_s", "mfu"})])
def test_no_share_is_told_of_a_peak_that_is_not_known(peak: float | None, names: Any) -> None:
    """Then a validator of MFU finds nothing, and what is missing has not passed."""
    meter = _meter(peak)
    meter.step_done(1.0)

    assert meter.take().keys() == names
    assert ("mfu_p50" in meter.summary()) == (peak is not None)
    assert meter.summary()["tokens_per_s"] == 10.0
