"""The file that is written for a script is a campaign that can be checked, with every guess marked as one."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from pilothouse.campaigns.autopilot_definition import AutopilotDefinition
from pilothouse.campaigns.source import read_definition
from pilothouse.errors import BadCampaignFile
from pilothouse.fleet.arguments import fill
from pilothouse.scripts.argument import Argument, Kind
from pilothouse.scripts.campaign_text import FILL_IN, Draft, campaign_text
from pilothouse.scripts.guess import Role, guess
from pilothouse.scripts.reading import metrics_of, parse, read_script
from pilothouse.scripts.starter import starter

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = (ROOT / "examples/pytorch/digits.py").read_text(encoding="utf-8")
HEAD = "import argparse, json\np = argparse.ArgumentParser()\n"
SUMMARY = "json.dump({'val_loss': x}, open('summary.json', 'w'))\n"


def drafted(text: str) -> str:
    """Return the campaign file that is written for a script of this text."""
    tree = parse(text, script="t.py")
    reading, metrics = read_script(tree, script="t.py"), metrics_of(tree)
    return campaign_text(Draft(file="t.toml", name="t", command=("python", "t.py"), reading=reading, metrics=metrics))


def defined(text: str) -> AutopilotDefinition:
    """Return the definition in the file that is written for a script of this text."""
    definition = read_definition(drafted(text), name="t.toml")
    assert isinstance(definition, AutopilotDefinition)
    return definition


def words_for(definition: AutopilotDefinition) -> tuple[str, ...]:
    """Return what the unchanged config's run of seed 5 is started with, behind the script."""
    rules = definition.trainer.argument_rules()
    assert rules is not None
    config = {**definition.trainer.fixed_values(), **{name: each.default for name, each in definition.knobs.items()}}
    command = definition.trainer.command
    return fill(command, rules, config=config, seed=5, run_dir="/r", config_file="/r/config.json")[2:]


def test_the_file_for_the_example_script_needs_no_mending() -> None:
    """What it knows to be a knob is one, what makes the task is not, and seed and folder are handed over."""
    definition = defined(EXAMPLE)

    assert {"lr", "weight_decay", "batch_size", "dropout", "optimizer", "nesterov"} <= definition.knobs.keys()
    assert {"noise", "epochs", "device"} <= definition.trainer.config.keys()
    assert definition.primary()[0] == "val_loss"
    assert words_for(definition)[:4] == ("--seed", "5", "--output-dir", "/r")


def test_the_script_reads_back_its_own_defaults_from_the_arguments_that_it_is_started_with() -> None:
    """Options of every form, told by rule or by spelling."""
    script = HEAD + (
        "p.add_argument('--learning-rate', type=float, default=3e-5)\n"
        "p.add_argument('--bs', dest='batch_size', type=int, default=8)\n"
        "p.add_argument('--amp', action='store_true')\n"
        "p.add_argument('--no-cache', dest='cache', action='store_false')\n"
        "p.add_argument('--betas', nargs=2, type=float, default=[0.9, 0.99])\n"
        "p.add_argument('--mode', choices=['a', 'b'], default='a')\n"
        "p.add_argument('--note', default='-a b')\n"
        "p.add_argument('--size', type=int, choices=[1, 2], default=2)\n"
    )
    names: dict[str, argparse.ArgumentParser] = {}
    exec(script.replace("p = ", "names['p'] = p = "), {"names": names})  # noqa: S102  the script of this very test

    parser = names["p"]

    assert parser.parse_args(words_for(defined(script + SUMMARY))) == parser.parse_args([])


@pytest.mark.parametrize(
    ("script", "where"),
    [
        (HEAD + "p.add_argument('--lr', type=float, default=0.1)\n", f"metrics.{FILL_IN}"),
        (HEAD + SUMMARY + "p.add_argument('data')\np.add_argument('--lr', type=float, default=1)\n", "config.data"),
        (HEAD + SUMMARY + "p.add_argument('--n', type=str, default='x')\n", f"knobs.{FILL_IN}"),
    ],
)
def test_what_only_a_person_knows_is_refused_with_its_line_until_it_is_filled_in(script: str, where: str) -> None:
    text = drafted(script)

    with pytest.raises(BadCampaignFile) as refused:
        read_definition(text, name="t.toml")

    assert where in refused.value.message
    assert refused.value.line is not None
    assert FILL_IN in text.splitlines()[refused.value.line - 1]


