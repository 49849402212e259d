"""The documentation says what the code does: what exists is told, what is told exists, and what can be run is run."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import typer
from tests.repo.test_architecture import rows, spans

import pilothouse
from pilothouse.campaigns.kinds import KINDS, file_schema
from pilothouse.cli.exits import EXIT_CODES
from pilothouse.cli.logbook import _entry_json
from pilothouse.cli.main import add_program_commands
from pilothouse.cli.main import app as tree
from pilothouse.factory.collect import read_summary
from pilothouse.fleet.job import Outcome
from pilothouse.fleet.retry import Allowance, allowance, may_restart
from pilothouse.ids import ProductId
from pilothouse.launch.environment import ALLOWED, ALLOWED_PREFIXES
from pilothouse.logbook.chain import link
from pilothouse.logbook.entry import Entry, NewEntry
from pilothouse.monitoring.response import advice
from pilothouse.settings import FACTORY, PUBLISHING, FactoryTable, Publishing, Settings

ROOT = Path(__file__).resolve().parents[2]
REFERENCE = ROOT / "docs" / "reference"
PROGRAM_SECONDS = 60.0
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
ACTION = re.compile(r'"action": "(\w+)"')
SET = re.compile(r"[A-Z_]+=\S+")
"""A variable that is set for one command."""
ANSWERED_EVERYWHERE = {"--help"}

TABLES = {
    "CampaignTable": "`[campaign]`",
    "Trainer": "`[trainer]`",
    "ArgumentsTable": "`[trainer.arguments]`",
    "Requires": "`[trainer.requires]`",
    "KnobTable": "`[knobs.NAME]`",
    "Rules": "`[rules]`",
    "BudgetOfChange": "`[change_budget]`",
    "Metric": "`[metrics.NAME]`",
    "Gate": "`[gate]`",
    "Decision": "`[decision]`",
    "Monitor": "`[monitor]`",
    "Budget": "`[budget]`",
    "Records": "`[records]`",
    "Tracking": "`[tracking]`",
    "Wandb": "`[tracking.wandb]`",
    "Mlflow": "`[tracking.mlflow]`",
    "Golden": "`[golden.NAME]`",
    "Flywheel": "`[flywheel]`",
    "Autopilot": "`[autopilot]`",
    "Agent": "`[autopilot.agent]`",
    "AgentLimits": "`[autopilot.agent.limits]`",
    "Unconfined": "`[autopilot.agent.unconfined]`",
    "Screen": "`[autopilot.screen]`",
    "Stop": "`[autopilot.stop]`",
    "Step": "`[flywheel.STEP]`",
    "Ferry": "`[ferry]`",
    "FerryAgent": "`[ferry.agent]`",
    "DraftLimits": "`[ferry.agent.limits]`",
    "PatchTable": "`[ferry.patch]`",
    "ScheduleTable": "`[ferry.schedule]`",
    "Watch": "`[ferry.watch]`",
    "Validator": "`[ferry.validators.NAME]`",
    "Reliability": "`[ferry.reliability.NAME]`",
    "Ranking": "`[ferry.ranking]`",
    "Allowances": "`[ferry.allowances]`",
}
"""The heading under which each table of the campaign file's schema is told."""


def text(name: str) -> str:
    """Return a tracked page."""
    return (ROOT / name).read_text(encoding="utf-8")


def tracked() -> list[Path]:
    """Return every file that git holds or would add."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True, timeout=30)
    return [ROOT / name for name in listed.stdout.splitlines() if (ROOT / name).is_file()]


def pages() -> list[Path]:
    """Return every tracked page of documentation."""
    return [path for path in tracked() if path.suffix == ".md"]


def section(page: str, heading: str) -> str:
    """Return what stands under a heading of the second level, empty if there is none."""
    _, found, rest = page.partition(f"\n## {heading}\n")
    return rest.split("\n## ", 1)[0] if found else ""


def fences(page: str, *languages: str) -> list[str]:
    """Return the blocks of code in these languages."""
    return [code for language, code in FENCE.findall(page) if language in languages]


# --- the command line


@pytest.fixture(name="commands", scope="module")
def _commands() -> Mapping[str, Any]:
    """Every command by its words, the programs' among them; the root is `pilothouse`."""
    if all(group.name != "oracle" for group in tree.registered_groups):
        add_program_commands(tree)
    return dict(walk(typer.main.get_command(tree), "pilothouse"))


def walk(command: Any, words: str) -> Iterator[tuple[str, Any]]:
    """Yield a command and those below it; a group counts only if it is the root."""
    below = getattr(command, "commands", {})
    if not below or words == "pilothouse":
        yield words, command
    for name, inner in below.items():
        yield from walk(inner, f"{words} {name}")


