"""Asking an agent: what it is given, what is taken from it, what is kept, and what it costs."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.proposals.searches import after, tried
from tests.propose.agents import ANSWER, WRITES, a_search, proposer, speaking

from pilothouse.errors import BadValue, NotFound, OperationFailed, PilothouseError, Refused, StorageFailed
from pilothouse.proposals.search import Suggestion
from pilothouse.propose.agent_presets import PRESETS, Setting, command, preset
from pilothouse.propose.agent_record import CostSource, Usage, record_of
from pilothouse.propose.asking import RECORD
from pilothouse.propose.sandbox.level import Level, Rung
from pilothouse.propose.sandbox.plan import Breach

NOTHING = Level(rung=Rung.NONE)
CLAUDE = {
    "type": "result",
    "num_turns": 4,
    "total_cost_usd": 0.25,
    "usage": {"input_tokens": 10, "cache_read_input_tokens": 3, "output_tokens": 5},
    "session_id": "abc",
    "is_error": False,
    "structured_output": ANSWER,
}
CODEX: list[dict[str, Any]] = [
    {"type": "thread.started", "thread_id": "t1"},
    {"type": "turn.completed", "usage": {"input_tokens": 7, "cached_input_tokens": 2, "output_tokens": 1}},
    {"type": "turn.completed", "usage": {"input_tokens": 5, "cached_input_tokens": 0, "output_tokens": 2}},
]
OPENCODE: list[dict[str, Any]] = [
    {"type": "step_finish", "part": {"cost": 0.01, "tokens": {"input": 4, "output": 1, "cache": {"read": 2}}}},
    {"type": "step_finish", "part": {"cost": 0.02, "tokens": {"input": 6, "output": 2, "cache": {"read": 0}}}},
]


def lines(values: list[dict[str, Any]]) -> bytes:
    return b"\n".join(json.dumps(value).encode() for value in values)


def test_an_answer_becomes_a_suggestion(tmp_path: Path) -> None:
    """The agent's file is read, and the record says how the run was confined and what is not known."""
    asking = proposer(tmp_path, WRITES)

    suggestion = asking.propose(a_search())

    assert suggestion.overrides == {"learning_rate": 0.002}
    assert suggestion.source == "agent:command"
    record = asking.last
    assert record is not None
    assert (record.level, record.waived_by, record.attempt, record.exit_code) == ("landlock", "", 1, 0)
    assert (record.cost_usd, record.cost_source) == (None, CostSource.UNKNOWN)
    assert record.usage == Usage()
    assert record.refusals == ()
    assert record_of(json.loads(json.dumps(record.as_json()))) == record


def test_the_agent_reads_its_context_and_finds_its_folders(tmp_path: Path) -> None:
    """Every name that is promised leads to a file, under the autopilot's old names too."""
    source = f"""
import json, os, pathlib
context = pathlib.Path(os.environ["PILOTHOUSE_CONTEXT"])
seen = {{path.name: json.loads(path.read_text()) for path in context.glob("*.json")}}
assert seen["parent.json"]["learning_rate"] == 0.001
assert seen["knobs.json"]["batch"]["maximum"] == 512
assert [one["changes"] for one in seen["history.json"]] == [{{"entropy": [0.1, 0.2]}}]
assert "proposal.json" in (context / "INSTRUCTIONS.md").read_text()
assert json.loads(pathlib.Path(os.environ["PILOTHOUSE_SUMMARY"]).read_text()) == {{"loss": 1}}
assert os.environ["PUFFER_AUTOPILOT_SUMMARY"] == os.environ["PILOTHOUSE_SUMMARY"]
assert os.environ["PUFFER_AUTOPILOT_RUN_DIR"] == os.environ["PILOTHOUSE_RUN_DIR"]
assert len(os.environ["PUFFER_AUTOPILOT_RUN_ID"]) == 16
assert os.getcwd() == os.environ["PILOTHOUSE_OUT"] and os.environ["HOME"].startswith(os.getcwd())
assert sorted(set(os.environ) & {{"SECRET", "LD_PRELOAD", "LANG"}}) == ["LANG"]
{WRITES}
"""
    run = tmp_path / "run"
    run.mkdir()
    (run / "summary.json").write_text('{"loss": 1}', encoding="utf-8")
    (run / "log.txt").symlink_to("/etc/hostname")
    search = a_search()
    search = after(search, tried(search, _entropy(tmp_path)), seed=2)
    variables = {"LANG": "C", "SECRET": "x", "LD_PRELOAD": "x"}

    asked = proposer(tmp_path, source, artefacts=lambda: run, variables=variables).ask(search)

    assert asked.refusal is None
    assert asked.answer is not None


def _entropy(tmp_path: Path) -> Suggestion:
    source = WRITES.replace("learning_rate", "entropy").replace("0.002}", "0.2}")
    return proposer(tmp_path, source).propose(a_search(seed=9))


