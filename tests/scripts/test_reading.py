"""What a script declares is read from its text, and what its text does not tell is said, never guessed silently."""

from __future__ import annotations

import textwrap

import pytest

from pilothouse.canonical import Json
from pilothouse.scripts.argument import Argument, Kind, Line, Reading, ScriptUnreadable
from pilothouse.scripts.help_text import read_help
from pilothouse.scripts.reading import metrics_of, parse, read_script

PARSER = "import argparse, os\nMODELS = {'mlp': 1, 'cnn': 2}\nRATE = 3e-4\np = argparse.ArgumentParser()\n"


def read(text: str) -> Reading:
    """Return what is read from the script `t.py` of this text."""
    return read_script(parse(textwrap.dedent(text), script="t.py"), script="t.py")


def declared(call: str) -> Argument:
    """Return the one argument that is declared by a call of add_argument with these words."""
    (argument,) = read(f"{PARSER}p.add_argument({call})\n").arguments
    return argument


@pytest.mark.parametrize(
    ("call", "name", "option", "kind", "default"),
    [
        ("'--lr', type=float, default=0.1", "lr", "--lr", Kind.FLOAT, 0.1),
        ("'--lr', type=float, default=1", "lr", "--lr", Kind.FLOAT, 1.0),
        ("'--lr', type=float, default='0.5'", "lr", "--lr", Kind.FLOAT, 0.5),
        ("'--lr', type=float, default=RATE", "lr", "--lr", Kind.FLOAT, 3e-4),
        ("'--lr', type=float, default=-2 * 1e-3", "lr", "--lr", Kind.FLOAT, -2e-3),
        ("'-n', '--batch-size', type=int, default=2**6", "batch_size", "--batch-size", Kind.INT, 64),
        ("'-n', type=int, default=1e4", "n", "-n", Kind.INT, 10_000),
        ("'--bs', dest='batch', type=int, default=8", "batch", "--bs", Kind.INT, 8),
        ("'--amp', action='store_true'", "amp", "--amp/", Kind.BOOL, False),
        ("'--no-cache', dest='cache', action='store_false'", "cache", "/--no-cache", Kind.BOOL, True),
        ("'--a', action=argparse.BooleanOptionalAction, default=True", "a", "--a/--no-a", Kind.BOOL, True),
        ("'--fast', type=str2bool, default=False", "fast", "--fast", Kind.BOOL, False),
        ("'--n', type=positive_int, default=3", "n", "--n", Kind.INT, 3),
        ("'--betas', nargs=2, type=float, default=(0.9, 1)", "betas", "--betas", Kind.FLOAT, [0.9, 1.0]),
        ("'--out', type=Path, default=Path('runs')", "out", "--out", Kind.TEXT, "runs"),
        ("'data'", "data", "", Kind.TEXT, None),
    ],
)
def test_an_argument_is_read_with_its_name_its_option_its_kind_and_its_default(
    call: str, name: str, option: str, kind: Kind, default: Json
) -> None:
    found = declared(call)

    assert (found.name, found.option, found.kind, found.default) == (name, option, kind, default)
    assert found.trouble == ""


@pytest.mark.parametrize(
    ("call", "trouble"),
    [
        ("'--x', type=bool, default=False", "type=bool takes any text for true"),
        ("'--x', default=0.5", "no type"),
        ("'--x', type=float, default=os.cpu_count()", "not in the text"),
        ("'--x', type=json.loads, default='{}'", "loads cannot be told"),
        ("'--x', action='append'", "append"),
        ("'--x', choices=[a, b]", "choices are not in the text"),
        ("'--x', type=int, default=1.5", "fits not"),
        ("'--x', type=float, default=1e999", "not in the text"),
        ("'--x', type=int, default=9**9**9", "not in the text"),
        ("'--x', **more", "by **"),
    ],
)
def test_what_the_text_does_not_tell_is_left_to_the_script_with_the_reason(call: str, trouble: str) -> None:
    found = declared(call)

    assert trouble in found.trouble
    assert found.default is None or not found.trouble.startswith("its default")


