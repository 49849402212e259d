"""Guards taken out of the sources one at a time.

They are every comparison of an epoch, of a product or of who holds something, and every check of access.

The list is made by pattern over whatever the sources hold, so new code is covered without being named here.
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_OTHER = r"(?::\w+|\?\d*|column\d+|[a-z_]+\.[a-z_]+)"
EPOCH = re.compile(rf"(?:\b\w+\.)?\bepoch = {_OTHER}")
SHIPPED_EPOCH = re.compile(r"\b\w+\.epoch = (?=\(\s*SELECT)")
PRODUCT = re.compile(rf"(?:\b\w+\.)?\bproduct = {_OTHER}")
STILL_GOOD = re.compile(r"\(\w+_at IS NULL OR \w+_at > :now\)|\bused_at IS NULL|\bkind = 'enrolment'")
NAMED = re.compile(r"^-- name: (\w+)$", re.MULTILINE)
ASSIGNED = re.compile(r"\bSET\b.*?(?=\bWHERE\b|;)", re.DOTALL)
"""What an UPDATE writes is no comparison, though it is spelled like one."""
REFUSALS = {"Denied", "NotAuthenticated", "NotApproved", "Refused"}
"""Returning or raising one of these under a condition is a check of access, in the places of `GUARDED`."""
GUARDED = ("access", "web", "wiring/server.py", "wiring/listening.py")
LET_THROUGH = {"compare_digest", "sees"}
"""Calls that answer yes or no to who asks."""
DROPPED = re.compile(r"check_\w+|seen_or_not_found")
"""Calls that stand alone because they refuse by themselves, or return nothing."""
WEAKER = {"READ": "FETCH", "FETCH": ""}
"""A permission that more callers have; for those that are not listed it is READ, which nearly everybody has."""
ROOMS = ("access", "fleet", "operations", "engine", "store", "web", "wiring")
WORDS: Mapping[str, re.Pattern[str]] = {
    "epoch": re.compile(r"(\w+_)?epoch"),
    "product": re.compile(r"(\w+_)?product"),
    "holder": re.compile(r"session|factory|holder"),
}
"""What a comparison may be about, and the names of what it compares."""
DECIDES = ("fleet", "access")
"""Rooms whose comparisons of holders choose among candidates and guard nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    """One guard and what stands in its place; `start` and `end` are offsets into the file's text."""

    path: Path
    line: int
    start: int
    end: int
    old: str
    new: str
    kind: str

    @property
    def change(self) -> str:
        """Return what it does, in one line."""
        old, new = (" ".join(text.split()) for text in (self.old, self.new))
        return f"{old} -> {new}"

    def applied(self, source: str) -> str:
        """Return the file's text with the guard taken out."""
        assert source[self.start : self.end] == self.old, f"{self.path} has changed"
        return source[: self.start] + self.new + source[self.end :]


def mutants_of(package: Path) -> list[Mutant]:
    """Return every guard of the package's rooms that can be taken out."""
    found: list[Mutant] = []
    for room in ROOMS:
        for path in sorted((package / room).rglob("*")):
            if path.suffix == ".sql" and path.parent.name != "migrations":
                found += in_sql(path.read_text(encoding="utf-8"), path)
            elif path.suffix == ".py":
                guarded = path.relative_to(package).as_posix().startswith(GUARDED)
                all_ = in_python(path.read_text(encoding="utf-8"), path, guarded=guarded)
                found += [mutant for mutant in all_ if mutant.kind != "holder" or room not in DECIDES]
    return found


def keyed(mutants: Sequence[Mutant], package: Path) -> dict[str, Mutant]:
    """Return the mutants by names that stay when lines move: the file, the function or statement, the change."""
    found: dict[str, Mutant] = {}
    seen: Counter[str] = Counter()
    sources = {path: path.read_text(encoding="utf-8") for path in {mutant.path for mutant in mutants}}
    for mutant in sorted(mutants, key=lambda each: (str(each.path), each.start)):
        where = where_of(sources[mutant.path], mutant)
        name = f"{mutant.path.relative_to(package).as_posix()} {where}: {mutant.change}"
        seen[name] += 1
        found[name if seen[name] == 1 else f"{name} ({seen[name]})"] = mutant
    return found


def where_of(source: str, mutant: Mutant) -> str:
    """Return the name of the function, with those around it, or of the statement that the guard stands in."""
    if mutant.path.suffix == ".sql":
        return [str(found[1]) for found in NAMED.finditer(source, 0, mutant.start)][-1]
    around = [
        (node.lineno, node.name)
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        and node.lineno <= mutant.line <= (node.end_lineno or 0)
    ]
    return ".".join(name for _, name in sorted(around))


def in_sql(source: str, path: Path) -> Iterator[Mutant]:
    """Yield the comparisons in statements; a parameter stays, so that the call still fits."""
    written = [range(*match.span()) for match in ASSIGNED.finditer(source)]
    comments = [range(*match.span()) for match in re.finditer(r"--[^\n]*", source)]
    for kind, pattern in (("epoch", EPOCH), ("product", PRODUCT), ("epoch", SHIPPED_EPOCH), ("access", STILL_GOOD)):
        for match in pattern.finditer(source):
            if any(match.start() in span for span in (*written, *comments)):
                continue
            new = "0 <> " if pattern is SHIPPED_EPOCH else f"({match[0]} OR 1 = 1)"
            yield _mutant(path, source, match.start(), match.end(), new, kind)


