"""When a ferry's agent is asked: for a change where the rules leave a choice, for a patch after a small bug."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pilothouse.campaigns.action import Finished
from pilothouse.campaigns.ferry import DraftFerry, FerryFacts, ProposePatch, Rest, next_action
from pilothouse.campaigns.ferry_definition import FerryDefinition
from pilothouse.campaigns.ferry_letters import Sender, patch_letters
from pilothouse.campaigns.ferry_trace import Place, last_place
from pilothouse.campaigns.stop_rules import Stuck
from pilothouse.errors import BadCampaignFile
from pilothouse.fleet.job import Outcome
from pilothouse.fleet.stages import Stage
from pilothouse.ids import ProductId, RunId
from pilothouse.proposals.patch import Patch
from pilothouse.proposals.proposal import Risk
from tests.campaigns.ferry_world import DAILY, TEXT, World, definition_of

AGENT = '\n[ferry.agent]\ncommand = ["python", "agent.py"]\n'
PATCH = '\n[ferry.patch]\npaths = ["src"]\n'
TRACE = '  File "/code/src/train.py", line 7, in <module>\nNameError: name is not defined\n'


def broken(definition: FerryDefinition) -> World:
    """Return a world whose ferry has failed by a small bug."""
    world = World(definition=definition)
    world.sail()
    world.end(Stage.FAILED, Outcome.CRASHED, detail="exit 1", evidence=TRACE)
    return world


def told(world: World, words: str) -> FerryFacts:
    """Return the facts once it is known what became of the patch."""
    wanted = world.next()
    assert isinstance(wanted, ProposePatch)
    return replace(world.facts(), patches={wanted.job: words})


def test_a_small_bug_is_an_agent_s_to_mend_once_where_the_file_lets_it() -> None:
    """And a person's to merge: what the loop waits for names what came of it."""
    world = broken(definition_of(TEXT + AGENT + PATCH))

    wanted = world.next()
    waiting = next_action(world.definition, told(world, "take it with `git merge x`"))

    assert isinstance(wanted, ProposePatch)
    assert wanted.failure.signature.startswith("NameError")
    assert isinstance(waiting, Stuck)
    assert waiting.reason.endswith("take it with `git merge x`")


def test_a_loop_that_stays_on_waits_with_the_name_of_the_branch() -> None:
    """It is posted as a failure that waits for somebody."""
    world = broken(definition_of(TEXT + AGENT + PATCH))
    facts = replace(told(world, "take it with `git merge x`"), wait=True)

    action = next_action(definition_of(TEXT + AGENT + PATCH + DAILY), facts)

    assert isinstance(action, Rest)
    assert action.failed
    assert "take it with `git merge x`" in action.why


@pytest.mark.parametrize("more", ["", AGENT])
def test_nobody_is_asked_for_a_patch_where_the_file_lets_nobody(more: str) -> None:
    """Off by default, also where an agent drafts."""
    assert isinstance(broken(definition_of(TEXT + more)).next(), Stuck)


def test_code_that_has_moved_is_proposed_and_no_patch_is_asked_for() -> None:
    """Somebody was faster than the agent."""
    world = broken(definition_of(TEXT + AGENT + PATCH))
    world.commit = "c1"

    assert isinstance(world.next(), DraftFerry)


def test_a_budget_that_is_used_up_pays_no_agent() -> None:
    """Neither for a draft nor for a patch; what agents have cost counts for it."""
    text = TEXT.replace("[monitor]", "[budget]\nusd = 1.0\nusd_per_hour = 1.0\n\n[monitor]")
    agent = AGENT + "cost_estimate_usd = 0.5\n"
    world = broken(definition_of(text + agent + PATCH))

    action = next_action(world.definition, replace(world.facts(), agents_usd=1.0))

    assert action == Finished(reason="budget.usd is used up: 1.000 of 1", final=True)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('proposer = "agent"\n', "none is named: add"),
        (PATCH, "none is named: add"),
        (AGENT + "share = 0.3\n", "an autopilot's: take them away"),
        (AGENT + '[ferry.patch]\npaths = ["../x"]\n', "no file of the repository"),
        (AGENT + '[ferry.patch]\npaths = [".git/hooks"]\n', "no file of the repository"),
        (AGENT + "[ferry.patch]\npaths = []\n", "at least 1 item"),
        (AGENT + '[ferry.patch]\npaths = ["src"]\nlines = 1001\n', "1000"),
        (AGENT + "[budget]\nusd = 1.0\nusd_per_hour = 1.0\n", "ferry.agent.cost_estimate_usd"),
    ],
)
def test_a_file_that_contradicts_itself_is_refused(text: str, words: str) -> None:
    """With the word that mends it."""
    with pytest.raises(BadCampaignFile) as refused:
        definition_of(TEXT + text)

    assert words in f"{refused.value.message}; {refused.value.fix}"


def test_an_agent_of_a_ferry_has_ten_minutes_and_its_limit_is_part_of_the_ceiling() -> None:
    """Unless the file says otherwise."""
    definition = definition_of(
        TEXT + AGENT + "cost_estimate_usd = 0.1\ncost_limit_usd = 2.0\nlimits = { cpu_time = 5 }\n"
    )

    assert definition.ferry.agent is not None
    assert (definition.ferry.agent.limits.time, definition.ferry.agent.limits.cpu_time) == (600.0, 5)
    assert definition.ceilings() == {"agent_usd": 2.0}


def test_a_canary_has_neither_choice_nor_patches() -> None:
    """One fixed config; its bugs are mended by hand."""
    text = TEXT.partition("[knobs")[0] + "[metrics" + TEXT.partition("[metrics")[2] + 'form = "canary"\n'

    for more in ('proposer = "agent"\n' + AGENT, AGENT + PATCH):
        with pytest.raises(BadCampaignFile, match="canary"):
            definition_of(text + more)


def test_the_end_of_the_last_trace_is_where_a_bug_is() -> None:
    """Nothing is made up where the log tells none."""
    log = f'  File "/usr/lib/a.py", line 3, in f\n{TRACE}'

    assert last_place(log) == Place(file="/code/src/train.py", line=7)
    assert last_place('File "x", line 99999999999999999999') is None
    assert last_place("") is None


def test_what_a_log_and_an_agent_say_steers_neither_a_terminal_nor_a_trailer_in_a_commit_s_words() -> None:
    """A person reads it by `git show`, and other programs read its lines."""
    patch = Patch(base="c" * 40, files={}, lines=1, rationale="a name\n\nCo-authored-by: ada <a@b>", risk=Risk.LOW)
    sender = Sender(product=ProductId("demo"), definition=definition_of(), run=RunId("daily-1"))

    commit, request = patch_letters(sender, patch, job="daily-1", signature=f"KeyError: \x1b[8m{'x' * 300}")

    title, _, reason, _, end = str(commit.body["message"]).split("\n")
    assert title.startswith("Mend daily-1: KeyError: \\x1b[8mxxx")
    assert (len(title), title) == (214, request.body["title"])
    assert reason == "a name Co-authored-by: ada <a@b>"
    assert end == "Proposed by an agent; nothing of it has been run."
