"""The plot is well-formed SVG whose marks are the trials."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import replace

from pilothouse.campaigns.progress_plot import progress_svg
from pilothouse.campaigns.record import Promotion, Trial, TrialState
from pilothouse.evidence.verdict import Confidence, Direction, Outcome, Verdict
from pilothouse.ids import ArtifactDigest
from tests.campaigns.world import CAMPAIGN, PRODUCT, START, trial

SVG = "{http://www.w3.org/2000/svg}"


def judged(number: int, outcome: Outcome) -> Trial:
    """Return a judged trial."""
    verdict = Verdict(
        outcome=outcome,
        metric="gap",
        direction=Direction.MIN,
        baseline=2.0,
        candidate=1.5,
        difference=-0.5,
        low=-0.7,
        high=-0.3,
        alpha=0.05,
        examples=10,
        clusters=5,
        method="m",
        scope="s",
        confidence=Confidence.EXPLORATORY,
    )
    return replace(trial(number, TrialState.JUDGED), verdict=verdict, metrics={"gap": 1.5})


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
    assert "no iteration is judged yet" in svg


def test_a_hundred_trials_fit() -> None:
    """Every mark lies inside the frame, and not every one is labelled."""
    trials = [judged(number, Outcome.IMPROVED) for number in range(1, 101)]

    svg = progress_svg(title="T", metric="gap", trials=trials, promotions=[])

    assert len(marks(svg)) == 100
    assert all(0 < float(mark.get("cx", "0")) < 760 and 0 < float(mark.get("cy", "0")) < 380 for mark in marks(svg))
    assert svg.count('text-anchor="middle"') <= 25
