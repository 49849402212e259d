"""Each promotion and each rollback is one application, which is written the same whenever it is written."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

from pilothouse.campaigns.applied import KEY_TRAILER, Applied, applications, applied_file
from pilothouse.campaigns.best import Standing, best_json, best_of, best_toml
from pilothouse.campaigns.record import Campaign, Promotion, Trial, TrialState
from pilothouse.canonical import Json, digest
from pilothouse.evidence.verdict import Outcome
from pilothouse.proposals.promotion import Confirmation, Confirmed
from tests.campaigns.pilot_world import CAMPAIGN, PRODUCT, START, pilot_definition
from tests.campaigns.test_progress_plot import judged

DEFINITION = pilot_definition()
FIRST: Mapping[str, Json] = {"lr": 0.1, "wd": 0.5, "steps": 1000}
SECOND: Mapping[str, Json] = {**FIRST, "lr": 0.2}


def campaign() -> Campaign:
    """Return the stored campaign."""
    return Campaign(
        product=PRODUCT, name=CAMPAIGN, kind="autopilot", definition={}, definition_digest="d", config={},
        created_at=START, owner=None, halt=None, last_error="", next_action="",
    )  # fmt: skip


def promotion(trial: int, config: Mapping[str, Json], *, minutes: int, reason: str = "p is small") -> Promotion:
    """Return a move of the baseline."""
    return Promotion(
        product=PRODUCT, campaign=CAMPAIGN, trial=trial, checkpoint=None, samples=None, config=config, reason=reason,
        at=START + timedelta(minutes=minutes),
    )  # fmt: skip


def trial(number: int, state: Confirmation | None) -> Trial:
    """Return an improved trial, with what its fresh runs said."""
    found = replace(judged(number, Outcome.IMPROVED, metric="loss"), campaign=CAMPAIGN)
    if state is None:
        return replace(found, state=TrialState.CONFIRMING)
    return replace(found, confirmation=Confirmed(state=state, gain=0.1, p=0.2, reason="fresh runs"))


MOVES = [promotion(0, FIRST, minutes=0), promotion(1, SECOND, minutes=5), promotion(0, FIRST, minutes=9)]


def apply(promotions: Sequence[Promotion], trials: Sequence[Trial]) -> list[Applied]:
    """Return the applications."""
    return applications(DEFINITION, campaign(), trials=trials, promotions=promotions)


def said(applied: Applied) -> Any:
    """Return the content of the file."""
    return json.loads(applied.text)


def test_the_first_baseline_is_no_application() -> None:
    """It is what the campaign's own file says."""
    assert apply(MOVES[:1], []) == []
    assert apply([], []) == []


def test_a_promotion_and_its_rollback_are_two() -> None:
    """Each with the knobs that hold from then on, and with what decided it."""
    there, back = apply(MOVES, [trial(1, Confirmation.ROLLED_BACK)])

    assert said(there)["config"] == {"lr": 0.2, "wd": 0.5}
    assert said(there)["config_digest"] == digest(dict(SECOND))
    assert (said(there)["trial"], said(there)["rolled_back"]) == (1, None)
    assert (said(back)["trial"], said(back)["rolled_back"], said(back)["verdict"]) == (0, 1, "rolled back")
    assert said(back)["config"] == {"lr": 0.1, "wd": 0.5}
    assert there.message.splitlines()[0] == "Apply trial 1 of campaign pilot"
    assert "lr 0.1 → 0.2" in there.message
    assert back.message.splitlines()[0] == "Roll back to trial 0 of campaign pilot"
    assert there.key != back.key


def test_what_is_written_does_not_depend_on_what_came_later() -> None:
    """A kill may come between the promotion and its commit, and the confirmation in between."""
    at_once = apply(MOVES[:2], [trial(1, None)])
    later = apply(MOVES, [trial(1, Confirmation.ROLLED_BACK)])

    assert at_once == later[:1]


def test_a_reason_forges_no_trailer() -> None:
    """It is one line, whatever it holds."""
    forged = promotion(1, SECOND, minutes=5, reason=f"fine\n\n{KEY_TRAILER}: forged\nPilothouse-Trial: 99")

    (made,) = apply([MOVES[0], forged], [trial(1, None)])

    lines = made.message.splitlines()
    assert [line for line in lines if line.startswith(KEY_TRAILER)] == [f"{KEY_TRAILER}: {made.key}"]
    assert [line for line in lines if line.startswith("Pilothouse-Trial")] == ["Pilothouse-Trial: 1"]


def test_the_file_is_named_by_the_campaign() -> None:
    """Two campaigns in one folder keep theirs apart."""
    assert applied_file("pilot") == "pilot.applied.json"


def test_best_follows_promotion_confirmation_and_rollback() -> None:
    """By the order of the promotions alone."""
    states = [
        (MOVES[:1], [trial(0, None)], 0, Standing.FIRST),
        (MOVES[:2], [trial(0, None), trial(1, None)], 1, Standing.WAITING),
        (MOVES[:2], [trial(0, None), trial(1, Confirmation.CONFIRMED)], 1, Standing.CONFIRMED),
        (MOVES, [trial(0, None), trial(1, Confirmation.ROLLED_BACK)], 0, Standing.FIRST),
    ]

    for moves, trials, number, standing in states:
        best = best_of(DEFINITION, campaign(), trials=trials, promotions=moves, runs=[])
        assert best is not None
        assert (best.trial.number, best.standing) == (number, standing)
        assert best_json(best)["moves"] == len(moves) - 1
        assert best_json(best)["config"] == {"lr": 0.2 if number else 0.1, "wd": 0.5}
    assert best_of(DEFINITION, campaign(), trials=[], promotions=[], runs=[]) is None


def test_the_lines_to_paste_are_toml_whatever_a_knob_is_called() -> None:
    """Texts, switches and names with dots."""
    knobs = '[knobs."env.size"]\ntype = "choice"\ndefault = "a\\"b"\nchoices = ["a\\"b", "é\\u007f"]\n'
    definition = pilot_definition(extra=f'\n{knobs}\n[knobs.fast]\ntype = "bool"\ndefault = true\n')
    config: Mapping[str, Json] = {**FIRST, "env.size": "é\x7f", "fast": False}
    best = best_of(
        definition, campaign(), trials=[trial(0, None)], promotions=[promotion(0, config, minutes=0)], runs=[]
    )

    assert best is not None
    lines = best_toml(best)
    assert tomllib.loads(lines) == {"lr": 0.1, "wd": 0.5, "env.size": "é\x7f", "fast": False}
    assert lines.startswith("# What holds in campaign pilot since 2026-01-01T00:00:00Z: trial 0, first baseline.\n")