def options(command: Any) -> set[str]:
    """Return the options of a command, the other halves of switches among them."""
    given = (each for each in command.params if each.param_type_name == "option")
    return {name for each in given for name in (*each.opts, *each.secondary_opts)}


def test_every_command_and_option_is_told(commands: Mapping[str, Any]) -> None:
    """Each command has its section, and each section tells exactly the options that there are."""
    page = text("docs/reference/cli.md")
    headings = re.findall(r"^## `(pilothouse[^`]*)`$", page, re.MULTILINE)

    assert sorted(headings) == sorted(commands)
    for words, command in commands.items():
        told = section(page, f"`{words}`")
        named = {found for cell in spans(told) for found in re.findall(r"(?<!\S)--[a-z-]+", cell)}
        assert named - ANSWERED_EVERYWHERE == options(command), words


def test_every_exit_code_is_told() -> None:
    """The table holds each code of the one table in the code."""
    told = {cells[0] for cells in rows(text("docs/reference/cli.md"), "Exit codes")}

    assert {str(code) for code in EXIT_CODES.values()} | {"0", "128 + n"} == told


def spoken(page: str) -> Iterator[str]:
    """Yield the commands that a page tells its reader to type, in blocks and in running text."""
    for block in fences(page, "sh"):
        for line in block.splitlines():
            yield from (part.strip() for part in re.split(r"\||&&", line.partition("#")[0]))
    prose = FENCE.sub("", page)
    yield from spans(prose)


def misspoken(line: str, commands: Mapping[str, Any]) -> str | None:
    """Return what is wrong with a command line of Pilothouse or make, or None."""
    spoken_words = [word for word in line.partition(" -- ")[0].split() if not SET.fullmatch(word)]
    first, *words = spoken_words or [""]
    if first == "make" and words:
        known = re.findall(r"^([a-z]+):", text("Makefile"), re.MULTILINE)
        return None if words[0] in known else f"no target: {line}"
    if first != "pilothouse" or "|" in words:
        return None
    while words[:1] in (["--home"], ["--server"]):
        words = words[2:]
    path = "pilothouse"
    while words and any(known == f"{path} {words[0]}" or known.startswith(f"{path} {words[0]} ") for known in commands):
        path = f"{path} {words.pop(0)}"
    if path not in commands:
        return None if not words else f"no command: {line}"
    if path == "pilothouse" and words and not words[0].startswith("-"):
        return f"no command: {line}"
    given = {word for word in words if word.startswith("--")}
    unknown = given - options(commands[path]) - ANSWERED_EVERYWHERE
    return f"no option {', '.join(sorted(unknown))}: {line}" if unknown else None


def test_every_command_on_every_page_exists(commands: Mapping[str, Any]) -> None:
    """What a reader is told to type is a command with these options, or a target of the Makefile."""
    lines = [line for page in pages() for line in spoken(page.read_text(encoding="utf-8"))]
    wrong = [found for line in lines if (found := misspoken(line, commands)) is not None]

    assert "make demo" in lines
    assert wrong == []


@pytest.mark.parametrize(
    "line",
    [
        "make coffee",
        "pilothouse dance",
        "pilothouse campaign dance x",
        "pilothouse campaign run FILE --twice",
        "PILOTHOUSE_TOKEN=x pilothouse --server URL job dance",
    ],
)
def test_a_command_that_is_not_there_is_seen(commands: Mapping[str, Any], line: str) -> None:
    """The check above can fail."""
    assert misspoken(line, commands) is not None


# --- the campaign file, the settings


def spelling(table: Mapping[str, Any], key: str) -> str:
    """Return how the page spells the default of a key."""
    values = table["properties"][key]
    if key in table.get("required", []):
        return "required"
    return "none" if values["default"] is None else f"`{json.dumps(values['default'])}`"


def test_every_key_of_the_campaign_file_is_told_with_its_default() -> None:
    """Each table of the schema has its section, each key its row, and no row is about anything else."""
    page = text("docs/reference/campaign-file.md")
    schema = file_schema()
    kinds = {each.__name__ for each in KINDS.values()}

    assert schema["$defs"].keys() - kinds == TABLES.keys()
    assert all(f"[{name}" in page for kind in kinds for name in schema["$defs"][kind]["properties"])
    for name, heading in TABLES.items():
        table = schema["$defs"][name]
        expected = {key: spelling(table, key) for key in table["properties"]}
        told = {spans(cells[0])[0]: cells[1] for cells in rows(page, heading)}
        assert told == expected, heading


