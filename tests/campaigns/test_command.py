"""A campaign's commands are checked with its values before anything runs, and their steps are named by how."""

from __future__ import annotations

import pytest

from pilothouse.campaigns.kinds import definition_of
from pilothouse.campaigns.sections import ArgumentsTable
from pilothouse.campaigns.steps import Step, make_step
from pilothouse.errors import BadCampaignFile
from tests.campaigns.pilot_world import TEXT, pilot_definition
from tests.campaigns.world import little_definition


def asking(words: str) -> tuple[str, str]:
    """Return the change of the file that makes these the trainer's command and its arguments."""
    line = next(line for line in TEXT.splitlines() if line.startswith("command = "))
    return line, words


@pytest.mark.parametrize(
    ("words", "named"),
    [
        ('command = ["t", "{sed}"]', "did you mean {seed}"),
        ('command = ["t"]\narguments = { spelled = { rat = "--r" } }', "rat"),
        ('command = ["t"]\narguments = { style = "-key" }', "--key value"),
        ('command = ["t", "--lr", "1"]\narguments = {}', "take it out of the command"),
        ('command = ["t"]\narguments = { boolean = "pair" }', "unknown key"),
    ],
)
def test_a_command_that_cannot_be_filled_is_refused_when_the_file_is_read(words: str, named: str) -> None:
    with pytest.raises(BadCampaignFile) as refused:
        pilot_definition(asking(words))

    assert named in refused.value.message + refused.value.fix


def test_the_steps_of_a_flywheel_are_checked_as_well() -> None:
    """With the values that they are given besides: the generator gets seeds, the tokeniser does not."""
    whole = little_definition().model_dump(mode="json", exclude_none=True)
    whole["flywheel"]["generate"]["command"] = ["g", "{seeds}"]
    definition_of(whole)

    whole["flywheel"]["tokenise"]["command"] = ["g", "{seeds}"]
    with pytest.raises(ValueError, match=r"names \{seeds\}"):
        definition_of(whole)


def step_of(command: tuple[str, ...], arguments: ArgumentsTable | None) -> Step:
    """Return a run of this command."""
    definition = pilot_definition()
    table = definition.trainer.model_copy(update={"command": command, "arguments": arguments})
    return make_step(definition, kind="run", table=table, config={"rate": 1.0}, trial=1, feeds={}, artifacts=(), seed=3)


def test_a_step_is_named_by_how_its_values_are_told_and_only_where_they_are() -> None:
    plain, filled = step_of(("t",), None), step_of(("t", "{seed}"), None)
    told, joined = (step_of(("t",), ArgumentsTable(style=style)) for style in ("--key value", "--key=value"))

    assert (plain.spec.arguments, filled.spec.arguments["style"]) == ({}, "none")
    assert (told.spec.arguments["style"], joined.spec.arguments["style"]) == ("--key value", "--key=value")
    assert len({plain.key, filled.key, told.key, joined.key}) == 4
