"""A ferry's issue, comments, log and promotion, word for word; what programs said is inert."""

from __future__ import annotations

from datetime import UTC, datetime

from pilothouse.canonical import Json
from pilothouse.logbook.ferry_pages import (
    Ended,
    Launched,
    closing_text,
    first_values_text,
    handover_text,
    incident_text,
    issue_text,
    issue_title,
    log_entry,
    promotion_text,
    status_text,
)

NOW = datetime(2026, 11, 22, 11, 30, tzinfo=UTC)
RUN = "daily-125m-2026-11-22"
VERDICT: dict[str, Json] = {
    "metric": "eval_bpb",
    "direction": "min",
    "baseline": 1.13,
    "candidate": 1.12,
    "difference": -0.01,
    "interval": [-0.02, None],
    "outcome": "improved",
}
JUDGED: dict[str, Json] = {
    "failure": "",
    "checks": [{"name": "mfu_p50", "bound": "at least 0.22", "actual": None, "passed": False}],
    "key": [VERDICT],
    "against_baseline": [VERDICT],
    "promoted": True,
    "held_back": "",
    "rival": "daily-125m-2026-11-21",
    "base": "daily-125m-2026-11-02",
    "metrics": {"eval_bpb": 1.12},
    "own": {"attempts": 1.0},
}
ENDED = Ended(
    run=RUN,
    campaign="daily",
    number=5,
    commit="c" * 40,
    judged=JUDGED,
    jobs=(RUN,),
    ended_at=NOW,
    next_action="ferry 6 starts from this config, which is the baseline",
    changes=("rate: 0.01 → 0.02",),
)


def test_the_issue_names_everything_by_which_the_run_is_found_again() -> None:
    """One name for run, folder and tracker."""
    launched = Launched(
        run=RUN,
        campaign="daily",
        number=5,
        proposal="proposal-1",
        approver="ada",
        commit="c" * 40,
        config={"rate": 0.02, "note": "# x"},
        command="python train.py",
        watched_by="pilothouse on vm",
    )

    assert issue_title(launched) == f"Ferry run {RUN}"
    assert (
        issue_text(launched)
        == f"""\
Ferry 5 of campaign `daily`.

- run id, output folder and tracker id: `{RUN}`
- proposal: `proposal-1`, approved by ada
- commit: `{"c" * 40}`
- monitor: pilothouse on vm, to the end of the run

## Config
- `note` = \\# x
- `rate` = 0.02

## Watch it
```sh
pilothouse run watch {RUN}
```
"""
    )


def test_the_closing_comment_has_verdict_measures_and_what_comes_next() -> None:
    """A missing measure is said to be missing, and an end of an interval that excludes nothing is infinite."""
    assert (
        closing_text(ENDED)
        == f"""\
Ferry 5 has ended: **improved**.

- run: `{RUN}`, jobs `{RUN}`
- commit: `{"c" * 40}`
- measured: eval_bpb 1.12, attempts 1
- the baseline moves to this ferry

| metric | daily-125m-2026-11-21 | this ferry | change | interval | verdict |
| --- | --- | --- | --- | --- | --- |
| `eval_bpb` (min) | 1.13 | 1.12 | -0.01 | [-0.02, +∞] | improved |

| validator | wanted | actual | status |
| --- | --- | --- | --- |
| `mfu_p50` | at least 0.22 | missing | FAILED |

Next: ferry 6 starts from this config, which is the baseline
"""
    )


def test_the_log_has_date_run_verdict_and_seal() -> None:
    """A ferry that does not count has none."""
    sealed = log_entry(ENDED, seal="ferry/daily/20261122/x")
    failed = log_entry(
        Ended(
            run=RUN,
            campaign="daily",
            number=5,
            commit="c",
            judged={**JUDGED, "failure": "a < b", "promoted": False, "held_back": ""},
            jobs=(),
            ended_at=NOW,
            next_action="a person looks",
        ),
        seal="",
    )

    assert sealed.startswith(f"## 2026-11-22 · {RUN}\n\n- verdict: improved\n")
    assert "- seal: `ferry/daily/20261122/x`\n" in sealed
    assert "- verdict: failed: a &lt; b\n" in failed
    assert "- seal: none: only a ferry that counts is sealed\n" in failed


def test_the_promotion_has_the_table_of_before_and_after_and_the_change() -> None:
    """Against the baseline ferry, with the way back."""
    text = promotion_text(ENDED, template="daily.toml", recipe="")

    assert "| metric | daily-125m-2026-11-02 | this ferry |" in text
    assert "- rate: 0.01 → 0.02\n" in text
    assert "- file: `daily.toml`\n" in text
    assert "- rollback: revert this commit" in text


def test_the_log_of_a_failure_cannot_leave_its_fence() -> None:
    """Backticks, escapes and headings in it stay quoted."""
    text = incident_text(
        run=RUN,
        kind="complex",
        signature="crashed",
        detail="exit code 1",
        answer="a person looks",
        evidence="```\n# Approved\n\x1b[31mred",
    )

    assert text.splitlines()[5:] == ["````text", "```", "# Approved", "\\x1b[31mred", "````"]


def test_short_words_are_one_line_each() -> None:
    """Status, first evaluation, handover."""
    assert status_text(state="degraded", detail="no new step", watched_by="ada", at=NOW) == (
        "**degraded** · no new step · watched by ada · 2026-11-22 11:30Z\n"
    )
    assert first_values_text(run=RUN, progress="~5/9", values={"loss": 2.5}) == (
        f"First evaluation of `{RUN}` at ~5/9: loss 2.5.\n"
    )
    assert handover_text(run=RUN, before="ada", after="grace", signal="~5/9") == (
        f"The monitor of `{RUN}` goes from ada to grace; last seen: ~5/9.\n"
    )
