"""How restless a working folder is: by what drifted since it last held still."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from pilothouse.operations.ferry_facts import drifts_lately
from pilothouse.proposals.gate import DRIFTED
from pilothouse.proposals.proposal import State
from pilothouse.testing.values import make_proposal

OPEN = make_proposal(1)
DRIFT = replace(OPEN, state=State.REJECTED, refusal=f"{DRIFTED}: code_commit")
REFUSED = replace(OPEN, state=State.REJECTED, refusal="rejected by ada: too hot")
ADMITTED = replace(OPEN, state=State.ADMITTED)
SOON, LATE = OPEN.created_at + timedelta(minutes=1), OPEN.created_at + timedelta(hours=1)


def test_only_drifts_since_the_last_yes_count() -> None:
    """A folder that held still until a launch is not restless for what came before it."""
    assert drifts_lately([DRIFT, DRIFT, REFUSED, DRIFT, OPEN], now=SOON) == 3
    assert drifts_lately([DRIFT, DRIFT, DRIFT, ADMITTED, OPEN], now=SOON) == 0
    assert drifts_lately([DRIFT, ADMITTED, DRIFT], now=SOON) == 1
    assert drifts_lately([DRIFT, DRIFT, DRIFT], now=LATE) == 0
