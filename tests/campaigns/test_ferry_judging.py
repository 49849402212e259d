"""When a ferry counts, when it is promoted, and what its file may say."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilothouse.campaigns.ferry_definition import Reliability
from pilothouse.campaigns.ferry_judging import Measured, held_back_by, worse_of
from pilothouse.campaigns.ferry_template import baseline_block, moved_words, with_baseline, with_defaults
from pilothouse.campaigns.source import read_definition
from pilothouse.canonical import Json
from pilothouse.errors import BadCampaignFile, BadValue
from pilothouse.evidence.verdict import Outcome, Verdict
from pilothouse.testing.values import make_verdict
from tests.campaigns.ferry_world import TEXT

OUTCOMES = st.sampled_from([Outcome.IMPROVED, Outcome.REGRESSED, Outcome.INCONCLUSIVE])


def verdicts(*outcomes: Outcome) -> tuple[Verdict, ...]:
    """Return a verdict for each key metric, the primary one first."""
    return tuple(replace(make_verdict(), metric=f"m{place}", outcome=outcome) for place, outcome in enumerate(outcomes))


@given(st.lists(OUTCOMES, min_size=1, max_size=9), st.booleans())
def test_most_key_metrics_have_to_improve_and_nothing_essential_to_get_worse(
    outcomes: list[Outcome], smooth: bool
) -> None:
    """More than half by verdict, the primary not regressed, reliability not worse: no more and no less."""
    held = held_back_by(verdicts(*outcomes), () if smooth else ("attempts 1 → 3",))

    most = 2 * outcomes.count(Outcome.IMPROVED) > len(outcomes)
    assert (held == "") == (most and outcomes[0] is not Outcome.REGRESSED and smooth)


def test_reliability_is_worse_by_more_than_its_share_or_by_going_missing() -> None:
    """What was never measured before cannot have got worse."""
    rules = {
        "attempts": Reliability(direction="min"),
        "speed": Reliability(direction="max", worse_by=0.05),
        "stall": Reliability(direction="min"),
        "new": Reliability(direction="min"),
    }
    before = Measured(metrics={"speed": 100.0, "stall": 0.1}, own={"attempts": 1.0})
    after = Measured(metrics={"speed": 96.0, "new": 5.0}, own={"attempts": 2.0})

    assert worse_of(rules, before=before, after=after) == ("attempts 1 → 2", "stall is missing")
    slower = replace(after, metrics={"speed": 94.0, "stall": 0.1}, own={"attempts": 1.0})
    assert worse_of(rules, before=before, after=slower) == ("speed 100 → 94",)


TEMPLATE = """\
# The template of the daily ferry.
[knobs.lr]   # the peak
type = "float"
default = 0.1   # tuned in spring
min = 0.0
max = 1.0

[knobs.mode]
type = "choice"
default = "a"
choices = ["a", "b"]

[metrics.default]
default = 5
"""


def test_a_promotion_sets_the_defaults_and_leaves_everything_else() -> None:
    """Comments, order and other tables stay as they were written; a knob that the template lacks is left out."""
    edited = with_defaults(TEMPLATE, {"lr": 0.2, "mode": "b", "other": 3})

    assert edited == TEMPLATE.replace("default = 0.1 ", "default = 0.2 ").replace('default = "a"', 'default = "b"')


def test_a_promotion_tells_every_value_that_moved_since_the_baseline() -> None:
    """Inconclusive steps of the ferries in between are part of what a reader merges."""
    before: dict[str, Json] = {"lr": 0.1, "mode": "a", "warm": 5}
    after: dict[str, Json] = {"lr": 0.4, "mode": "b", "warm": 5, "new": True}

    assert moved_words(before, after) == ("lr: 0.1 → 0.4", "mode: a → b", "new: unset → True")


@pytest.mark.parametrize("text", ["[knobs]\nlr = { default = 0.1 }\n", "[knobs.lr]\nmin = 0\n", "not toml ="])
def test_a_template_that_cannot_be_edited_line_by_line_is_refused(text: str) -> None:
    """Instead of being broken."""
    with pytest.raises(BadValue, match="template"):
        with_defaults(text, {"lr": 0.2})


def test_the_recipe_s_own_block_is_replaced_and_no_other() -> None:
    """A page without the marks stays as it is."""
    page = (
        "# R\n<!-- ferry baseline: a -->\nold\n<!-- end of ferry baseline -->\nafter\n<!-- ferry baseline: b -->\nb\n"
    )
    block = baseline_block(run="a-1", config={"lr": 0.1}, metrics={"loss": 1.5})

    edited = with_baseline(page, name="a", block=block)

    assert "old" not in edited
    assert "| `lr` | 0.1 |" in edited
    assert edited.endswith("<!-- end of ferry baseline -->\nafter\n<!-- ferry baseline: b -->\nb\n")
    assert with_baseline("nothing", name="a", block=block) == "nothing"
    assert with_baseline(edited, name="a", block=block) == edited


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (('size = "125m"', 'size = "125m"\nkey_metrics = ["nothing"]'), "key_metrics names"),
        (('size = "125m"', 'size = "125m"\nform = "canary"'), "a canary runs one fixed config"),
        (("primary = true", 'primary = true\n\n[metrics.speed]\ndirection = "max"\nguard = true'), "does not heed"),
        (('size = "125m"', 'size = "125m"\n[ferry.validators.loss]'), "at_most or at_least"),
        (
            ('size = "125m"', 'size = "125m"\n[ferry.validators.loss]\nat_most = 1.0\nat_least = 2.0'),
            "nothing would pass",
        ),
        (('size = "125m"', 'size = "125m"\n[ferry.schedule]\ncron = "0 25 * * *"'), "Bad hour"),
        (('size = "125m"', 'size = "125m"\n[ferry.schedule]\ncron = "0 2 * * *"\nzone = "Moon"'), "no time zone"),
        (('size = "125m"', 'size = "12 5"'), "size"),
        (('size = "125m"', 'size = "125m"\ntemplate = "../daily.toml"'), "no file of the repository"),
        (('size = "125m"', 'size = "125m"\ntemplate = "/etc/daily.toml"'), "no file of the repository"),
        (('size = "125m"', 'size = "125m"\nrecipe = ".git/config"'), "no file of the repository"),
        (
            (
                'size = "125m"',
                'size = "125m"\n[ferry.ranking]\nvalue = 0.0\nblast_radius = 0.0\nreversibility = 0.0\nsignal = 0.0',
            ),
            "no change could be preferred",
        ),
    ],
)
def test_a_file_that_cannot_be_kept_is_refused_with_its_place(change: tuple[str, str], said: str) -> None:
    """Each contradiction by name."""
    text = TEXT.replace(*change)

    with pytest.raises(BadCampaignFile, match=said):
        read_definition(text, name="daily.toml")
