"""What came of asking, whoever was asked: the run, its cost, its refusal, and a stop in the middle of it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from tests.propose.agents import WRITES, a_search, agent, proposer

from pilothouse.errors import BadValue, Refused
from pilothouse.ports.proposer import AskingStopped, answer_of
from pilothouse.proposals.one_axis import OneAxis
from pilothouse.propose.agent import AgentProposer
from pilothouse.propose.agent_record import charged
from pilothouse.propose.hybrid import Hybrid
from pilothouse.propose.sandbox.level import Level, Rung

HANGS = "open('began', 'w').close(); import threading; threading.Event().wait()"


def test_a_plain_proposer_tells_its_suggestion_alone() -> None:
    """Nothing was run, so nothing was charged."""
    answered = answer_of(OneAxis(), a_search())

    assert answered.suggestion == OneAxis().propose(a_search())
    assert (answered.told, answered.refusal, answered.source) == (None, None, "")


def test_an_agent_tells_its_run_and_what_it_is_charged(tmp_path: Path) -> None:
    """The estimate of the file stands for what the agent does not tell."""
    answered = answer_of(proposer(tmp_path, WRITES, cost_estimate_usd=0.25), a_search())

    assert answered.suggestion is not None
    assert answered.told is not None
    assert (answered.source, answered.told.charged_usd, answered.refusal) == ("agent:command", 0.25, None)


def test_an_answer_that_is_not_taken_is_told_and_not_raised(tmp_path: Path) -> None:
    """So that the loop keeps it; in a hybrid the base's suggestion stands beside it."""
    asking = proposer(tmp_path, "open('proposal.json', 'w').write('{')")
    alone = answer_of(asking, a_search())
    hybrid = answer_of(Hybrid(base=OneAxis(), overriding=asking, share=1.0, source=asking.source), a_search())

    assert isinstance(alone.refusal, BadValue)
    assert alone.suggestion is None
    assert hybrid.suggestion is not None
    assert (hybrid.suggestion.source, hybrid.source) == ("one-axis", "agent:command")
    assert "not JSON" in hybrid.suggestion.rationale
    assert hybrid.told == alone.told


def test_an_agent_that_is_stopped_ends_and_is_asked_again(tmp_path: Path) -> None:
    """Nothing of it is kept but that it was begun, and nobody knows what it has cost."""
    began = list((tmp_path / "agents").glob("*/attempt-1/out/began"))
    asking = proposer(tmp_path, HANGS)

    with pytest.raises(AskingStopped):
        asking.answer(a_search(), lambda: bool(list((tmp_path / "agents").glob("*/attempt-1/out/began"))))

    again = proposer(tmp_path, WRITES).answer(a_search())
    assert began == []
    assert again.told is not None
    assert (again.told.record["attempt"], again.told.charged_usd) == (2, None)


def test_an_interrupted_run_is_charged_with_the_estimate(tmp_path: Path) -> None:
    """Without one the sum is not known, and never zero."""
    record = proposer(tmp_path, WRITES).ask(a_search()).record
    paid = replace(record, usage=replace(record.usage, cost_usd=1.0))

    assert charged(paid, None) == 1.0
    assert charged(replace(paid, attempt=3), 0.5) == 2.0
    assert charged(replace(paid, attempt=3), None) is None
    assert charged(record, 0.5) is None


def test_a_waiver_of_confinement_that_has_ended_holds_no_more(tmp_path: Path) -> None:
    """Whoever allowed an agent without confinement did so until a time."""
    asking = agent(tmp_path, WRITES)
    over = replace(asking, level=Level(rung=Rung.NONE), unconfined_allowed_by="ada", waiver_ended=lambda: True)

    with pytest.raises(Refused, match="cannot confine"):
        AgentProposer(over).answer(a_search())


def test_the_baseline_s_run_lies_beside_the_last_one(tmp_path: Path) -> None:
    """Each under its own name, and a question about other runs is another question."""
    for name in ("run", "best"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "summary.json").write_text(json.dumps({"of": name}), encoding="utf-8")
    source = f"""
import json, os, pathlib
of = [json.loads(pathlib.Path(os.environ[name], "summary.json").read_text())["of"]
      for name in ("PILOTHOUSE_RUN_DIR", "PILOTHOUSE_BEST_DIR")]
assert of == ["run", "best"], of
{WRITES}
"""
    folders = {"artefacts": lambda: tmp_path / "run", "best": lambda: tmp_path / "best"}
    first = proposer(tmp_path, source, **folders).ask(a_search())
    (tmp_path / "best" / "summary.json").write_text(json.dumps({"of": "best", "more": 1}), encoding="utf-8")
    second = proposer(tmp_path, source, **folders).ask(a_search())

    assert first.refusal is second.refusal is None
    assert first.record.context_digest != second.record.context_digest
