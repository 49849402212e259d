"""The plot of a campaign over seeds: a mark for each trial by its fate, and what holds with its band."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET
from dataclasses import replace

import pytest

from pilothouse.campaigns.autopilot_plot import COLOURS, Fate, Level, autopilot_svg, fate_of
from pilothouse.campaigns.progress_plot import BOTTOM, HEIGHT, TOP, WIDTH
from pilothouse.campaigns.record import Trial, TrialState
from pilothouse.evidence.interval import UNBOUNDED, Interval
from pilothouse.evidence.verdict import Direction, Outcome
from pilothouse.proposals.promotion import Confirmation, Confirmed
from tests.campaigns.test_progress_plot import SVG, judged
from tests.campaigns.world import trial

BASELINE = replace(trial(0, TrialState.JUDGED), metrics={"gap": 2.0})


def confirmed(number: int, state: Confirmation = Confirmation.CONFIRMED) -> Trial:
    """Return a promoted trial that fresh runs have re-measured."""
    answer = Confirmed(state=state, gain=0.1, p=0.01, reason="r")
    return replace(judged(number, Outcome.IMPROVED), confirmation=answer)


def failed(number: int) -> Trial:
    """Return a trial whose runs failed: there is nothing to compare."""
    found = judged(number, Outcome.INCONCLUSIVE, low=-math.inf, high=math.inf)
    assert found.verdict is not None
    return replace(found, verdict=replace(found.verdict, candidate=math.nan), failure="out_of_memory", metrics={})


def screened(number: int) -> Trial:
    """Return a trial that a cheaper mode turned away: its values are no rivals of the real mode's."""
    found = judged(number, Outcome.INCONCLUSIVE)
    assert found.verdict is not None
    return replace(found, verdict=replace(found.verdict, candidate=99.0, alpha=0.0), metrics={})


def level(mean: float, *, reach: float = 0.1) -> Level:
    """Return the level of a config."""
    return Level(mean=mean, interval=Interval(low=mean - reach, high=mean + reach))


def drawn(trials: list[Trial], levels: dict[int, Level] | None = None) -> ET.Element:
    """Return the plot."""
    text = autopilot_svg(title="T", metric="gap", direction=Direction.MIN, trials=trials, levels=levels or {})
    assert "nan" not in text
    assert "inf" not in text
    return ET.fromstring(text)


def of_class(svg: ET.Element, name: str) -> list[ET.Element]:
    """Return the elements of a class."""
    return [each for each in svg.iter() if each.get("class") == name]


@pytest.mark.parametrize(
    ("found", "fate"),
    [
        (BASELINE, Fate.BASELINE),
        (confirmed(1), Fate.KEPT),
        (confirmed(1, Confirmation.ROLLED_BACK), Fate.ROLLED_BACK),
        (replace(judged(1, Outcome.IMPROVED), state=TrialState.CONFIRMING), Fate.WAITING),
        (judged(1, Outcome.REGRESSED), Fate.DISCARDED),
        (judged(1, Outcome.IMPROVED), Fate.DISCARDED),
        (screened(1), Fate.DISCARDED),
        (replace(screened(1), failure="doomed"), Fate.DISCARDED),
        (failed(1), Fate.FAILED),
    ],
)
def test_each_trial_has_one_fate(found: Trial, fate: Fate) -> None:
    """An improved one that a guard held back was discarded."""
    assert fate_of(found) is fate


def test_every_trial_has_its_mark_in_the_colour_of_its_fate() -> None:
    """Those without a comparable result stand on the rail; an open trial has none yet."""
    trials = [BASELINE, confirmed(1), confirmed(2, Confirmation.ROLLED_BACK), judged(3, Outcome.REGRESSED)]
    trials += [failed(4), screened(5), trial(6, TrialState.RUNNING)]

    marks = of_class(drawn(trials), "trial")

    fates = [Fate.BASELINE, Fate.KEPT, Fate.ROLLED_BACK, Fate.DISCARDED, Fate.FAILED, Fate.DISCARDED]
    assert [mark.get("stroke") for mark in marks] == [COLOURS[fate] for fate in fates]
    assert [mark.tag.removeprefix(SVG) for mark in marks] == ["circle"] * 4 + ["path"] * 2
    assert [mark.findtext(f"{SVG}title") for mark in marks][3:5] == ["trial 3: discarded, 1.5", "trial 4: failed"]


def test_what_holds_moves_only_where_a_trial_was_kept() -> None:
    """A rollback leaves it where it was; the band is the interval of its own runs."""
    trials = [BASELINE, confirmed(1, Confirmation.ROLLED_BACK), confirmed(2), judged(3, Outcome.REGRESSED)]

    svg = drawn(trials, {0: level(2.0), 1: level(1.0), 2: level(1.6, reach=0.2)})

    bands, (line,) = of_class(svg, "band"), of_class(svg, "best")
    heights = [float(band.get("height", "")) for band in bands]
    assert len(bands) == 2
    assert heights[1] == pytest.approx(2 * heights[0], abs=0.3)
    assert float(bands[1].get("x", "")) == pytest.approx(
        float(bands[0].get("x", "")) + float(bands[0].get("width", "")), abs=0.2
    )
    assert line.get("d", "").count("L") == 3


def test_everything_lies_within_the_frame() -> None:
    """Hundreds of trials, unbounded intervals, and values of any size."""
    trials = [BASELINE, *(judged(n, Outcome.INCONCLUSIVE, low=-math.inf, high=1e300) for n in range(1, 300))]

    svg = drawn(trials, {0: Level(mean=2.0, interval=UNBOUNDED)})

    for bar in of_class(svg, "bar"):
        assert all(TOP <= float(bar.get(name, "")) <= HEIGHT - BOTTOM for name in ("y1", "y2"))
    for mark in of_class(svg, "trial"):
        assert 0 < float(mark.get("cx", "0")) < WIDTH
    assert len(of_class(svg, "trial")) == 300
    assert sum(text.get("text-anchor") == "middle" for text in svg.iter(f"{SVG}text")) <= 25


def test_a_campaign_without_results_says_so() -> None:
    """And names are text, not markup."""
    text = autopilot_svg(title="<b>&", metric="<i>", direction=Direction.MAX, trials=[failed(1)], levels={})

    assert "no trial is judged yet" in text
    assert ET.fromstring(text).findtext(f"{SVG}title") == "<b>&"
    assert "higher is better" in text