def in_python(source: str, path: Path, *, guarded: bool) -> Iterator[Mutant]:
    """Yield the comparisons and checks of a module; what an assertion states is a reminder, no guard."""
    tree = ast.parse(source)
    stated = {id(inner) for node in ast.walk(tree) if isinstance(node, ast.Assert) for inner in ast.walk(node)}
    offsets = _line_offsets(source)
    for node in ast.walk(tree):
        if id(node) in stated:
            continue
        if isinstance(node, ast.Compare):
            kind = next((kind for kind in WORDS if _guards(kind, node)), None)
            if kind is not None:
                for new in _verdicts(node):
                    yield _python_mutant(path, source, offsets, node, new=new, kind=kind)
        elif guarded:
            for part, new in _without_access(node):
                yield _python_mutant(path, source, offsets, part, new=new, kind="access")
            for part, new in _without_product(node):
                yield _python_mutant(path, source, offsets, part, new=new, kind="product")


def _without_access(node: ast.AST) -> Iterator[tuple[ast.expr, str]]:
    """Yield the part of a check of access that decides, and what lets everybody through in its place."""
    match node:
        case ast.If(test=test, body=body) if _refuses(body):
            yield test, "False"
        case ast.FunctionDef(name="fault", body=body):
            yield from ((each.test, "False") for each in body if isinstance(each, ast.If))
        case ast.Call() if _called(node) in LET_THROUGH:
            yield node, "True"
        case ast.Expr(value=ast.Call() as call) if DROPPED.fullmatch(_called(call)):
            yield call, "None"
        case ast.Call(args=[*_, ast.Attribute(attr="READ"), ast.Attribute(attr="WORK")]):
            # Whoever may not read may work: together these two stand for any good token, and nothing is weaker.
            return
        case ast.Call(args=parts, keywords=named):
            for part in (*parts, *(each.value for each in named)):
                match part:
                    case ast.Attribute(value=ast.Name(id="Permission"), attr=held) if WEAKER.get(held, "READ"):
                        yield part, f"Permission.{WEAKER.get(held, 'READ')}"


def _without_product(node: ast.AST) -> Iterator[tuple[ast.expr, str]]:
    """Yield what keeps a question to the caller's product, and what asks about all of them in its place."""
    match node:
        case ast.Call(func=ast.Attribute(value=gate, attr="admit_for"), args=[request, permission, _]):
            yield node, f"{ast.unparse(gate)}.admit_all({ast.unparse(request)}, {ast.unparse(permission)})"
        case ast.Call(args=parts, keywords=named):
            for part in (*parts, *(each.value for each in named)):
                match part:
                    case ast.Attribute(value=ast.Name(id="caller"), attr="product"):
                        yield part, "None"


def _guards(word: str, node: ast.Compare) -> bool:
    """Return whether two of a kind are compared; the question whether there is one at all is no guard."""
    sides = (node.left, *node.comparators)
    return any(_speaks_of(word, side) for side in sides) and not any(isinstance(side, ast.Constant) for side in sides)


def _verdicts(node: ast.Compare) -> Sequence[str]:
    """Return what a comparison without force would say; for an order both, since either may be what guards."""
    match node:
        case ast.Compare(left=ast.Tuple(elts=lefts), comparators=[ast.Tuple(elts=rights)]):
            sides = [[ast.unparse(each) for each in side] for side in (lefts, rights)]
            return [_shorter(sides, without, node.ops[0]) for without in range(len(lefts))]
    match node.ops:
        case [ast.Eq() | ast.Is() | ast.In()]:
            return ["True"]
        case [ast.NotEq() | ast.IsNot() | ast.NotIn()]:
            return ["False"]
        case _:
            return ["True", "False"]


def _shorter(sides: Sequence[Sequence[str]], without: int, sign: ast.cmpop) -> str:
    """Return the comparison of two tuples without the element of this position."""
    kept = ("".join(f"{each}, " for at, each in enumerate(side) if at != without) for side in sides)
    left, right = (f"({side})" for side in kept)
    return f"{left} {'==' if isinstance(sign, ast.Eq) else '!='} {right}"


def _speaks_of(word: str, node: ast.expr) -> bool:
    """Return whether an operand is of the kind, or holds one; what a call makes of one does not count."""
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return WORDS[word].fullmatch(name) is not None
        case ast.Tuple(elts=parts):
            return any(_speaks_of(word, part) for part in parts)
        case _:
            return False


def _refuses(body: Sequence[ast.stmt]) -> bool:
    match body[-1]:
        case (
            ast.Return(value=ast.Call() as call)
            | ast.Return(value=ast.Tuple(elts=[ast.Call() as call, *_]))
            | ast.Raise(exc=ast.Call() as call)
        ):
            return _called(call) in REFUSALS
        case _:
            return False


def _called(node: ast.Call) -> str:
    match node.func:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
        case _:
            return ""


def _line_offsets(source: str) -> list[int]:
    offsets = [0]
    for line in source.splitlines(keepends=True):
        offsets.append(offsets[-1] + len(line))
    return offsets


def _python_mutant(path: Path, source: str, offsets: Sequence[int], node: ast.expr, *, new: str, kind: str) -> Mutant:
    lines = source.splitlines(keepends=True)
    assert node.end_lineno is not None
    assert node.end_col_offset is not None

    def offset(line: int, column: int) -> int:
        """Return the place in the text; the parser counts bytes of a line."""
        return offsets[line - 1] + len(lines[line - 1].encode()[:column].decode())

    return _mutant(
        path, source, offset(node.lineno, node.col_offset), offset(node.end_lineno, node.end_col_offset), new, kind
    )


def _mutant(path: Path, source: str, start: int, end: int, new: str, kind: str) -> Mutant:
    return Mutant(
        path=path,
        line=source.count("\n", 0, start) + 1,
        start=start,
        end=end,
        old=source[start:end],
        new=new,
        kind=kind,
    )