def test_choices_are_read_from_lists_and_from_the_keys_of_a_dictionary() -> None:
    assert declared("'--m', choices=sorted(MODELS)").choices == ("mlp", "cnn")
    assert declared("'--m', choices=MODELS.keys()").choices == ("mlp", "cnn")
    assert declared("'--m', type=int, choices=[1, 2], default=2").choices == ("1", "2")


def test_groups_functions_and_set_defaults_are_followed_and_a_loop_is_noted() -> None:
    """The halves of a boolean that are declared apart find each other."""
    reading = read(
        """
        import argparse
        def get():
            p = argparse.ArgumentParser()
            g = p.add_argument_group("g").add_mutually_exclusive_group()
            g.add_argument("--amp", action="store_true")
            g.add_argument("--no-amp", dest="amp", action="store_false")
            p.add_argument("--lr", type=float, default=0.1)
            p.add_argument("--version", action="version", version="1")
            for name in "ab":
                p.add_argument(f"--{name}")
            p.set_defaults(lr=0.2)
            return p
        """
    )

    assert [(each.name, each.option, each.default) for each in reading.arguments] == [
        ("amp", "--amp/--no-amp", False),
        ("lr", "--lr", 0.2),
    ]
    assert reading.notes == ("line 11: an argument whose name only running the script would tell",)


@pytest.mark.parametrize(
    ("text", "named", "mend"),
    [
        ("def broken(:\n    pass\n", "line 1", "mend the script"),
        ("x = 1\n", "declares no arguments", "--run-help"),
        ("a\0b", "no Python script", "text file"),
        ("from cli import parser\nargs = parser().parse_args()\n", "declares no arguments", "name the file"),
        (PARSER + "s = p.add_subparsers()\ns.add_parser('ab')\ns.add_parser('cd')\n", "ab, cd", "SUBCOMMAND"),
        (PARSER + "for n in 'ab':\n    p.add_argument('--' + n)\n", "line 6", "--run-help"),
        (
            "import typer\napp = typer.Typer()\n@app.command()\ndef a(): ...\n@app.command()\ndef b(): ...\n",
            "a, b",
            "CO",
        ),
    ],
)
def test_a_script_that_cannot_be_read_so_is_refused_with_the_way_that_can(text: str, named: str, mend: str) -> None:
    with pytest.raises(ScriptUnreadable) as refused:
        read(text)

    assert named in refused.value.message
    assert mend in refused.value.fix


# --- other ways to declare


def test_a_dataclass_behind_the_kit_tells_ranges_and_needs_no_options() -> None:
    reading = read(
        """
        from dataclasses import dataclass
        from pilothouse import trainer
        @dataclass(frozen=True)
        class Options:
            rate: float = trainer.bounded(1e-3, low=1e-6, high=1)
            preset: str = trainer.chosen("nano", "full")
            name: str | None = None
        def main(run): trainer.read_options(Options, run.config)
        """
    )
    rate, preset, name = reading.arguments

    assert reading.line is Line.CONFIG
    assert (rate.kind, rate.default, rate.low, rate.high) == (Kind.FLOAT, 1e-3, 1e-6, 1.0)
    assert (preset.default, preset.choices, name.default) == ("nano", ("nano", "full"), None)


