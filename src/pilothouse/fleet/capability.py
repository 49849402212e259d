"""What a job needs of a factory, and what a factory offers, in one small grammar.

    requirement = key                   the factory has it, in any form
                | key ":" value         it has exactly this one
                | key op version        it has a version that stands so: >= <= > < == !=
                | "os:any"              always true
    offer       = key | key ":" value | key "==" version

Letters count the same in either case. Versions are dotted numbers, compared number by number: 3.10 is above 3.9, and
3.10.0 is 3.10. All that a job asks of the versions of one key must hold for one and the same version, so that a
machine with an older and a newer one does not pass for one with something between.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from pilothouse.errors import BadValue

GRAMMAR = "key, key:value or key<op>version, where <op> is one of >= <= > < == != and a version is dotted numbers"
TEXT_MAX = 128
"""Characters in one requirement or offer."""

Version = tuple[int, ...]

PATTERN = r"^[A-Za-z][A-Za-z0-9_.-]*(:[A-Za-z0-9][A-Za-z0-9._+/@-]*|(>=|<=|==|!=|>|<)[0-9]+(\.[0-9]+)*)?$"
"""The grammar as one expression, for the schemas that are published."""

_KEY = re.compile(r"[A-Za-z][A-Za-z0-9_.-]*")
_VALUE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+/@-]*")
_VERSION = re.compile(r"[0-9]+(?:\.[0-9]+)*")
_RELATION = re.compile(r">=|<=|==|!=|>|<|:")


class Relation(StrEnum):
    """How what is offered must stand to what is asked."""

    IS = ":"
    AT_LEAST = ">="
    AT_MOST = "<="
    ABOVE = ">"
    BELOW = "<"
    EQUAL = "=="
    UNEQUAL = "!="


_COMPARE: Mapping[Relation, Callable[[Version, Version], bool]] = {
    Relation.IS: operator.eq,
    Relation.AT_LEAST: operator.ge,
    Relation.AT_MOST: operator.le,
    Relation.ABOVE: operator.gt,
    Relation.BELOW: operator.lt,
    Relation.EQUAL: operator.eq,
    Relation.UNEQUAL: operator.ne,
}


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Requirement:
    """One thing that a job needs; `str` of it is the canonical text. Without a relation any form of the key will do."""

    key: str
    relation: Relation | None = None
    value: str = ""

    def __str__(self) -> str:
        return self.key if self.relation is None else f"{self.key}{self.relation}{self.value}"

    @property
    def always(self) -> bool:
        """Whether every factory meets it."""
        return (self.key, self.relation, self.value) == ("os", Relation.IS, "any")

    @property
    def version(self) -> Version | None:
        """The version it speaks of, in the form that compares; None where it speaks of none."""
        return _version(self.value) if self.relation is not None else None


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Ability:
    """One thing that a factory has; a value of dotted numbers is a version."""

    key: str
    value: str = ""

    def __str__(self) -> str:
        return f"{self.key}:{self.value}" if self.value else self.key

    @property
    def version(self) -> Version | None:
        """The version, in the form that compares; None where the value is none."""
        return _version(self.value)


@dataclass(frozen=True, slots=True)
class Offer:
    """All that a factory has, sorted and without repetition, so that equal offers are one key of a cache."""

    abilities: tuple[Ability, ...] = ()

    @classmethod
    def read(cls, texts: Iterable[str]) -> Offer:
        """Return the offer that the texts spell."""
        return cls(tuple(sorted({_ability(text) for text in texts})))

    def texts(self) -> tuple[str, ...]:
        """Return the canonical texts, which `read` takes back."""
        return tuple(str(ability) for ability in self.abilities)

    def of(self, key: str) -> tuple[Ability, ...]:
        """Return every form in which the factory has the key."""
        return tuple(ability for ability in self.abilities if ability.key == key)


def parse(text: str) -> Requirement:
    """Return the requirement that the text spells, or raise `BadValue` with the place that breaks the grammar."""
    key, relation, value = _split(text)
    return Requirement(key=key, relation=relation, value=value)


def parse_all(texts: Iterable[str]) -> tuple[Requirement, ...]:
    """Return the requirements sorted and without repetition; those that no machine could meet together are refused."""
    requirements = tuple(sorted({parse(text) for text in texts}, key=str))
    for asked in _versioned(requirements).values():
        if not any(_all_hold(asked, version) for version in _witnesses(asked)):
            together = " and ".join(str(requirement) for requirement in asked)
            raise BadValue(f"capabilities: no version meets {together}.", fix="drop or mend one of them.")
    return requirements


def unmet(requirements: Iterable[Requirement], offer: Offer) -> tuple[Requirement, ...]:
    """Return what the offer lacks, nothing if it meets all.

    Where versions of a key are asked for and no single version will do, the one that comes nearest is held against
    the job. More offered never leaves more unmet.
    """
    asked = tuple(requirements)
    versioned = _versioned(asked)
    lacking = {requirement for group in versioned.values() for requirement in _unmet_versions(group, offer)}
    plain = {
        requirement
        for requirement in asked
        if requirement.version is None and not any(_serves(ability, requirement) for ability in offer.abilities)
    }
    return tuple(requirement for requirement in asked if requirement in lacking | plain and not requirement.always)


def fit(requirements: Iterable[Requirement], offer: Offer) -> float:
    """Return how closely the factory fits the job: 1 where it has nothing that is not needed, 0 where it cannot run it.

    It is (1 + what is needed) / (1 + what is offered), counted in abilities. A machine with much that the job does not
    need fits it less, so that plain work goes to plain machines and the special ones stay free for special work.
    """
    asked = tuple(requirements)
    if unmet(asked, offer):
        return 0.0
    used = sum(any(_serves(ability, requirement) for requirement in asked) for ability in offer.abilities)
    return (1 + used) / (1 + len(offer.abilities))


def _serves(ability: Ability, requirement: Requirement) -> bool:
    """Whether the ability alone meets the requirement."""
    if ability.key != requirement.key:
        return False
    if requirement.relation is None:
        return True
    have, want = ability.version, requirement.version
    if have is not None and want is not None:
        return _COMPARE[requirement.relation](have, want)
    return requirement.relation is Relation.IS and ability.value == requirement.value


def _versioned(requirements: Iterable[Requirement]) -> dict[str, list[Requirement]]:
    """Return the requirements that speak of versions, by key."""
    groups: dict[str, list[Requirement]] = {}
    for requirement in requirements:
        if requirement.version is not None:
            groups.setdefault(requirement.key, []).append(requirement)
    return groups


def _unmet_versions(asked: list[Requirement], offer: Offer) -> list[Requirement]:
    """Return what the nearest of the offered versions leaves unmet."""
    abilities = [ability for ability in offer.of(asked[0].key) if ability.version is not None]
    left = ([requirement for requirement in asked if not _serves(ability, requirement)] for ability in abilities)
    return min(left, key=len, default=asked)


def _witnesses(asked: list[Requirement]) -> list[Version]:
    """Return versions among which one meets all that is asked, if any version does.

    Between two versions there is always another, so it is enough to try zero, each version that is named, and one
    directly above each.
    """
    named = [(), *(requirement.version or () for requirement in asked)]
    depth = max(len(version) for version in named)
    return [*named, *((*version, *(0,) * (depth - len(version)), 1) for version in named)]


def _all_hold(asked: list[Requirement], version: Version) -> bool:
    text = ".".join(str(part) for part in version) or "0"
    return all(_serves(Ability(key=requirement.key, value=text), requirement) for requirement in asked)


def _ability(text: str) -> Ability:
    key, relation, value = _split(text)
    if relation not in {None, Relation.IS, Relation.EQUAL}:
        raise BadValue(
            f"the offer {text!r} compares a version at position {len(key)}: a factory has one, it asks for none.",
            fix=f"write {key}:{value}, the version it has.",
        )
    return Ability(key=key, value=value)


def _split(text: str) -> tuple[str, Relation | None, str]:
    """Return the canonical parts of a text, or raise where it leaves the grammar."""
    if len(text) > TEXT_MAX:
        raise _bad(text[:TEXT_MAX], at=TEXT_MAX, why=f"it is longer than {TEXT_MAX} characters")
    key = _KEY.match(text)
    if key is None:
        raise _bad(text, at=0, why="a key begins with a letter")
    if key.end() == len(text):
        return key[0].lower(), None, ""
    sign = _RELATION.match(text, key.end())
    if sign is None:
        raise _bad(text, at=key.end(), why=f"{text[key.end()]!r} stands where ':' or a comparison may")
    relation = Relation(sign[0])
    form, name = (_VALUE, "a value") if relation is Relation.IS else (_VERSION, "a version such as 3.11")
    value = form.match(text, sign.end())
    if value is None:
        raise _bad(text, at=sign.end(), why=f"{name} is missing")
    if value.end() != len(text):
        raise _bad(text, at=value.end(), why=f"{text[value.end()]!r} is no part of {name}")
    return key[0].lower(), relation, _plain(value[0])


def _bad(text: str, *, at: int, why: str) -> BadValue:
    return BadValue(f"the capability {text!r} breaks off at position {at}: {why}.", fix=f"write {GRAMMAR}.")


def _plain(value: str) -> str:
    """Return a version without leading zeros, and any other value in small letters."""
    if _VERSION.fullmatch(value):
        return ".".join(str(int(part)) for part in value.split("."))
    return value.lower()


def _version(value: str) -> Version | None:
    """Return the numbers of a dotted version without the zeros at its end, which change nothing."""
    if not _VERSION.fullmatch(value):
        return None
    numbers = [int(part) for part in value.split(".")]
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)
