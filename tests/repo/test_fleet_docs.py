"""The pages about the fleet say what its contract and its model say."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic.json_schema import models_json_schema
from tests.repo.test_architecture import rows, spans
from tests.repo.test_docs import section, text
from tests.web import test_access as access

from pilothouse import errors
from pilothouse.access.roles import PERMISSIONS, Permission
from pilothouse.cli.exits import exit_code
from pilothouse.fleet.explain import Code
from pilothouse.fleet.manifest import Manifest
from pilothouse.fleet.score import DEFAULT
from pilothouse.fleet.settings import FleetSettings
from pilothouse.web import answers, bodies, proposal_answers
from pilothouse.web.app import HEALTH, new_app
from pilothouse.web.problems import status_of

HTTP = "docs/reference/http.md"
MANIFEST = "docs/reference/manifest.md"
ANY_ROUTE = {"400", "401", "403", "413", "421", "422", "429", "500", "503"}
"""Problems that every route may answer, told once."""
READERS = {"viewer", "proposer", "approver", "operator", "admin"}
TREES = {"Manifest": "Keys", "Budget": "`[budget]`", "ReviewPolicy": "`[review]`", "Child": "`[[children]]`"}
"""The heading under which each table of a manifest is told."""


@pytest.fixture(name="contract", scope="module")
def _contract() -> Any:
    """Return the OpenAPI document."""
    return new_app().openapi()


def table(lines: str) -> list[list[str]]:
    """Return the cells of every table in a text, without their heads."""
    found = re.findall(r"^\|[^\n]*\|\n\| ---[^\n]*\n((?:\|[^\n]*\n?)+)", lines, re.MULTILINE)
    return [[cell.strip() for cell in line.strip("|").split("|")] for block in found for line in block.splitlines()]


def named(schema: Any) -> str:
    """Return the name of the model that a schema refers to."""
    return str(schema.get("$ref", "")).rpartition("/")[2]


# --- routes


def taken(operation: Any) -> list[str]:
    """Return the model of a route's body, if it takes one."""
    content = operation.get("requestBody", {}).get("content", {})
    return [name for each in content.values() if (name := named(each["schema"]))]


def answered(operation: Any) -> dict[str, str]:
    """Return the model of each good answer by its status; what is no JSON has none."""
    good = {status: each for status, each in operation["responses"].items() if status.startswith("2")}
    return {
        status: next((named(each["schema"]) for each in answer.get("content", {}).values()), "")
        for status, answer in good.items()
    }


def told_answers(cell: str) -> dict[str, str]:
    """Return what a cell tells of good answers."""
    return {part.split()[0]: next(iter(spans(part)), "") for part in cell.split(", ")}


def test_every_route_is_told(contract: Any) -> None:
    """With its body, its answers and the problems beyond those of all routes, as the contract has them."""
    there = {
        f"{method.upper()} {path}": (
            taken(operation),
            answered(operation),
            {status for status in operation["responses"] if not status.startswith("2")} - ANY_ROUTE,
        )
        for path, methods in contract["paths"].items()
        for method, operation in methods.items()
    }
    told = {
        spans(cells[0])[0]: (spans(cells[2]), told_answers(cells[3]), set(re.findall(r"\d{3}", cells[4])))
        for cells in table(section(text(HTTP), "Routes"))
    }

    assert told == there


def test_who_may_use_a_route_is_told(contract: Any) -> None:
    """The roles of the page are those that the tests of access hold every route against."""
    roles: dict[str, set[str]] = {f"GET {HEALTH}": {"anybody"}}
    for method, path, _, allowed in access.ROUTES:
        route = f"{method} {access._template(path, contract['paths'])}"
        roles.setdefault(route, set()).update(allowed.split() or {"an enrolment token"})
    told = {}
    for cells in table(section(text(HTTP), "Routes")):
        words = set(cells[1].split(", "))
        told[spans(cells[0])[0]] = (words - {"readers"}) | (READERS if "readers" in words else set())

    assert told == roles


def test_every_query_is_told(contract: Any) -> None:
    """Each parameter of a query stands beside its route."""
    beside = {spans(cells[0])[0]: spans(cells[5]) for cells in table(section(text(HTTP), "Routes"))}
    silent = [
        (route, parameter["name"])
        for path, methods in contract["paths"].items()
        for method, operation in methods.items()
        for parameter in operation.get("parameters", [])
        if parameter["in"] == "query" and parameter["name"] not in beside[route := f"{method.upper()} {path}"]
    ]

    assert silent == []


