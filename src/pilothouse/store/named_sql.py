"""Reads the queries of a `.sql` file by name; every query has a name and a sentence that tells what it does.

-- name: job_by_id
-- Finds one job.
SELECT * FROM jobs WHERE id = :job;

What both dialects read alike stands in `store/sql/<aggregate>.sql`; what one of them says in its own way stands in
`store/<dialect>/sql/<aggregate>.sql`, under the same names in each.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib import resources

_STORE = "pilothouse.store"
_NAME = re.compile(r"^-- name: ([a-z][a-z_]*)$")


def dialect_queries(dialect: str, aggregate: str) -> Mapping[str, str]:
    """Return the queries of an aggregate as one dialect says them."""
    found: dict[str, str] = {}
    for package in (_STORE, f"{_STORE}.{dialect}"):
        path = f"sql/{aggregate}.sql"
        if not resources.files(package).joinpath(path).is_file():
            continue
        more = read_queries(package, path)
        if taken := found.keys() & more.keys():
            raise ValueError(f"{package}/{path}: {sorted(taken)} stand in {_STORE}/{path} already")
        found.update(more)
    return found


def read_queries(package: str, path: str) -> Mapping[str, str]:
    """Return the queries of a file that is shipped inside the package, by name."""
    return parse_queries((resources.files(package) / path).read_text(encoding="utf-8"), source=path)


def parse_queries(text: str, *, source: str) -> Mapping[str, str]:
    """Return the queries of the text by name, without their comments.

    A query without a name, without a sentence, without a body, or with a name that is taken is a mistake in our own
    files, and raises `ValueError` with the line.
    """
    sections: list[tuple[str, int, list[str]]] = []
    for number, line in enumerate(text.splitlines(), start=1):
        if found := _NAME.match(line):
            sections.append((found[1], number, []))
        elif sections:
            sections[-1][2].append(line)
        elif line.strip():
            raise ValueError(f"{source}:{number}: a query without a name; begin it with `-- name: …`")
    queries: dict[str, str] = {}
    for name, number, lines in sections:
        if name in queries:
            raise ValueError(f"{source}:{number}: the name {name!r} is taken")
        queries[name] = _body(lines, where=f"{source}:{number}: {name}")
    return queries


def _body(lines: list[str], *, where: str) -> str:
    """Return the statement under a name, once a sentence has been seen above it."""
    if not lines or not re.match(r"^-- [A-Z].*[.:;,\w]$", lines[0]):
        raise ValueError(f"{where}: the line under the name is a sentence that tells what the query does")
    body = "\n".join(line for line in lines if not line.startswith("--")).strip()
    if body.count(";") != 1 or not body.endswith(";"):
        raise ValueError(f"{where}: a name stands for exactly one statement that ends with a semicolon")
    return body.removesuffix(";")