@pytest.mark.parametrize(
    "name", ["val/loss", "val loss", 'val_loss]\n[gate]\napproval = "waived"\n[x', "val_\u2028loss"]
)
def test_a_metric_stands_in_the_file_by_whatever_name_the_script_gives_it(name: str) -> None:
    """A name is a name: it opens no table of its own, least of all the gate."""
    others = f"{{'val_error': x, {name!r}: x, {name + '2'!r}: x}}"
    texts = [
        drafted(
            f"{HEAD}p.add_argument('--lr', type=float, default=0.1)\njson.dump({each}, open('summary.json', 'w'))\n"
        )
        for each in (f"{{{name!r}: x}}", others)
    ]
    first, second = (read_definition(text, name="t.toml") for text in texts)
    uncommented = (
        texts[1].replace("# [metrics", "[metrics").replace("# direction", "direction").replace("# guard", "guard")
    )

    assert first.primary()[0] == name
    assert first.gate.approval == second.gate.approval == "required"
    assert set(read_definition(uncommented, name="t.toml").metrics) == {"val_error", name, name + "2"}


def test_help_texts_and_names_cannot_break_the_file() -> None:
    """A quote, a line's end, a bell and a brace in them are comments and texts as others are."""
    script = (
        HEAD
        + SUMMARY
        + (
            r"p.add_argument('--lr', type=float, default=0.1, help='a\n[x]\a \"q\" %% (default: %(default)s)')" + "\n"
            r"p.add_argument('--note', default='\"\n\x7f{seed}')" + "\n"
            "p.add_argument('--odd.name', type=float, default=1.0)\n"
        )
    )
    definition = defined(script)

    assert definition.trainer.config["note"] == '"\n\x7f{seed}'
    assert "odd.name" not in definition.knobs


@pytest.mark.parametrize(
    ("name", "kind", "default", "role", "log"),
    [
        ("lr", Kind.FLOAT, 1e-3, Role.KNOB, True),
        ("learningRate", Kind.FLOAT, 1e-3, Role.KNOB, True),
        ("weight_decay", Kind.FLOAT, 0.0, Role.KNOB, False),
        ("dropout", Kind.FLOAT, 0.1, Role.KNOB, False),
        ("batch_size", Kind.INT, 32, Role.KNOB, True),
        ("eval_batch_size", Kind.INT, 32, Role.FIXED, False),
        ("num_layers", Kind.INT, 2, Role.KNOB, True),
        ("warmup_steps", Kind.INT, 0, Role.KNOB, False),
        ("epochs", Kind.INT, 3, Role.FIXED, False),
        ("num_workers", Kind.INT, 3, Role.FIXED, False),
        ("noise", Kind.FLOAT, 0.3, Role.MAYBE, False),
        ("random_state", Kind.INT, 0, Role.SEED, False),
        ("out_dir", Kind.TEXT, "x", Role.RUN_FOLDER, False),
        ("output", Kind.TEXT, None, Role.RUN_FOLDER, False),
        ("save_path", Kind.TEXT, "m.pt", Role.RUN_FILE, False),
        ("data_dir", Kind.TEXT, "x", Role.FIXED, False),
        ("loss", Kind.TEXT, "mse", Role.FIXED, False),
        ("use_bias", Kind.BOOL, True, Role.KNOB, False),
        ("verbose", Kind.BOOL, False, Role.FIXED, False),
        ("checkpoint", Kind.TEXT, None, Role.LEFT, False),
    ],
)
def test_an_argument_is_taken_for_what_its_name_and_default_say(
    name: str, kind: Kind, default: float | str | bool | None, role: Role, log: bool
) -> None:
    """The default always lies in the range that is guessed around it."""
    found = guess(Argument(name=name, option=f"--{name}", kind=kind, default=default))

    assert (found.role, found.log) == (role, log)
    if role is Role.KNOB and kind in {Kind.FLOAT, Kind.INT}:
        assert isinstance(default, float | int)
        assert found.low <= default <= found.high > found.low


def test_a_default_that_no_campaign_file_can_hold_is_left_to_the_script() -> None:
    """Click hands over pairs, for one."""
    for default in ({"a": 1}, [None], [[1, 2]]):
        found = guess(Argument(name="pairs", option="--pairs", kind=Kind.TEXT, default=default))

        assert (found.role, "no value of a campaign file" in found.why) == (Role.LEFT, True)


def test_the_starter_is_a_campaign_whose_trainer_takes_its_values() -> None:
    text, trainer = starter(file="s.toml", script="s_train.py", name="s")
    definition = read_definition(text, name="s.toml")
    reading = read_script(parse(trainer, script="s_train.py"), script="s_train.py")

    told = definition.knobs.keys() | definition.trainer.config.keys()

    assert told | {"seed", "output_dir"} == {each.name for each in reading.arguments}