def test_asking_again_tells_the_same_without_running_again(tmp_path: Path) -> None:
    """A loop that was killed after the answer goes on alike, and pays once."""
    first = proposer(tmp_path, WRITES).ask(a_search())
    again = proposer(tmp_path, "raise SystemExit(1)").ask(a_search())
    other = proposer(tmp_path, "raise SystemExit(1)").ask(a_search(seed=2))

    assert again == first
    assert other.refusal is not None


def test_a_run_that_was_killed_is_made_again(tmp_path: Path) -> None:
    """Its folder has no record, so the next one is the second attempt."""
    asking = proposer(tmp_path, WRITES)
    place = tmp_path / "agents"
    asking.propose(a_search())
    (folder,) = place.iterdir()
    (folder / RECORD).unlink()

    asking.propose(a_search())

    assert asking.last is not None
    assert asking.last.attempt == 2


def test_a_kept_answer_that_was_changed_is_not_told(tmp_path: Path) -> None:
    """What was recorded and what lies there must be the same bytes."""
    proposer(tmp_path, WRITES).propose(a_search())
    (kept,) = (tmp_path / "agents").glob("*/answer.json")
    kept.write_text(kept.read_text(encoding="utf-8").replace("0.002", "0.003"), encoding="utf-8")

    with pytest.raises(StorageFailed, match="not the one that was recorded"):
        proposer(tmp_path, WRITES).propose(a_search())


def test_a_damaged_record_is_told(tmp_path: Path) -> None:
    """Half a record is neither an answer nor a reason to pay again unasked."""
    proposer(tmp_path, WRITES).propose(a_search())
    (record,) = (tmp_path / "agents").glob(f"*/{RECORD}")
    record.write_text("{", encoding="utf-8")

    with pytest.raises(StorageFailed, match="cannot be read"):
        proposer(tmp_path, WRITES).propose(a_search())


@pytest.mark.parametrize(
    ("source", "error", "says"),
    [
        ("", BadValue, "was not written"),
        ("open('proposal.json', 'w').write('certainly!')", BadValue, "not JSON"),
        (f"{WRITES}; raise SystemExit(3)", OperationFailed, "code 3"),
        ("import sys; sys.exit('no key \\x1b[31m sk-secret-key')", OperationFailed, "said: no key"),
        ("import os; os.abort()", OperationFailed, "signal 6"),
    ],
)
def test_a_bad_run_is_a_refusal_with_a_record(
    tmp_path: Path, source: str, error: type[PilothouseError], says: str
) -> None:
    """The loop gets a reason that it can store, the same one when it asks again, and goes on."""
    asking = proposer(tmp_path, source)

    for _ in range(2):
        with pytest.raises(error, match=says) as refused:
            asking.propose(a_search())
        assert asking.last is not None
        assert asking.last.refusal == refused.value.message
        assert "\x1b" not in refused.value.message


def test_the_key_is_not_told(tmp_path: Path) -> None:
    """What an agent says of its failure is kept without the values that it was trusted with."""
    like = PRESETS["codex"]
    source = "import os, sys; sys.exit('bad key ' + os.environ['OPENAI_API_KEY'])"
    variables = {"OPENAI_API_KEY": "sk-very-secret"}
    asking = proposer(tmp_path, "", preset=speaking(source, like), variables=variables)

    with pytest.raises(OperationFailed, match="bad key …"):
        asking.propose(a_search())

    assert not any(b"sk-very-secret" in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())


def test_without_confinement_nothing_runs_but_under_a_waiver(tmp_path: Path) -> None:
    """The refusal says what is missing; a waiver is recorded with its name."""
    with pytest.raises(Refused, match="cannot confine"):
        proposer(tmp_path, WRITES, level=NOTHING).propose(a_search())
    assert list((tmp_path / "agents").glob("*/attempt-*")) == []

    asking = proposer(tmp_path, WRITES, level=NOTHING, unconfined_allowed_by="Ann")
    asking.propose(a_search())

    assert asking.last is not None
    assert (asking.last.level, asking.last.waived_by) == ("none", "Ann")


def test_what_is_forbidden_cannot_be_made_readable(tmp_path: Path) -> None:
    """A folder that holds the database is not opened by mistake."""
    home = tmp_path / "home"
    home.mkdir()

    with pytest.raises(Refused, match="could read"):
        proposer(tmp_path, WRITES, readable=(tmp_path,), forbidden=(home,)).propose(a_search())


def test_a_missing_program_costs_nothing(tmp_path: Path) -> None:
    """Nothing ran, so no attempt is counted and the limit of cost still holds."""
    asking = proposer(tmp_path, "", preset=command(["no-such-agent"]), cost_limit_usd=1.0)

    for _ in range(2):
        with pytest.raises(OperationFailed, match="no-such-agent"):
            asking.propose(a_search())


