"""A campaign file is read strictly, and every refusal helps."""

from __future__ import annotations

import pytest

from pilothouse.campaigns.source import key_lines, read_definition
from pilothouse.campaigns.wanted import present_config
from pilothouse.errors import BadCampaignFile
from tests.campaigns.world import little_definition

GOOD = """\
[campaign]
name = "little"
kind = "flywheel"

[trainer]
command = ["python", "train.py"]
timeout = "90s"

[knobs.learning_rate]
type = "float"
default = 1e-3
min = 1e-6
max = 1e-2

[metrics.gap]
direction = "min"
primary = true
column = "regret"

[golden.wide]
seeds = "900:910"

[flywheel]
seeds_per_iteration = 10
golden = "wide"
generate = { command = ["python", "generate.py"] }
tokenise = { command = ["python", "tokenise.py"] }
evaluate = { command = ["python", "evaluate.py"] }
"""


def refusal(text: str) -> BadCampaignFile:
    """Return how the text is refused."""
    with pytest.raises(BadCampaignFile) as caught:
        read_definition(text, name="little.toml")
    return caught.value


def test_a_good_file_is_read() -> None:
    """Durations become seconds, tables become values, what is left out has its default."""
    definition = read_definition(GOOD, name="little.toml")

    assert definition.trainer.timeout == 90.0
    assert definition.knob_rules()["learning_rate"].maximum == 1e-2
    assert definition.primary()[0] == "gap"
    assert definition.decision.alpha == 0.05


def test_a_stored_definition_reads_back() -> None:
    """What is stored of a definition is enough to have it again."""
    definition = read_definition(GOOD, name="little.toml")

    assert type(definition).model_validate(definition.model_dump(mode="json")) == definition


def test_an_unknown_key_names_its_line_and_the_nearest_key() -> None:
    """A typo is found where it stands, with what was probably meant."""
    error = refusal(GOOD.replace("timeout = ", "timeuot = "))

    assert error.line == 7
    assert "line 7" in error.message
    assert "timeuot" in error.message
    assert "timeout" in error.fix


def test_an_unknown_key_of_a_knob_is_found_too() -> None:
    """Tables with free names are as strict inside as the others."""
    error = refusal(GOOD.replace("max = 1e-2", "maxx = 1e-2"))

    assert error.line == 13
    assert "max" in error.fix


def test_an_unknown_table_names_the_known_ones() -> None:
    """A whole table that nobody reads is refused as well."""
    error = refusal(GOOD + "\n[flywhel]\nx = 1\n")

    assert "flywhel" in error.message
    assert "flywheel" in error.fix


@pytest.mark.parametrize(
    ("before", "after", "named"),
    [
        ('timeout = "90s"', 'timeout = "soon"', "soon"),
        ('timeout = "90s"', 'timeout = "0s"', "0s"),
        ('seeds = "900:910"', 'seeds = "910:900"', "910:900"),
        ("seeds_per_iteration = 10", "seeds_per_iteration = true", "seeds_per_iteration"),
        ("seeds_per_iteration = 10", "seeds_per_iteration = 0", "seeds_per_iteration"),
        ('golden = "wide"', 'golden = "narrow"', "narrow"),
        ("primary = true", "primary = false", "primary"),
        ('column = "regret"\n', "", "column"),
        ('name = "little"', 'name = "../little"', "name"),
        ('kind = "flywheel"', 'kind = "carousel"', "flywheel"),
        ('command = ["python", "train.py"]', "command = []", "command"),
    ],
)
def test_a_bad_value_is_named(before: str, after: str, named: str) -> None:
    """The value or the key that is wrong stands in the message."""
    error = refusal(GOOD.replace(before, after))

    assert named in error.message
    assert error.fix


def test_a_missing_key_says_where_it_belongs() -> None:
    """What has no default must be there."""
    error = refusal(GOOD.replace('name = "little"\n', ""))

    assert "campaign.name" in error.message
    assert "[campaign]" in error.fix


def test_broken_toml_names_its_line() -> None:
    """A file that is no TOML at all is refused with its line."""
    error = refusal(GOOD.replace("[trainer]", "[trainer"))

    assert error.line == 5


def test_an_unpriced_budget_in_money_is_refused() -> None:
    """An unknown cost is never taken for zero."""
    error = refusal(GOOD + "\n[budget]\nusd = 5.0\n")

    assert "usd_per_hour" in error.message


def test_an_unsigned_waiver_is_refused() -> None:
    """Somebody answers for an open gate."""
    error = refusal(GOOD + '\n[gate]\napproval = "waived"\n')

    assert "waived_by" in error.message


@pytest.mark.parametrize("asked", ["guard = true", "no_worse_by = 0.5"])
def test_a_guard_that_a_flywheel_would_not_heed_is_refused(asked: str) -> None:
    """A file that promises a guard is never run without one."""
    error = refusal(GOOD + f'[metrics.speed]\ndirection = "max"\n{asked}\n')

    assert "speed" in error.message
    assert "a flywheel decides by its primary metric alone" in error.message


def test_lines_of_tables_and_keys() -> None:
    """Tables, dotted keys and quoted keys all have their line; comments change nothing."""
    lines = key_lines('[a.b] # x\nc = 1\n\n[d]\n"e".f = 2\n')

    assert lines == {("a", "b"): 1, ("a", "b", "c"): 2, ("d",): 4, ("d", "e", "f"): 5}


def test_a_key_that_is_set_twice_is_quoted_with_its_line() -> None:
    """The line itself stands in the error, and what is wrong with it."""
    error = refusal(GOOD.replace('timeout = "90s"', 'timeout = "90s"\ntimeout = "80s"'))

    assert error.line == 8
    assert 'timeout = "80s"' in error.message
    assert "once" in error.fix


RULES = """
[knobs.envs]
type = "int"
default = 8
min = 1
max = 64

[knobs.minibatch]
type = "int"
default = 4
min = 1
max = 64

[rules]
invariants = ["minibatch divides envs"]
derived = { batch = "envs * 16" }
"""


def test_rules_between_knobs_are_read_and_what_follows_is_given_to_the_trainer() -> None:
    definition = little_definition(RULES)

    assert present_config(definition, {"envs": 16, "minibatch": 8}) == {"envs": 16, "minibatch": 8, "batch": 256}


@pytest.mark.parametrize(
    ("before", "after", "named"),
    [
        ("minibatch divides envs", "envs divides minibatch", "envs divides minibatch"),
        ("minibatch divides envs", "envs +", "envs +"),
        ('batch = "envs * 16"', 'envs = "minibatch * 2"', "declared as a knob and as a derived value"),
        ('batch = "envs * 16"', 'batch = "batch * 2"', "batch"),
        ('batch = "envs * 16"', 'batch = "agents * 16"', "agents"),
    ],
)
def test_rules_that_cannot_hold_are_refused_with_the_file(before: str, after: str, named: str) -> None:
    """At the defaults already, so that no night begins with them."""
    with pytest.raises(BadCampaignFile) as refused:
        little_definition(RULES.replace(before, after))

    assert named in refused.value.message
