"""The hash chain of a thread: each entry names the hash of the one before it.

    hash(entry) = SHA-256 of the canonical JSON of format, product, thread, number, at, body, previous_hash

so a change, a removal, an insertion or a swap anywhere shows at the first entry that no longer follows. A chain alone
cannot show that its end is missing, and nobody who rewrites every later hash is caught by it: both show against a
length and a head that were noted elsewhere, such as in an exported page or a tag.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum

from pilothouse.canonical import Json, digest
from pilothouse.errors import BadValue
from pilothouse.ids import ProductId
from pilothouse.logbook.entry import Entry, NewEntry

FORMAT = 1
FIRST_NUMBER = 1


class BreakKind(StrEnum):
    """What is wrong at the first entry that does not follow."""

    FOREIGN = "foreign"
    NUMBER = "number"
    PREVIOUS = "previous"
    CONTENT = "content"
    MISSING_END = "missing_end"
    OTHER_HEAD = "other_head"


@dataclass(frozen=True, slots=True, kw_only=True)
class Break:
    """Where a chain breaks: the number at which it does, the kind, and a sentence for a person."""

    number: int
    kind: BreakKind
    detail: str


def link(previous: Entry | None, *, product: ProductId, thread: str, body: NewEntry, now: datetime) -> Entry:
    """Return the entry that follows `previous`, or the first of its thread.

    A body that has no canonical form (NaN in its evidence, broken text) raises `BadValue`. A clock that was set back
    is no reason to lose an entry: the order is the numbers', not the times'.
    """
    assert now.tzinfo is not None, f"a naive time cannot stand in the logbook: {now!r}"
    if previous is not None:
        assert (previous.product, previous.thread) == (product, thread), f"{previous.thread} is not {thread}"
    unsealed = Entry(
        product=product,
        thread=thread,
        number=FIRST_NUMBER if previous is None else previous.number + 1,
        at=now.astimezone(UTC),
        body=body,
        previous_hash=thread_hash(product, thread) if previous is None else previous.hash,
        hash="",
    )
    try:
        return replace(unsealed, hash=entry_hash(unsealed))
    except (ValueError, TypeError) as problem:
        raise BadValue(
            f"the entry {body.label!r} cannot be hashed: {problem}",
            fix="give text that is valid Unicode, and evidence of JSON values without NaN and infinities",
        ) from None


def verify(
    entries: Sequence[Entry], *, product: ProductId, thread: str, length: int | None = None, head: str | None = None
) -> Break | None:
    """Return the first break of a thread's entries, which come by number, or None for a whole chain.

    With `length` and `head` (the hash of the last entry) noted elsewhere, a missing end is found too.
    """
    previous_hash = thread_hash(product, thread)
    for number, entry in enumerate(entries, start=FIRST_NUMBER):
        broken = _break_at(entry, number=number, previous_hash=previous_hash, product=product, thread=thread)
        if broken is not None:
            return broken
        previous_hash = entry.hash
    if length is not None and len(entries) != length:
        return Break(
            number=min(length, len(entries)) + 1,
            kind=BreakKind.MISSING_END if len(entries) < length else BreakKind.NUMBER,
            detail=f"there are {len(entries)} entries, and {length} were noted",
        )
    if head is not None and previous_hash != head:
        return Break(
            number=max(len(entries), FIRST_NUMBER),
            kind=BreakKind.OTHER_HEAD,
            detail=f"the chain ends with {previous_hash}, and {head} was noted",
        )
    return None


def thread_hash(product: ProductId, thread: str) -> str:
    """Return what the first entry of a thread names as its previous hash: a thread cannot pass for another."""
    return digest({"format": FORMAT, "product": product, "thread": thread})


def entry_hash(entry: Entry) -> str:
    """Return the hash that the entry should carry; what has no canonical form raises `ValueError` or `TypeError`."""
    at = entry.at.astimezone(UTC) if entry.at.tzinfo is not None else entry.at
    content: dict[str, Json] = {
        "format": FORMAT,
        "product": entry.product,
        "thread": entry.thread,
        "number": entry.number,
        "at": at.isoformat(timespec="microseconds"),
        "body": body_json(entry.body),
        "previous_hash": entry.previous_hash,
    }
    return digest(content)


def body_json(body: NewEntry) -> dict[str, Json]:
    """Return the body as JSON values, in the order of the template."""
    return {
        "label": body.label,
        "hypothesis": body.hypothesis,
        "command": body.command,
        "config": body.config,
        "result": body.result,
        "interpretation": body.interpretation,
        "next_action": body.next_action,
        "confidence": body.confidence,
        "evidence": dict(body.evidence),
    }


def _break_at(entry: Entry, *, number: int, previous_hash: str, product: ProductId, thread: str) -> Break | None:
    if (entry.product, entry.thread) != (product, thread):
        detail = f"it belongs to the thread {entry.thread!r} of {entry.product!r}"
        return Break(number=number, kind=BreakKind.FOREIGN, detail=detail)
    if entry.number != number:
        detail = f"entry {number} is missing: the next one carries the number {entry.number}"
        return Break(number=number, kind=BreakKind.NUMBER, detail=detail)
    if entry.previous_hash != previous_hash:
        detail = f"it follows {entry.previous_hash}, and the entry before it is {previous_hash}"
        return Break(number=number, kind=BreakKind.PREVIOUS, detail=detail)
    try:
        expected = entry_hash(entry)
    except (ValueError, TypeError) as problem:
        return Break(number=number, kind=BreakKind.CONTENT, detail=f"its content cannot be hashed: {problem}")
    if entry.hash != expected:
        detail = f"its content hashes to {expected}, and it carries {entry.hash}"
        return Break(number=number, kind=BreakKind.CONTENT, detail=detail)
    return None