def test_an_answer_may_come_with_the_output(tmp_path: Path) -> None:
    """Claude Code answers there, with turns, tokens and cost."""
    source = f"import sys; assert 'proposal.json' in sys.stdin.read(); print({json.dumps(json.dumps(CLAUDE))})"
    asking = proposer(tmp_path, "", preset=speaking(source, PRESETS["claude"]))

    suggestion = asking.propose(a_search())

    assert suggestion.source == "agent:claude"
    assert asking.last is not None
    assert asking.last.cost_source is CostSource.REPORTED
    assert asking.last.usage == Usage(
        turns=4, tokens_in=10, tokens_cached=3, tokens_out=5, cost_usd=0.25, session="abc"
    )


def test_money_that_is_spent_ends_the_asking(tmp_path: Path) -> None:
    """The sum over all runs is bounded; a run that goes beyond what was left is told, and is the last."""
    source = f"print({json.dumps(json.dumps(CLAUDE))})"
    asking = proposer(tmp_path, "", preset=speaking(source, PRESETS["claude"]), cost_limit_usd=0.4)
    asking.propose(a_search(seed=1))
    asking.propose(a_search(seed=2))
    assert asking.last is not None
    assert [each.breach for each in asking.last.refusals] == [Breach.COST]

    with pytest.raises(Refused, match=r"spent 0\.50 of 0\.40"):
        asking.propose(a_search(seed=3))


def test_unknown_cost_is_not_zero(tmp_path: Path) -> None:
    """With a limit it ends the asking, unless somebody gives an estimate, which is recorded as one."""
    asking = proposer(tmp_path, WRITES, cost_limit_usd=1.0)
    asking.propose(a_search(seed=1))
    with pytest.raises(Refused, match="is not known"):
        asking.propose(a_search(seed=2))

    estimating = proposer(tmp_path / "2", WRITES, cost_limit_usd=1.0, cost_estimate_usd=0.6)
    estimating.propose(a_search(seed=1))
    assert estimating.last is not None
    assert (estimating.last.cost_usd, estimating.last.cost_source) == (0.6, CostSource.ESTIMATED)
    estimating.propose(a_search(seed=2))
    with pytest.raises(Refused, match=r"spent 1\.20"):
        estimating.propose(a_search(seed=3))


@pytest.mark.parametrize(
    ("name", "output", "usage"),
    [
        ("codex", lines(CODEX), Usage(turns=2, tokens_in=12, tokens_cached=2, tokens_out=3, session="t1")),
        (
            "codex",
            lines([*CODEX, {"type": "turn.completed", "usage": {"input_tokens": 1}}]),
            Usage(turns=3, tokens_in=13, session="t1"),
        ),
        ("codex", b"no json at all", Usage()),
        ("claude", json.dumps({**CLAUDE, "total_cost_usd": "free"}).encode(), None),
        ("claude", b"", Usage()),
        ("claude", json.dumps({"total_cost_usd": -1, "num_turns": True, "usage": []}).encode(), Usage()),
        ("opencode", lines(OPENCODE), Usage(turns=2, tokens_in=10, tokens_cached=2, tokens_out=3, cost_usd=0.03)),
        ("opencode", lines([*OPENCODE, {"type": "step_finish", "part": {}}]), Usage(turns=3)),
        ("aider", b"Cost: $0.02", Usage()),
    ],
)
def test_usage_is_what_was_told_and_no_more(name: str, output: bytes, usage: Usage | None) -> None:
    """A cost or a count that is missing once, or no number, is unknown as a whole, and never zero."""
    found = preset(name).usage(output)

    assert found == usage if usage is not None else found.cost_usd is None


def test_presets_name_their_words() -> None:
    """Each agent gets its answer's place, and its limit of money where it knows one."""
    setting = Setting(context=Path("/c"), folder=Path("/o"), schema="{}", cost_left_usd=0.5, model="m")
    words = {name: list(each.command(setting)) for name, each in PRESETS.items()}

    assert words["codex"][:3] == ["codex", "exec", "--json"]
    assert words["codex"][-1] == "-"
    assert words["codex"][words["codex"].index("--output-schema") + 1] == "/c/proposal.schema.json"
    assert words["claude"][:4] == ["claude", "-p", "--output-format", "json"]
    assert words["claude"][words["claude"].index("--max-budget-usd") + 1] == "0.5000"
    assert words["opencode"][:2] == ["opencode", "run"]
    assert words["aider"][-1] == "/o/proposal.json"
    assert all(each.network and each.variables for each in PRESETS.values())
    assert list(command([sys.executable, "x"]).command(setting)) == [sys.executable, "x"]


def test_an_unknown_preset_is_told() -> None:
    """The names that exist are given."""
    with pytest.raises(NotFound, match="no agent is called 'hal'"):
        preset("hal")
