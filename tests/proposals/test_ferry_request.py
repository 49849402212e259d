"""The pull request of a ferry's proposal, word for word."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from pilothouse.canonical import Json
from pilothouse.evidence.verdict import Outcome
from pilothouse.ids import CampaignName, ProductId, ProposalId
from pilothouse.knobs.delta import Change
from pilothouse.proposals.ferry_request import Request, request_text, request_title
from pilothouse.proposals.proposal import Proposal, Risk, State, Subject
from pilothouse.proposals.ranking import Candidate, rank
from pilothouse.proposals.window import Commit, Commits, IncidentSeen, IssueSeen, LastFerry, Window

NOW = datetime(2026, 11, 22, 6, tzinfo=UTC)
SUBJECT = Subject(
    config_digest="c", code_commit="d" * 40, evaluation_digest="e", cost_ceiling="unlimited", pool="local"
)
PROPOSAL = Proposal(
    id=ProposalId("proposal-1"),
    product=ProductId("default"),
    campaign=CampaignName("daily"),
    number=5,
    parent_digest="p",
    config={"rate": 0.02},
    changes=(Change(knob="rate", before=0.01, after=0.02),),
    why_not_identical="rate 0.01 → 0.02",
    rationale="rate: one bounded step",
    hypothesis="loss gets lower than ferry 4's",
    risk=Risk.LOW,
    rollback="the next ferry takes it back: rate = 0.01",
    source="rules",
    subject=SUBJECT,
    state=State.OPEN,
    created_at=NOW,
    refusal="",
)
CANDIDATE = Candidate(
    overrides={"rate": 0.02},
    before=0.01,
    value=0.5,
    blast_radius=1.0,
    reversibility=1.0,
    signal=0.5,
    sources=("issue #12",),
    why="an issue speaks of it",
)
WINDOW = Window(
    last=LastFerry(
        number=4,
        run="daily-125m-2026-11-21",
        commit="c" * 40,
        changes=(),
        outcome=Outcome.INCONCLUSIVE,
        failure="",
        metrics={},
        links={"issue": "https://forge.test/4"},
    ),
    commits=Commits(
        head="d" * 40,
        since="c" * 40,
        listed=(Commit(sha="d" * 40, subject="# Take over\n<img src=x> | `rm`"),),
        count=1,
    ),
    issues=(IssueSeen(number=12, title="- [x] approved ![](http://x)", text="", url="", updated_at=NOW),),
    issues_from="the forge",
    incidents=(IncidentSeen(run="daily-125m-2026-11-21", diagnosis="lost", detail="requeue", at=NOW),),
    guidance="look at the <b>rate</b>",
)
WEIGHTS = {"value": 0.4, "blast_radius": 0.3, "reversibility": 0.1, "signal": 0.2}


def request_of(proposal: Proposal, *, identical: str = "") -> Request:
    """Return the request of a proposal."""
    ranked = rank([CANDIDATE], WEIGHTS)
    return Request(
        proposal=proposal,
        run="daily-125m-2026-11-22",
        campaign="daily",
        considered={
            **WINDOW.as_json(),
            "identical": identical,
            "missed_ticks": 2,
            "ranking": [each.as_json() for each in ranked],
        },
        checklist=(("explicit approval of exactly this subject", False), ("the monitor is started", True)),
    )


def test_the_text_says_everything_that_a_yes_rests_on_and_what_others_wrote_is_inert() -> None:
    """Last ferry, exact change, reasons, risk, rollback, what was weighed, checklist: word for word."""
    assert request_title(request_of(PROPOSAL)) == "Ferry daily-125m-2026-11-22: rate 0.01 → 0.02"
    assert (
        request_text(request_of(PROPOSAL))
        == f"""\
Proposal `proposal-1` for ferry 5 of campaign `daily`, run `daily-125m-2026-11-22`.
Approve exactly this subject (config, code commit, evaluation, cost ceiling, pool) by a comment of this line:

    /pilothouse approve {SUBJECT.digest()}

or with `pilothouse proposal approve proposal-1`; any drift voids it.

## Last ferry
- ferry 4, run `daily-125m-2026-11-21`: inconclusive
- commit `{"c" * 40}`
- issue: https://forge.test/4

## Exact change
| knob | before | after |
| --- | --- | --- |
| `rate` | 0.01 | 0.02 |

- why: rate: one bounded step
- why not identical: rate 0.01 → 0.02
- hypothesis: loss gets lower than ferry 4's
- risk: **low**
- rollback: the next ferry takes it back: rate = 0.01
- source: rules

## Considered since the last ferry
- 1 commits to `{"d" * 16}`
  - `dddddddddd` `` # Take over <img src=x> | `rm` ``
- 1 issues (the forge)
  - #12 `- [x] approved ![](http://x)`
- 1 incidents
  - `daily-125m-2026-11-21` lost: requeue
- guidance: `look at the <b>rate</b>`
- ticks before this one that it answers as well: 2 (nobody was there, no yes came, or a ferry was under way)

## Ranking
| change | value | blast_radius | reversibility | signal | score | source |
| --- | --- | --- | --- | --- | --- | --- |
| rate 0.01 → 0.02 | 0.4 of 0.5: 0.200 | 0.3 of 1: 0.300 | 0.1 of 1: 0.100 | 0.2 of 0.5: 0.100 | 0.700 | issue #12 |

## Launch checklist
- [ ] explicit approval of exactly this subject
- [x] the monitor is started
"""
    )


@pytest.mark.parametrize(
    ("subject", "shown"),
    [
        ("Fixes #12 for @everybody, see [here](http://x)", "`Fixes #12 for @everybody, see [here](http://x)`"),
        ("``", "``` `` ```"),
        ("<!-- pilothouse:default/github/daily/issue --> \n", "`<! -- pilothouse:default/github/daily/issue -->`"),
        ("", "`-`"),
    ],
)
def test_a_subject_calls_nobody_closes_nothing_and_is_no_mark_of_ours(subject: str, shown: str) -> None:
    """A pull request that is merged closes what its text says it fixes, and letters are known again by their mark."""
    request = request_of(PROPOSAL)
    commits: list[Json] = [{"sha": "d" * 40, "subject": subject, "files": 0}]

    text = request_text(replace(request, considered={**request.considered, "commits": commits}))

    assert f"  - `dddddddddd` {shown}\n" in text


def test_an_identical_rerun_says_its_reason() -> None:
    """In the title, in place of the delta, and above the ranking."""
    same = replace(PROPOSAL, changes=(), why_not_identical="regression confirmation")
    text = request_text(request_of(same, identical="regression confirmation: ferry 4 failed"))

    assert request_title(request_of(same)) == "Ferry daily-125m-2026-11-22: identical rerun"
    assert "Nothing changes: an identical rerun.\n" in text
    assert "Nothing is moved: regression confirmation: ferry 4 failed\n" in text


def test_a_first_ferry_has_none_before_it() -> None:
    """Said, instead of an empty list."""
    request = request_of(PROPOSAL)
    first = replace(request, considered={**request.considered, "last": None})

    assert "## Last ferry\nNone: this is the first ferry.\n" in request_text(first)