def test_names_taken_from_the_config_are_read_where_nothing_else_declares_them() -> None:
    reading = read("from pilothouse import trainer\nwith trainer.start() as run:\n    rate = run.config['rate']\n")

    assert [(each.name, each.required) for each in reading.arguments] == [("rate", True)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "import tyro\nclass C:\n    lr: float = 0.1\n    use_amp: bool = False\ntyro.cli(C)\n",
            [("--lr", 0.1), ("--use-amp/--no-use-amp", False)],
        ),
        ("from transformers import H\nclass C:\n    n_x: int = 3\nHfArgumentParser((C,))\n", [("--n_x", 3)]),
        (
            "import typer\ndef main(lr: float = 0.1, n_x: int = 2): ...\ntyper.run(main)\n",
            [("--lr", 0.1), ("--n-x", 2)],
        ),
        (
            "import typer\ndef main(*, lr: Annotated[float, typer.Option(help='h')] = 1): ...\ntyper.run(main)\n",
            [("--lr", 1.0)],
        ),
        (
            (
                "import click\n@click.command()\n@click.option('--lr', default=0.1)\n"
                "@click.option('--a/--b', default=True)\n"
                "@click.option('--m', type=click.Choice(['x', 'y']), default='x')\ndef main(lr): ...\n"
            ),
            [("--lr", 0.1), ("--a/--b", True), ("--m", "x")],
        ),
    ],
)
def test_dataclasses_signatures_and_click_are_read_as_well(text: str, expected: list[tuple[str, Json]]) -> None:
    assert [(each.option, each.default) for each in read(text).arguments] == expected


HELP = """\
usage: train.py [-h] [--lr LR]

options:
  -h, --help            show this help message and exit
  --lr LR               learning rate (default: 0.1)
  -b BATCH, --batch-size BATCH
                        pictures per step (default: 64)
  --amp, --no-amp       (default: True)
  --opt {sgd,adam}      which one (default: sgd)
  --verbose
  --betas BETAS [BETAS ...]
"""
CLICK = """\
Usage: train [OPTIONS]

Options:
  --lr FLOAT         how far  [default: 0.1]
  --amp / --no-amp   half precision
  --opt [sgd|adam]   [default: adam]
  --help             Show this message and exit.
"""
TYPER = """\
╭─ Options ──────────────────────────────╮
│ *  --data        TEXT     [required]   │
│    --lr          FLOAT    [default: 1] │
╰────────────────────────────────────────╯
"""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            HELP,
            [
                ("--lr", Kind.FLOAT, 0.1),
                ("--batch-size", Kind.INT, 64),
                ("--amp/--no-amp", Kind.BOOL, True),
                ("--opt", Kind.TEXT, "sgd"),
                ("--verbose/", Kind.BOOL, False),
                ("--betas", Kind.TEXT, None),
            ],
        ),
        (
            CLICK,
            [("--lr", Kind.FLOAT, 0.1), ("--amp/--no-amp", Kind.BOOL, False), ("--opt", Kind.TEXT, "adam")],
        ),
        (TYPER, [("--data", Kind.TEXT, None), ("--lr", Kind.FLOAT, 1.0)]),
    ],
    ids=["argparse", "click", "typer"],
)
def test_a_help_text_tells_options_types_and_defaults(text: str, expected: list[tuple[str, Kind, Json]]) -> None:
    reading = read_help(text, program="train")

    assert [(each.option, each.kind, each.default) for each in reading.arguments] == expected


def test_a_help_without_options_is_refused() -> None:
    with pytest.raises(ScriptUnreadable, match="tells no options"):
        read_help("Trains a model.\n", program="train")


# --- metrics


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            (
                "def main():\n  s = {'train_loss': a, 'val_acc': b, 'val_x': c, 'seed': 1, 'name': 'n'}\n"
                "  open('summary.json', 'w').write(json.dumps(s))\n"
            ),
            [("val_acc", "max"), ("val_x", ""), ("train_loss", "min")],
        ),
        ("def m():\n  json.dump({'metrics': {'mse': x}, 'k': y}, open('o/summary.json', 'w'))\n", [("mse", "min")]),
        ("def m(run):\n  run.finish({'reward': x})\n", [("reward", "max")]),
        ("def m():\n  json.dump({'loss': x}, open('other.json', 'w'))\n", []),
    ],
)
def test_the_numbers_of_the_summary_are_found_the_held_out_ones_first(
    text: str, expected: list[tuple[str, str]]
) -> None:
    found = metrics_of(parse(text, script="t.py"))

    assert [(each.name, each.direction) for each in found] == expected
