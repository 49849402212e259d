"""An autopilot's file that asks for the impossible is refused with what it says and how to mend it."""

from __future__ import annotations

import pytest

from pilothouse.errors import BadCampaignFile
from tests.campaigns.pilot_world import TEXT, pilot_definition


@pytest.mark.parametrize(
    ("change", "words", "line"),
    [
        (("[decision]\n", "[decision]\nlooks = [5, 3]\n"), "do not grow", "[decision]"),
        (("[decision]\n", "[decision]\nlooks = []\n"), "do not grow", "[decision]"),
        (("[decision]\n", "[decision]\nlooks = [1, 3]\n"), "greater than or equal to 2", "looks"),
        (("[decision]\n", "[decision]\nmode = 'twice'\n"), "twice", "mode = 'twice'"),
        (("calibration = 6", "calibration = 2"), "greater than or equal to 3", "calibration"),
        (("[decision]\n", "[autopilot]\nproposer = 'oracle'\n[decision]\n"), "oracle", "proposer"),
        (("[decision]\n", "[autopilot.screen]\nmode = 'cheap'\n[decision]\n"), "'cheap' is none of the modes", ""),
        (("guard = true", "primary = true"), "exactly one metric is primary", ""),
        (("[decision]\n", "[autopilot.stop]\nproposal = 3\n[decision]\n"), "unknown key", "proposal = 3"),
    ],
)
def test_a_bad_value_is_named_with_its_line_and_a_mend(change: tuple[str, str], words: str, line: str) -> None:
    """A rule over a table names the line of its head; one over several tables has none."""
    text = TEXT.replace(*change)
    expected = next((number for number, each in enumerate(text.splitlines(), 1) if line and each.startswith(line)), 0)

    with pytest.raises(BadCampaignFile, match=words) as refused:
        pilot_definition(change)

    assert refused.value.fix
    assert refused.value.line == (expected or None)
    assert not expected or f"line {expected}" in refused.value.message