def test_every_key_of_every_body_is_told_with_its_default() -> None:
    """Each model has its heading, each key its row."""
    _, found = models_json_schema([(model, "validation") for model in bodies.BODIES])
    schemas = {name: schema for name, schema in found["$defs"].items() if issubclass(owner(name), bodies.Body)}
    schemas["Children"] = found["$defs"]["Children"]
    told = {
        heading: {spans(cells[0])[0]: cells[1] for cells in table(block)}
        for heading, block in parts(section(text(HTTP), "Bodies"))
    }

    assert told == {
        name: {key: default_of(schema, key) for key in schema.get("properties", {})}
        for name, schema in schemas.items()
        if name != "FromFactory"  # what its heirs have in common
    }


def owner(name: str) -> type:
    """Return the model of a schema; one of the manifest's own is no body of a route."""
    found = getattr(bodies, name, object)
    return found if isinstance(found, type) else object


def parts(page: str) -> Iterator[tuple[str, str]]:
    """Yield what stands under each heading of the fourth level."""
    for block in re.split(r"^#### ", page, flags=re.MULTILINE)[1:]:
        heading, _, rest = block.partition("\n")
        yield heading.strip("`"), rest


def default_of(schema: Any, key: str) -> str:
    """Return how a page spells the default of a key."""
    return "required" if key in schema.get("required", []) else f"`{json.dumps(schema['properties'][key]['default'])}`"


def test_every_key_of_every_answer_is_told(contract: Any) -> None:
    """And of nothing else."""
    schemas = {
        name: list(schema["properties"])
        for name, schema in contract["components"]["schemas"].items()
        if (hasattr(answers, name) or hasattr(proposal_answers, name))
        and "properties" in schema
        and name.endswith(("Answer", "Health", "Figures"))
    }

    assert {spans(cells[0])[0]: spans(cells[1]) for cells in table(section(text(HTTP), "Answers"))} == schemas


def kinds(family: type[errors.PilothouseError]) -> Iterator[type[errors.PilothouseError]]:
    """Yield every error of the tree below one."""
    for kind in family.__subclasses__():
        if kind.__module__ == errors.__name__:
            yield kind
            yield from kinds(kind)


def test_every_problem_is_told_with_its_status_and_exit_code() -> None:
    """The same error has one status over HTTP and one exit code on the command line."""
    told = {spans(cells[0])[0]: (cells[1], cells[2]) for cells in table(section(text(HTTP), "Problems"))}
    there = {}
    for kind in kinds(errors.PilothouseError):
        error = errors.named(kind.__name__, "", fix="")
        there[kind.__name__] = (str(int(status_of(error))), str(exit_code(error)))

    assert told == there


# --- the manifest


def test_every_key_of_a_manifest_is_told_with_its_default() -> None:
    """A child's table tells what only a child has."""
    page = text(MANIFEST)
    schema = Manifest.model_json_schema()
    tables = {"Manifest": schema, **schema["$defs"]}
    for name, heading in TREES.items():
        keys = [key for key in tables[name]["properties"] if name != "Child" or key not in schema["properties"]]
        told = {spans(cells[0])[0]: cells[2] for cells in rows(page, heading)}
        assert told == {key: spelt(tables[name], key) for key in keys}, heading


def spelt(schema: Any, key: str) -> str:
    """Return how the page spells a default; nothing is `none`."""
    found = default_of(schema, key)
    return "none" if found == "`null`" else found


# --- rules that pages tell


def test_the_weights_of_the_score_are_told() -> None:
    """Every term with its default weight."""
    told = {spans(cells[0])[0]: float(cells[2]) for cells in rows(text("docs/explanation/scheduling.md"), "The score")}

    assert told == DEFAULT.as_json()


def test_every_fleet_setting_is_told_with_its_default() -> None:
    """What an operator may change about a product."""
    told = {
        spans(cells[0])[0]: spans(cells[1])[0] for cells in rows(text("docs/reference/settings.md"), "Fleet settings")
    }

    assert told == {name: json.dumps(value) for name, value in FleetSettings().as_json().items()}


def test_every_reason_of_an_explanation_is_told() -> None:
    """Each code that `job explain` may give has its row."""
    told = [spans(cells[0])[0] for cells in rows(text("docs/guides/why-a-job-waits.md"), "The reasons")]

    assert told == [code.value for code in Code]


def test_what_each_role_permits_is_told() -> None:
    """The table is the one of the code."""
    told = {
        spans(cells[0])[0]: set(cells[1].split(", ")) for cells in rows(text("docs/explanation/security.md"), "Roles")
    }

    assert told == {role.value: {permission.value for permission in allowed} for role, allowed in PERMISSIONS.items()}
    assert {word for words in told.values() for word in words} | {"enrol"} == {each.value for each in Permission}