def test_every_setting_is_told() -> None:
    """Name and environment variable of each."""
    told = {spans(cells[0])[0]: spans(cells[1]) for cells in rows(text("docs/reference/settings.md"), "Settings")}

    each_one = [each for each in dataclasses.fields(Settings) if each.name != PUBLISHING]
    there = {each.name: [f"PILOTHOUSE_{each.name.upper()}"] for each in (*each_one, *dataclasses.fields(Publishing))}
    assert told == there | {FACTORY: []}


def test_every_key_of_the_factory_s_table_is_told() -> None:
    """The one setting that is a table."""
    told = [spans(cells[0])[0] for cells in rows(text("docs/reference/settings.md"), "`[factory]`")]

    assert told == [each.name for each in dataclasses.fields(FactoryTable)]


def test_every_variable_that_a_job_sees_is_told() -> None:
    """The list of the page is the list of the launcher."""
    told = fences(section(text("docs/reference/run-folder.md"), "The environment"), "text")[0].split()

    assert sorted(told) == sorted({*ALLOWED, *(f"{prefix}*" for prefix in ALLOWED_PREFIXES)})


# --- failures, log lines


def again(outcome: Outcome) -> str:
    """Return how the page spells whether the same job starts again by itself."""
    match allowance(outcome):
        case Allowance.NONE:
            return "-"
        case Allowance.FAILURES:
            return "while `restarts` last" if may_restart(outcome) else "no"
        case Allowance.PREEMPTIONS | Allowance.LOSSES:
            return "yes"


def test_every_outcome_is_told_with_its_allowance_and_its_advice() -> None:
    """The table repeats the rules word for word."""
    table = rows(text("docs/guides/recover-from-failures.md"), "How an attempt can end")
    told = {spans(cells[0])[0]: (cells[2], cells[3], cells[4]) for cells in table}

    assert told == {each.value: (allowance(each).value, again(each), advice(each)) for each in Outcome}


def test_every_log_action_is_told() -> None:
    """What the sources write and what the page tells are the same words."""
    sources = [path.read_text(encoding="utf-8") for path in (ROOT / "src").rglob("*.py")]
    written = {action for source in sources for action in ACTION.findall(source)}
    told = [spans(cells[0])[0] for cells in rows(text("docs/reference/log-actions.md"), "The actions")]

    assert written
    assert sorted(written) == told


# --- what can be run


def thread(count: int) -> list[Entry]:
    """Return a thread; its second entry's time has no microseconds, which are spelt apart."""
    entries: list[Entry] = []
    for number in range(1, count + 1):
        body = NewEntry(
            label=f"entry {number}",
            hypothesis="„größer“",
            command="",
            config="",
            result="1",
            interpretation="",
            next_action="",
            confidence="exploratory",
            evidence={"small": 1e-05, "verdict": None, "jobs": ["a", "b"]},
        )
        at = datetime(2026, 11, 22, 5, number, 0, 0 if number == 2 else 249973, tzinfo=UTC)
        entries.append(link(entries[-1] if entries else None, product=ProductId("demo"), thread="t", body=body, now=at))
    return entries


def verified(entries: Sequence[Entry]) -> subprocess.CompletedProcess[str]:
    """Run the page's own verifier, without Pilothouse in sight, on what `logbook show --json` prints."""
    code = fences(text("docs/reference/logbook.md"), "python")[0]
    return subprocess.run(
        [sys.executable, "-I", "-S", "-c", code, "demo", "t"],
        input=json.dumps([_entry_json(entry) for entry in entries]),
        capture_output=True,
        text=True,
        timeout=PROGRAM_SECONDS,
        check=False,
    )


def test_the_verifier_of_the_page_accepts_a_whole_chain() -> None:
    """Somebody else can compute the hashes by what is written."""
    entries = thread(3)

    said = verified(entries)

    assert said.returncode == 0, said.stderr
    assert entries[-1].hash in said.stdout


def test_the_verifier_of_the_page_names_the_break() -> None:
    """One changed letter is found."""
    entries = thread(3)
    entries[1] = dataclasses.replace(entries[1], body=dataclasses.replace(entries[1].body, result="2"))

    said = verified(entries)

    assert said.returncode != 0
    assert "entry 2" in said.stderr


@pytest.mark.parametrize("number", [0, 1])
def test_the_example_programs_keep_the_contract(tmp_path: Path, number: int) -> None:
    """The two trainings of the guide, with the kit and without, leave a summary with what the loop asks for."""
    code = fences(text("docs/guides/write-a-training-program.md"), "python")[number]
    tokens, folder = tmp_path / "tokens", tmp_path / "run"
    tokens.mkdir()
    folder.mkdir()
    (tokens / "rows.json").write_text(json.dumps([[0, 0.4], [1, 0.6]]))
    order = {"run": "try", "seed": 0, "attempt": 1, "resume": None, "inputs": {"tokens": [str(tokens)]}}
    (folder / "run.json").write_text(json.dumps(order))
    (folder / "config.json").write_text(json.dumps({"rate": 0.1}))

    said = subprocess.run(
        [sys.executable, "-c", code],
        env={"PATH": os.defpath, "PILOTHOUSE_RUN_DIR": str(folder)},
        capture_output=True,
        text=True,
        timeout=PROGRAM_SECONDS,
        check=False,
    )

    summary = read_summary(folder)
    assert said.returncode == 0, said.stderr
    assert summary is not None
    assert summary.metrics.keys() == {"train_loss"}
    assert (folder / summary.artifacts["checkpoint"]).exists()


