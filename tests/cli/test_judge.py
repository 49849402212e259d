"""`pilothouse judge`: verdicts from files of runs, plans, and every bad input by its name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from typer.testing import CliRunner

from pilothouse.cli.main import app
from pilothouse.errors import PilothouseError

GOOD = [3.2801, 3.2792, 3.2805, 3.2796, 3.2788]
BETTER = [3.2751, 3.2742, 3.2755, 3.2746, 3.2738]


def _file(folder: Path, name: str, values: list[object], *, steps: object = 100, column: str = "val_loss") -> str:
    path = folder / name
    rows = [f"g,{steps},{name}-{place},{value}" for place, value in enumerate(values)]
    path.write_text("\n".join([f"group,steps,run,{column}", *rows]) + "\n", encoding="utf-8")
    return str(path)


def _json(*words: str) -> Any:
    said = CliRunner().invoke(app, ["judge", *words, "--json"])
    assert said.exit_code == 0, said
    return json.loads(said.stdout)


def _refusal(*words: str) -> PilothouseError:
    said = CliRunner().invoke(app, ["judge", *words])
    assert isinstance(said.exception, PilothouseError), said
    return said.exception


def test_a_better_candidate_is_improved_and_the_mirror_is_regressed(tmp_path: Path) -> None:
    good, better = _file(tmp_path, "a.csv", [*GOOD]), _file(tmp_path, "b.csv", [*BETTER])

    one, other = _json("compare", good, better), _json("compare", better, good)

    assert (one["outcome"], other["outcome"]) == ("improved", "regressed")
    assert one["difference"] == pytest.approx(-0.005)
    assert one["interval"] == pytest.approx([-end for end in reversed(other["interval"])])
    assert one["confidence"] == "replicated"
    assert one["permutation_p"] == pytest.approx(2 / 252)
    assert _json("compare", good, better, "--direction", "max")["outcome"] == "regressed"
    assert _json("compare", good, better, "--held-before", "1")["confidence"] == "stable"


def test_looks_stop_early_and_say_what_is_left(tmp_path: Path) -> None:
    good, better = _file(tmp_path, "a.csv", [*GOOD]), _file(tmp_path, "b.csv", [*BETTER])

    found = _json("compare", good, better, "--looks", "3,5,8")
    waiting = _json("compare", good, _file(tmp_path, "c.csv", [3.2795, 3.2790, 3.2800]), "--looks", "3,5,8")

    assert (found["outcome"], found["step"], found["seeds"]) == ("improved", "promote", 3)
    assert found["alpha_left"] > 0
    assert (waiting["outcome"], waiting["step"], waiting["seeds"]) == ("inconclusive", "launch", 5)


def test_looks_heed_what_is_of_interest_and_say_one_verdict_only(tmp_path: Path) -> None:
    """The smallest effect and the margin count for a look as well, in JSON and in words."""
    good, better = _file(tmp_path, "a.csv", [*GOOD]), _file(tmp_path, "b.csv", [*BETTER])

    small = ("compare", good, better, "--looks", "3,5", "--smallest-effect", "0.5")
    worse = _json("compare", better, good, "--looks", "3,5", "--no-worse-by", "1")
    said = CliRunner().invoke(app, ["judge", *small])

    found = _json(*small)
    assert (found["outcome"], found["step"]) == ("inconclusive", "promote")
    assert "below the smallest of interest, 0.5" in found["reason"]
    assert worse["outcome"] == "equivalent"
    assert found["interval_level"] == 0.95
    assert said.stdout.startswith("val_loss: inconclusive: the gain 0.005 is real but below")
    assert "val_loss: improved" not in said.stdout
    assert "promote at 3 seeds" in said.stdout


def test_guards_hold_a_better_candidate_back(tmp_path: Path) -> None:
    for name, losses, seconds in (("a.csv", GOOD, [60.0, 61.0, 59.5, 60.2, 60.4]), ("b.csv", BETTER, [80.0] * 5)):
        rows = [f"{place},{loss},{second}" for place, (loss, second) in enumerate(zip(losses, seconds, strict=True))]
        (tmp_path / name).write_text("\n".join(["run,val_loss,seconds", *rows]), encoding="utf-8")

    found = _json("compare", str(tmp_path / "a.csv"), str(tmp_path / "b.csv"), "--guard", "seconds:min:5")

    assert found["outcome"] == "improved"
    assert found["held_back_by"] == ["seconds"]


def test_the_picture_is_an_image_with_a_title(tmp_path: Path) -> None:
    good, better, svg = _file(tmp_path, "a.csv", [*GOOD]), _file(tmp_path, "b.csv", [*BETTER]), tmp_path / "x.svg"

    said = CliRunner().invoke(app, ["judge", "compare", good, better, "--svg", str(svg)])

    root = ET.fromstring(svg.read_text(encoding="utf-8"))
    assert root.get("role") == "img"
    assert root[0].text == "Candidate against baseline"
    assert "val_loss: improved (replicated)" in said.stdout
    assert "o" in said.stdout.splitlines()[4]


def test_a_plan_says_seeds_and_what_looks_save() -> None:
    found = _json("plan", "--effect", "2", "--sigma", "1", "--power", "0.9")

    assert found["seeds_fixed"] == 6
    assert found["seeds_sequential_mean"] < 6
    assert found["power_sequential"] >= 0.95


@pytest.mark.parametrize(
    ("rows", "named"),
    [
        ("run,loss\n1,2.0\n2,2.1\n", "no column 'val_loss'"),
        ("run,val_loss\n1,2.0\n", "baseline has 1 finished runs; 1 are missing"),
        ("run,val_loss\n1,2.0\n1,2.1\n", "line 3: the run '1' stands there twice, first in line 2"),
        ("run,val_loss\n1,2.0\n2,soon\n", "line 3: val_loss is 'soon'"),
        ("run,val_loss\n1,2.0\n2\n", "line 3: the row has another number of fields"),
        ("run,val_loss\n", "holds no run"),
        ("", "no column 'run'"),
        ("run,steps,val_loss\n1,100,2.0\n2,200,2.1\n", "mixes step counts: 100, 200"),
        ("run,steps,val_loss\n1,ten,2.0\n", "steps is 'ten'"),
        ("group,run,val_loss\na,1,2.0\nb,2,2.1\n", "holds 2 groups: a, b"),
        ("run,val_loss\n1,nan\n2,inf\n", "baseline has 0 finished runs; 2 are missing"),
    ],
)
def test_what_is_wrong_with_a_file_is_named(rows: str, named: str, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(rows, encoding="utf-8")
    other = tmp_path / "b.csv"
    other.write_text("run,val_loss\n1,2.0\n2,2.1\n", encoding="utf-8")

    error = _refusal("compare", str(tmp_path / "a.csv"), str(other))

    assert named in error.message
    assert error.fix


def test_arms_that_do_not_belong_together_are_named(tmp_path: Path) -> None:
    short = _file(tmp_path, "a.csv", [*GOOD])
    constant = _file(tmp_path, "d.csv", [1.0, 1.0, 1.0])

    assert (
        "step counts are mixed: 100" in _refusal("compare", short, _file(tmp_path, "b.csv", [*GOOD], steps=200)).message
    )
    assert "val_loss is constant" in _refusal("compare", constant, _file(tmp_path, "e.csv", [1.0, 1.0])).message
    assert "too large" in _refusal("compare", short, _file(tmp_path, "f.csv", [1e308, -1e308, 1.0])).message
    assert "does not exist" in _refusal("compare", short, str(tmp_path / "none.csv")).message


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("--direction", "up"), "direction is 'up'"),
        (("--looks", "3,five"), "looks are '3,five'"),
        (("--looks", "5,3"), r"looks are [5, 3]"),
        (("--alpha", "0.9"), "alpha is 0.9"),
        (("--smallest-effect", "-1"), "smallest effect"),
        (("--guard", "val_loss:min:much"), "is no number"),
    ],
)
def test_a_question_that_cannot_be_is_named(words: tuple[str, ...], named: str, tmp_path: Path) -> None:
    files = _file(tmp_path, "a.csv", [*GOOD]), _file(tmp_path, "b.csv", [*BETTER])

    assert named in _refusal("compare", *files, *words).message


def test_a_plan_for_nothing_is_refused() -> None:
    assert "effect is 0.0" in _refusal("plan", "--effect", "0", "--sigma", "1").message
    assert "more than 10000 seeds" in _refusal("plan", "--effect", "0.001", "--sigma", "1").message
    assert "alpha is 0.9" in _refusal("plan", "--effect", "1", "--sigma", "1", "--alpha", "0.9").message
    assert "standard deviations" in _refusal("plan", "--effect", "1e9", "--sigma", "1e-300").message
    assert _json("plan", "--effect", "1e5", "--sigma", "1")["power_fixed"] == 1.0


def test_a_bench_without_enough_runs_says_how_many_are_missing(tmp_path: Path) -> None:
    runs = _file(tmp_path, "a.csv", [*GOOD])

    said = CliRunner().invoke(app, ["bench", "judge", "--runs", runs])

    assert isinstance(said.exception, PilothouseError)
    assert "0 groups of at least 8 runs (the largest has 5); 3 more are needed" in said.exception.message
