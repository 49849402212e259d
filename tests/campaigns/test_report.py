"""What the report of a campaign says of its error rate: all that was charged, and what of it came back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from pilothouse.campaigns.record import Trial
from pilothouse.campaigns.report import Record, report_json
from pilothouse.cli import campaign_report
from pilothouse.testing import values
from tests.campaigns.pilot_world import pilot_definition
from tests.campaigns.test_error_rate import judged

LEVEL = 0.0009


def reported(*trials: Trial) -> Mapping[str, Any]:
    """Return the report of a campaign with these trials."""
    definition = pilot_definition()
    knobs = {name: rule.default for name, rule in definition.knob_rules().items()}
    record = Record(
        definition=definition,
        campaign=values.make_campaign(),
        trials=[values.make_trial(0), *trials],
        proposals=[],
        promotions=[replace(values.make_promotion(0), config=knobs)],
        spent_hours=1.0,
        overall=None,
    )
    return report_json(record)


def said(report: Mapping[str, Any], capsys: pytest.CaptureFixture[str]) -> str:
    """Return the line that a person reads."""
    campaign_report._show({**report, "plot": "x.svg"})
    return next(line for line in capsys.readouterr().out.splitlines() if line.startswith("alpha"))


def test_what_a_confirmed_promotion_gave_back_was_charged_all_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing of the promise is spent then, and both halves of the sum are told."""
    report = reported(judged(1, LEVEL, kept=True))

    alpha = report["alpha"]
    assert (alpha["charged"], alpha["given_back"]) == (LEVEL, LEVEL)
    assert alpha["spent"] == 0.0
    assert alpha["left"] == alpha["promised"] == 0.1
    line = "alpha     0.0009 charged, 0.0009 of it given back by confirmed promotions; 0.1 left of 0.1 promised"
    assert said(report, capsys) == line


def test_what_was_not_confirmed_stays_spent(capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing came back, so nothing is said of it."""
    report = reported(judged(1, LEVEL), judged(2, 0.0))

    assert report["alpha"]["spent"] == report["alpha"]["charged"] == LEVEL
    assert said(report, capsys) == "alpha     0.0009 charged; 0.0991 left of 0.1 promised"
