"""The plot is well-formed SVG whose marks are the trials."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET
from dataclasses import replace

from pilothouse.campaigns.progress_plot import BOTTOM, HEIGHT, TOP, progress_svg
from pilothouse.campaigns.record import Promotion, Trial, TrialState
from pilothouse.evidence.verdict import Confidence, Direction, Outcome, Verdict
from pilothouse.ids import ArtifactDigest
from tests.campaigns.world import CAMPAIGN, PRODUCT, START, trial

SVG = "{http://www.w3.org/2000/svg}"


def judged(number: int, outcome: Outcome, *, metric: str = "gap", low: float = -0.7, high: float = -0.3) -> Trial:
    """Return a judged trial."""
    verdict = Verdict(
        outcome=outcome,
        metric=metric,
        direction=Direction.MIN,
        baseline=2.0,
        candidate=1.5,
        difference=-0.5,
        shrunk=-0.4,
        low=low,
        high=high,
        p=0.001,
        alpha=0.05,
        alpha_spent=0.05,
        alpha_left=0.0,
        baseline_runs=1,
        candidate_runs=1,
        examples=10,
        clusters=5,
        method="m",
        scope="s",
        confidence=Confidence.EXPLORATORY,
    )
    return replace(trial(number, TrialState.JUDGED), verdict=verdict, metrics={metric: 1.5})


def promotion(number: int) -> Promotion:
    """Return the promotion of a trial."""
    return Promotion(
        product=PRODUCT,
        campaign=CAMPAIGN,
        trial=number,
        checkpoint=None,
        samples=ArtifactDigest("x"),
        config={},
        reason="",
        at=START,
    )


def marks(svg: str) -> list[ET.Element]:
    """Return the circles that stand for trials: those with a title."""
    return [circle for circle in ET.fromstring(svg).iter(f"{SVG}circle") if circle.find(f"{SVG}title") is not None]


def test_each_judged_trial_has_its_mark_and_a_kept_one_is_filled() -> None:
    """An open trial has none yet; one that was not kept is hollow."""
    baseline = replace(trial(0, TrialState.JUDGED), metrics={"gap": 2.0})
    trials = [baseline, judged(1, Outcome.IMPROVED), judged(2, Outcome.REGRESSED), trial(3, TrialState.RUNNING)]

    found = marks(progress_svg(title="T", metric="gap", trials=trials, promotions=[promotion(0), promotion(1)]))

    assert len(found) == 3
    assert [mark.get("fill") == "#ffffff" for mark in found] == [False, False, True]


def test_a_title_is_text_and_not_markup() -> None:
    """Names are data."""
    svg = progress_svg(title="<script>&", metric="<b>", trials=[], promotions=[])

    title = ET.fromstring(svg).find(f"{SVG}title")
    assert title is not None
    assert title.text == "<script>&"
    assert "no trial is judged yet" in svg


def test_a_hundred_trials_fit() -> None:
    """Every mark lies inside the frame, and not every one is labelled."""
    trials = [judged(number, Outcome.IMPROVED) for number in range(1, 101)]

    svg = progress_svg(title="T", metric="gap", trials=trials, promotions=[])

    assert len(marks(svg)) == 100
    assert all(0 < float(mark.get("cx", "0")) < 760 and 0 < float(mark.get("cy", "0")) < 380 for mark in marks(svg))
    assert svg.count('text-anchor="middle"') <= 25


def test_trials_of_another_metric_have_no_place() -> None:
    """The campaign's file may have renamed its primary metric since."""
    baseline = replace(trial(0, TrialState.JUDGED), metrics={"old": 2.0})
    trials = [baseline, judged(1, Outcome.IMPROVED, metric="old"), judged(2, Outcome.IMPROVED)]

    svg = progress_svg(title="T", metric="gap", trials=trials, promotions=[])

    assert [mark.findtext(f"{SVG}title") for mark in marks(svg)] == ["trial 2: 1.5"]


def test_an_unbounded_interval_ends_at_the_frame() -> None:
    """The scale is that of the ends that there are."""
    trials = [
        judged(1, Outcome.INCONCLUSIVE, low=-math.inf, high=math.inf),
        judged(2, Outcome.INCONCLUSIVE, low=-math.inf, high=-0.1),
        replace(trial(3, TrialState.JUDGED), metrics={"gap": math.nan}),
    ]

    svg = progress_svg(title="T", metric="gap", trials=trials, promotions=[])

    assert "nan" not in svg
    assert "inf" not in svg
    bars = [line for line in ET.fromstring(svg).iter(f"{SVG}line") if line.get("stroke-width") == "2"]
    ends = [float(bar.get(name, "nan")) for bar in bars for name in ("y1", "y2")]
    assert len(bars) == 2
    assert all(TOP <= end <= HEIGHT - BOTTOM for end in ends)
    assert ends[0] > ends[1], "the first bar spans the frame"
