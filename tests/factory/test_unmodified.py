"""A script that reads arguments and knows nothing of Pilothouse is a training program as it stands."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from pilothouse.canonical import Json
from pilothouse.fleet.arguments import Arguments, Booleans, Names, Style
from pilothouse.fleet.job import JobSpec, Outcome
from pilothouse.testing.factory_bench import SPEC, Bench
from tests.factory.programs import reported

SCRIPT = """
import argparse, json, pathlib
parser = argparse.ArgumentParser()
parser.add_argument("--learning-rate", type=float, required=True)
parser.add_argument("--note")
parser.add_argument("--nesterov", action=argparse.BooleanOptionalAction)
parser.add_argument("--seed", type=int)
parser.add_argument("--out", type=pathlib.Path)
args = parser.parse_args()
(args.out / "seen.json").write_text(json.dumps({**vars(args), "out": ""}))
(args.out / NAME).write_text(json.dumps({"loss": args.learning_rate * 2, "note": args.note, "fit": True}))
"""
RULES = Arguments(style=Style.APART, names=Names.DASHES, booleans=Booleans.PAIR)


def unmodified(bench: Bench, *, name: str, config: dict[str, Json], more: tuple[str, ...] = ()) -> JobSpec:
    """Return the spec of a run of the script, which writes a summary of that name."""
    script = bench.home / "train.py"
    script.write_text(f"NAME = {name!r}\n{SCRIPT}", encoding="utf-8")
    command = ("python", str(script), "--seed", "{seed}", "--out", "{run_dir}", *more)
    return dataclasses.replace(SPEC, command=command, config=config, arguments=RULES.as_json(), metrics=("loss",))


@pytest.mark.parametrize("name", ["summary.json", "trainer_summary.json"])
def test_an_unmodified_script_is_told_its_values_and_its_numbers_are_the_metrics(bench: Bench, name: str) -> None:
    """Its summary is a plain object: what is no number in it, a truth among them, is no metric."""
    config: dict[str, Json] = {"learning_rate": 3e-5, "note": "-a b", "nesterov": False}
    spec = unmodified(bench, name=name, config=config)

    report = reported(bench.run(bench.offer_for("", spec=spec)))

    assert (report.outcome, report.metrics) == (Outcome.SUCCEEDED, {"loss": 6e-5})
    seen = json.loads((bench.folder() / "seen.json").read_text(encoding="utf-8"))
    assert seen == {**config, "seed": spec.seed, "out": ""}


def test_a_command_that_cannot_be_filled_ends_the_attempt_with_the_reason(bench: Bench) -> None:
    """A campaign is checked before; what comes another way is told where it fails."""
    spec = unmodified(bench, name="summary.json", config={"learning_rate": 0.1}, more=("{sed}",))

    report = reported(bench.run(bench.offer_for("", spec=spec)))

    assert report.outcome is Outcome.LAUNCH_FAILED
    assert "did you mean {seed}?" in report.detail


def test_braces_of_a_job_that_asks_for_no_filling_stand_as_they_are(bench: Bench) -> None:
    """Nobody who orders a job by hand is surprised."""
    text = "import pathlib, sys, os; pathlib.Path(os.environ['PILOTHOUSE_RUN_DIR'], 'word').write_text(sys.argv[1])"
    spec = dataclasses.replace(SPEC, command=("python", "-c", text, "{seed}"), metrics=())

    bench.run(bench.offer_for("", spec=spec))

    assert Path(bench.folder(), "word").read_text(encoding="utf-8") == "{seed}"
