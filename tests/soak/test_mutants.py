"""The list of guards finds what is planted, and nothing beside it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.soak.mutants import Mutant, in_python, in_sql, keyed, mutants_of

ROOT = Path(__file__).resolve().parents[2]


def news(found: list[Mutant]) -> list[tuple[str, str]]:
    """Return the kind and the replacement of each."""
    return [(mutant.kind, mutant.new) for mutant in found]


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("SELECT * FROM jobs WHERE number = ?1 AND epoch = ?2;", [("epoch", "(epoch = ?2 OR 1 = 1)")]),
        ("SELECT * FROM a WHERE a.product = :product;", [("product", "(a.product = :product OR 1 = 1)")]),
        ("UPDATE jobs SET product = :product WHERE number = :number;", []),
        ("UPDATE jobs SET epoch = :epoch WHERE epoch = :old;", [("epoch", "(epoch = :old OR 1 = 1)")]),
        (
            "UPDATE a SET b = 1 FROM (VALUES ?) WHERE epoch = column2;",
            [("epoch", "(epoch = column2 OR 1 = 1)")],
        ),
        ("SELECT 1 FROM a JOIN b ON a.epoch = b.epoch;", [("epoch", "(a.epoch = b.epoch OR 1 = 1)")]),
        ("-- epoch = :epoch is what fences\nSELECT 1;", []),
        ("SELECT 1 FROM a WHERE a.epoch = (\n SELECT max(epoch) FROM b);", [("epoch", "0 <> ")]),
        ("UPDATE tokens SET used_at = :now WHERE used_at IS NULL;", [("access", "(used_at IS NULL OR 1 = 1)")]),
        (
            "SELECT 1 FROM a WHERE (ends_at IS NULL OR ends_at > :now);",
            [("access", "((ends_at IS NULL OR ends_at > :now) OR 1 = 1)")],
        ),
    ],
)
def test_a_comparison_in_sql_is_found(statement: str, expected: list[tuple[str, str]]) -> None:
    """What a statement compares is a guard; what it writes or explains is none."""
    assert news(list(in_sql(statement, Path("x.sql")))) == expected


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("if job.epoch != epoch:\n    raise LeaseLost(1)\n", [("epoch", "False")]),
        ("held = [job for job in jobs if job.epoch == epoch]\n", [("epoch", "True")]),
        ("late = told.epoch < job.epoch\n", [("epoch", "True"), ("epoch", "False")]),
        ("assert job.epoch == epoch\n", []),
        ("first = job.epoch == 1\n", []),
        ("mine = (job.id, job.epoch) in held\n", [("epoch", "True")]),
        (
            "mine = (a.epoch, a.session) == (epoch, session)\n",
            [("epoch", "(a.session, ) == (session, )"), ("epoch", "(a.epoch, ) == (epoch, )")],
        ),
        ("mine = job.product == product\n", [("product", "True")]),
        ("if not caller.may(act):\n    raise Refused('no', fix='ask')\n", [("access", "False")]),
        ("fine = hmac.compare_digest(a, b)\n", [("access", "True")]),
        ("gate.admit(request, Permission.OPERATE)\n", [("access", "Permission.READ")]),
        ("seen_or_not_found(caller, product, 'job')\n", [("access", "None")]),
        ("check_factory(caller, name)\n", [("access", "None")]),
        ("if host not in hosts:\n    return Refused('no', fix='ask'), 421\n", [("access", "False")]),
        ("def fault(self):\n    if self.used:\n        return 'was used'\n    return None\n", [("access", "False")]),
        ("read(lambda tx: listed(tx, product=caller.product))\n", [("product", "None")]),
        ("gate.admit_for(request, needed, product)\n", [("product", "gate.admit_all(request, needed)")]),
        ("if told.session != place.session:\n    return lost\n", [("holder", "False")]),
        ("fresh = field.default_factory is not MISSING\n", []),
        ("if not found:\n    raise NotFound('nothing', fix='look')\n", []),
    ],
)
def test_a_guard_in_python_is_found(source: str, expected: list[tuple[str, str]]) -> None:
    """Comparisons and checks of access are guards; assertions and other conditions are none."""
    assert news(list(in_python(source, Path("x.py"), guarded=True))) == expected


def test_a_check_of_access_counts_only_where_access_is_checked() -> None:
    """Elsewhere a refusal is a rule of the room, not of access."""
    source = "if not ready:\n    raise Refused('no', fix='wait')\n"

    assert list(in_python(source, Path("x.py"), guarded=False)) == []


def test_a_mutant_differs_in_its_one_place() -> None:
    """Offsets are right also behind letters that take more than one byte."""
    source = 'name = "Flöte"; mine = job.product == product\n'
    (mutant,) = in_python(source, Path("x.py"), guarded=False)

    assert mutant.applied(source) == 'name = "Flöte"; mine = True\n'


def test_every_kind_of_guard_is_in_the_product() -> None:
    """A pattern that no longer fits the sources would find nothing and say that all is well."""
    found = mutants_of(ROOT / "src" / "pilothouse")

    assert {"epoch", "product", "holder", "access"} == {mutant.kind for mutant in found}
    assert {".sql", ".py"} == {mutant.path.suffix for mutant in found if mutant.kind == "epoch"}
    for mutant in found:
        assert mutant.applied(mutant.path.read_text(encoding="utf-8"))


def test_a_name_stays_when_lines_move(tmp_path: Path) -> None:
    """What is remembered of a mutant is found again, also if its function holds the same guard twice."""
    source = "def ours():\n    mine = job.product == product\n    return mine or job.product == product\n"
    file = tmp_path / "x.py"

    def names(text: str) -> list[str]:
        file.write_text(text, encoding="utf-8")
        return list(keyed(list(in_python(text, file, guarded=False)), tmp_path))

    assert names(source) == [
        "x.py ours: job.product == product -> True",
        "x.py ours: job.product == product -> True (2)",
    ]
    assert names("\n\n" + source) == names(source)