def test_every_block_of_code_can_be_read() -> None:
    """Python compiles, TOML and JSON parse."""
    for page in pages():
        content = page.read_text(encoding="utf-8")
        for code in fences(content, "python"):
            compile(code, str(page), "exec")
        for code in fences(content, "toml"):
            tomllib.loads(code)
        for code in fences(content, "json"):
            json.loads(code)


# --- the pages themselves


def anchors(page: str) -> set[str]:
    """Return the anchors that the headings of a page make, as code forges do."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def broken_links(page: Path) -> list[str]:
    """Return the relative links of a page that lead nowhere."""
    found = []
    for target in LINK.findall(FENCE.sub("", page.read_text(encoding="utf-8"))):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        path = (page.parent / name).resolve() if name else page
        if not path.exists() or (anchor and anchor not in anchors(path.read_text(encoding="utf-8"))):
            found.append(f"{page.name}: {target}")
    return found


def test_every_relative_link_leads_somewhere() -> None:
    """Files and headings alike."""
    assert [broken for page in pages() for broken in broken_links(page)] == []


def test_a_broken_link_is_seen(tmp_path: Path) -> None:
    """The check above can fail, by file and by heading."""
    page = tmp_path / "page.md"
    page.write_text("# Here\n[good](page.md#here) [gone](gone.md) [nowhere](#there) [far](https://example.org)\n")

    assert broken_links(page) == ["page.md: gone.md", "page.md: #there"]


def test_every_page_is_on_the_map() -> None:
    """A page that nothing leads to is not read."""
    map_page = ROOT / "docs" / "index.md"
    linked = {(map_page.parent / target.partition("#")[0]).resolve() for target in LINK.findall(text("docs/index.md"))}
    there = {path.resolve() for path in pages() if path.is_relative_to(ROOT / "docs")} - {map_page}

    assert there <= linked


def test_every_path_in_the_prose_exists() -> None:
    """A path of this repository that stands in backticks is one."""
    named = {
        span
        for page in pages()
        for span in spans(FENCE.sub("", page.read_text(encoding="utf-8")))
        if re.fullmatch(r"(src|tests|docs|\.ci|requirements)/[\w./-]+", span)
    }

    assert named
    assert [path for path in sorted(named) if not (ROOT / path).exists()] == []


MACHINE = re.compile(
    r"(?<![\w.])/(?:work|root|Users|home/\w+|mnt)/"  # a folder of somebody's machine
    r"|https?://[^/\s]+/simple\b|--(?:extra-)?index-url"  # an index that another reader may not have
)
"""What belongs to one machine or one network, and to no page."""


def test_no_file_names_a_machine_or_a_registry() -> None:
    """What is tracked works for whoever clones it."""
    found = []
    for path in tracked():
        if path == Path(__file__).resolve() or path.suffix in {".parquet", ".png"}:
            continue
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            if MACHINE.search(line):
                found.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()}")

    assert found == []


@pytest.mark.parametrize(
    "line", ["cd /mnt/here", "see https://index.example/simple", "pip --index-url x", "/home/ada/x"]
)
def test_a_machine_s_name_is_seen(line: str) -> None:
    """The check above can fail."""
    assert MACHINE.search(line) is not None


def test_the_changelog_tells_this_version() -> None:
    """One version, in the package, in its metadata and in the changelog."""
    metadata = tomllib.loads(text("pyproject.toml"))["project"]
    changelog = text("CHANGELOG.md")

    assert metadata["version"] == pilothouse.__version__
    assert "## Unreleased\n" in changelog
    assert re.search(rf"^##+ {re.escape(pilothouse.__version__)}\b", changelog, re.MULTILINE)


def test_the_first_page_shows_a_run_and_its_picture() -> None:
    """The demo's output stands between its marks, so that it can be taken anew."""
    page = text("README.md")
    shown = page.partition("<!-- demo:begin -->")[2].partition("<!-- demo:end -->")[0]

    assert "$ pilothouse demo" in shown
    assert re.search(r"finished: iteration \d+ is judged", shown)
    assert (ROOT / "docs" / "images" / "demo.svg").stat().st_size > 0
