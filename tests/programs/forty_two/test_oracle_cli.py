"""The noun `oracle` of the command line."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pilothouse.programs.forty_two import cli, deal, rules
from pilothouse.programs.forty_two.shards import content_digest, read_shard


def test_solve_prints_one_json_object() -> None:
    """The published totals and the values of the leads."""
    result = CliRunner().invoke(cli.oracle, ["solve", "--seed", "930", "--declaration", "0", "--json"])
    answer = json.loads(result.stdout)
    assert result.exit_code == 0
    assert answer.pop("seconds") > 0
    assert answer == {
        "seed": 930,
        "declaration": 0,
        "states": 3_168_588,
        "boundary_states": 193_304,
        "root_value": 38,
        "root_q": [38, 28, 38, 28, 28, 28, 28],
    }


def test_solve_prints_a_table_for_people() -> None:
    """The leads by their pips, the value, the counts."""
    result = CliRunner().invoke(cli.oracle, ["solve", "--seed", "0", "--declaration", "0"])
    assert result.exit_code == 0
    assert "7,607,411 positions, 448,979 between tricks" in result.stdout
    assert "0-0" in result.stdout
    assert "+42 best" in result.stdout


@pytest.mark.parametrize(
    ("seed", "declaration", "value", "limits"),
    [
        ("-1", "0", "-1", "0 to 2147483647"),
        ("2147483648", "0", "2147483648", "0 to 2147483647"),
        ("x", "0", "x", "0 to 2147483647"),
        ("1.5", "0", "1.5", "0 to 2147483647"),
        ("0", "10", "10", "0 to 9"),
        ("0", "-1", "-1", "0 to 9"),
        ("0", "", "", "0 to 9"),
    ],
)
def test_bad_input_is_a_usage_error_naming_value_and_range(
    seed: str, declaration: str, value: str, limits: str
) -> None:
    """Exit code 2, and what was given and what is allowed stand in the message."""
    result = CliRunner().invoke(cli.oracle, ["solve", "--seed", seed, "--declaration", declaration])
    told = " ".join(result.output.replace("│", " ").split())
    assert result.exit_code == 2
    assert f"'{value}' is not" in told
    assert limits in told


def test_shard_writes_what_the_digest_says(tmp_path: Path) -> None:
    """The file reads back with the digest that was printed."""
    command = [
        "shard",
        "--seed",
        "930",
        "--declaration",
        "0",
        "--rows",
        "300",
        "--out",
        str(tmp_path / "new"),
        "--json",
    ]
    result = CliRunner().invoke(cli.oracle, command)
    answer = json.loads(result.stdout)
    shard = read_shard(Path(answer["path"]), expected_digest=answer["content"])
    assert result.exit_code == 0
    assert (len(shard), answer["rows"], answer["states"]) == (300, 300, 3_168_588)
    assert content_digest(shard) == answer["content"]


def test_unknown_scheme_is_a_usage_error(tmp_path: Path) -> None:
    """The schemes are named."""
    command = ["shard", "--seed", "0", "--declaration", "0", "--out", str(tmp_path), "--scheme", "best"]
    result = CliRunner().invoke(cli.oracle, command)
    assert result.exit_code == 2
    assert "uniform, stratified" in result.output


def test_limits_are_those_of_the_deals() -> None:
    """The command line states them itself to stay quick."""
    assert cli.SEED_MAX == deal.SEED_MAX
    assert cli.DECLARATION_MAX == rules.DECLARATIONS - 1


def test_help_loads_no_numbers() -> None:
    """Neither NumPy nor Numba nor PyArrow is imported for the help."""
    script = (
        "import sys; from pilothouse.programs.forty_two.cli import oracle\n"
        "try: oracle(['--help'])\n"
        "except SystemExit as left: assert left.code == 0\n"
        "print(sorted({'numpy', 'numba', 'pyarrow', 'scipy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
