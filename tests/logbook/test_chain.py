"""Whatever is changed, removed, inserted or swapped in a thread is found, and the first such place is named."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilothouse.canonical import Json
from pilothouse.errors import BadValue
from pilothouse.ids import ProductId
from pilothouse.logbook.chain import BreakKind, entry_hash, link, thread_hash, verify
from pilothouse.logbook.entry import Entry, NewEntry

DEMO = ProductId("demo")
THREAD = "forty-two"
NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


def body(label: str) -> NewEntry:
    """Build a body of short texts."""
    return NewEntry(
        label=label,
        hypothesis="lower",
        command="train",
        config="{}",
        result="0.1",
        interpretation="good",
        next_action="more",
        confidence="exploratory",
        evidence={"verdict": {"low": -0.5, "high": None}, "digests": ["a", "b"]},
    )


def chain(labels: list[str]) -> list[Entry]:
    """Link one entry per label, a minute apart."""
    entries: list[Entry] = []
    for place, label in enumerate(labels):
        previous = entries[-1] if entries else None
        now = NOON + timedelta(minutes=place)
        entries.append(link(previous, product=DEMO, thread=THREAD, body=body(label), now=now))
    return entries


labels = st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=8), min_size=1, max_size=6)


@given(labels)
def test_untouched_chain_is_whole(texts: list[str]) -> None:
    """With and without its length and head."""
    entries = chain(texts)
    assert verify(entries, product=DEMO, thread=THREAD) is None
    assert verify(entries, product=DEMO, thread=THREAD, length=len(texts), head=entries[-1].hash) is None
    assert [entry.number for entry in entries] == list(range(1, len(texts) + 1))


CHANGES: list[Callable[[Entry], Entry]] = [
    lambda entry: replace(entry, product=ProductId("other")),
    lambda entry: replace(entry, thread="another"),
    lambda entry: replace(entry, number=99),
    lambda entry: replace(entry, at=entry.at - timedelta(microseconds=1)),
    lambda entry: replace(entry, previous_hash="0" * 64),
    lambda entry: replace(entry, hash="f" * 64),
    lambda entry: replace(entry, body=replace(entry.body, label=entry.body.label + "!")),
    lambda entry: replace(entry, body=replace(entry.body, hypothesis="higher")),
    lambda entry: replace(entry, body=replace(entry.body, command="train ")),
    lambda entry: replace(entry, body=replace(entry.body, config="")),
    lambda entry: replace(entry, body=replace(entry.body, result="0.01")),
    lambda entry: replace(entry, body=replace(entry.body, interpretation="bad")),
    lambda entry: replace(entry, body=replace(entry.body, next_action="less")),
    lambda entry: replace(entry, body=replace(entry.body, confidence="stable")),
    lambda entry: replace(entry, body=replace(entry.body, evidence={})),
    lambda entry: replace(entry, body=replace(entry.body, evidence={**entry.body.evidence, "digests": ["b", "a"]})),
]


def test_every_field_has_its_change() -> None:
    """A new field must be covered by the hash, and by this test."""
    names = [field.name for kind in (Entry, NewEntry) for field in fields(kind)]
    assert len(CHANGES) == len(names) - 1 + 1  # `body` is changed by its fields, `evidence` in two ways


@given(labels, st.data(), st.sampled_from(CHANGES))
def test_any_changed_field_is_found_where_it_is(
    texts: list[str], data: st.DataObject, change: Callable[[Entry], Entry]
) -> None:
    """Every field of the entry and of its body, at every place."""
    entries = chain(texts)
    place = data.draw(st.integers(0, len(entries) - 1))
    entries[place] = change(entries[place])
    broken = verify(entries, product=DEMO, thread=THREAD)
    assert broken is not None
    assert broken.number == place + 1
    assert broken.detail


@given(labels, st.data())
def test_removal_is_found_unless_it_is_the_end(texts: list[str], data: st.DataObject) -> None:
    """The missing end shows against a length or a head that was noted elsewhere."""
    entries = chain(texts)
    place = data.draw(st.integers(0, len(entries) - 1))
    rest = entries[:place] + entries[place + 1 :]
    head = entries[-1].hash
    broken = verify(rest, product=DEMO, thread=THREAD)
    if place < len(entries) - 1:
        assert broken is not None
        assert (broken.number, broken.kind) == (place + 1, BreakKind.NUMBER)
    else:
        assert broken is None
        by_length = verify(rest, product=DEMO, thread=THREAD, length=len(entries))
        by_head = verify(rest, product=DEMO, thread=THREAD, head=head)
        assert by_length is not None
        assert (by_length.number, by_length.kind) == (len(entries), BreakKind.MISSING_END)
        assert by_head is not None
        assert by_head.kind is BreakKind.OTHER_HEAD


@given(labels, st.data())
def test_swap_and_insertion_are_found(texts: list[str], data: st.DataObject) -> None:
    """At the first place that no longer follows."""
    entries = chain([*texts, "last"])
    place = data.draw(st.integers(0, len(entries) - 2))
    swapped = entries.copy()
    swapped[place], swapped[place + 1] = swapped[place + 1], swapped[place]
    doubled = [*entries[: place + 1], entries[place], *entries[place + 1 :]]
    forged = [
        *entries[:place],
        link(entries[place - 1] if place else None, product=DEMO, thread=THREAD, body=body("forged"), now=NOON),
        *entries[place:],
    ]
    for tampered, number in ((swapped, place + 1), (doubled, place + 2), (forged, place + 2)):
        broken = verify(tampered, product=DEMO, thread=THREAD)
        assert broken is not None
        assert broken.number == number


def test_rewritten_later_hashes_show_against_the_noted_head() -> None:
    """What a chain alone cannot show."""
    entries = chain(["one", "two"])
    forged = [link(None, product=DEMO, thread=THREAD, body=body("forged"), now=NOON)]
    forged.append(link(forged[0], product=DEMO, thread=THREAD, body=entries[1].body, now=NOON))
    assert verify(forged, product=DEMO, thread=THREAD) is None
    broken = verify(forged, product=DEMO, thread=THREAD, head=entries[-1].hash)
    assert broken is not None
    assert broken.kind is BreakKind.OTHER_HEAD


def test_more_entries_than_noted_are_named() -> None:
    """The first one that was not noted."""
    broken = verify(chain(["one", "two", "three"]), product=DEMO, thread=THREAD, length=2)
    assert broken is not None
    assert (broken.number, broken.kind) == (3, BreakKind.NUMBER)


def test_a_whole_thread_cannot_pass_for_another() -> None:
    """Not even when every row names the other thread, and an empty thread has a head too."""
    moved = [replace(entry, thread="another") for entry in chain(["one"])]
    broken = verify(moved, product=DEMO, thread="another")
    assert broken is not None
    assert broken.kind is BreakKind.PREVIOUS
    assert verify([], product=DEMO, thread=THREAD, length=0, head=thread_hash(DEMO, THREAD)) is None
    assert verify([], product=DEMO, thread=THREAD, length=1) is not None


def test_hash_is_fixed_for_ever() -> None:
    """A stored logbook must verify in every later version: changing the hash needs a new format."""
    entry = link(None, product=DEMO, thread=THREAD, body=body("one"), now=NOON)
    start = hashlib.sha256(b'{"format":1,"product":"demo","thread":"forty-two"}').hexdigest()
    written_out = (
        '{"at":"2026-11-22T12:00:00.000000+00:00","body":{"command":"train","confidence":"exploratory","config":"{}",'
        '"evidence":{"digests":["a","b"],"verdict":{"high":null,"low":-0.5}},"hypothesis":"lower",'
        '"interpretation":"good","label":"one","next_action":"more","result":"0.1"},"format":1,"number":1,'
        f'"previous_hash":"{start}","product":"demo","thread":"forty-two"}}'
    )
    assert entry.hash == hashlib.sha256(written_out.encode()).hexdigest()
    elsewhere = replace(entry, at=NOON.astimezone(timezone(timedelta(hours=5))))
    assert entry_hash(elsewhere) == entry.hash


@pytest.mark.parametrize("evidence", [{"loss": math.nan}, {"low": -math.inf}, {"text": "\ud800"}])
def test_what_has_no_canonical_form_is_refused_by_label(evidence: dict[str, Json]) -> None:
    """And found, when it stands in the store all the same."""
    bad = replace(body("broken"), evidence=evidence)
    with pytest.raises(BadValue, match="'broken' cannot be hashed"):
        link(None, product=DEMO, thread=THREAD, body=bad, now=NOON)
    stored = replace(chain(["one"])[0], body=bad)
    broken = verify([stored], product=DEMO, thread=THREAD)
    assert broken is not None
    assert broken.kind is BreakKind.CONTENT


def test_clock_set_back_breaks_nothing() -> None:
    """Evidence is never lost to a clock."""
    first = link(None, product=DEMO, thread=THREAD, body=body("one"), now=NOON)
    second = link(first, product=DEMO, thread=THREAD, body=body("two"), now=NOON - timedelta(seconds=5))
    third = link(second, product=DEMO, thread=THREAD, body=body("three"), now=NOON)
    assert verify([first, second, third], product=DEMO, thread=THREAD) is None
