"""The chain: what follows what, which mutation is found where, and what a signature proves."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ibkit.errors import ConfigError
from ibkit.model import Secret
from ibkit.vault import Act
from ibkit.vault.act import fields_of
from ibkit.vault.chain import (
    START,
    Break,
    BreakKind,
    Entry,
    Link,
    LinkKind,
    Row,
    Signer,
    append_to,
    canonical,
    follow,
    read_head,
)

AT = datetime(2026, 11, 20, 15, 30, tzinfo=UTC)
COUNT = 10_000
SIGNER = Signer(Secret(bytes(range(32))))


def chain(count: int, link: Link = START, note: str = "") -> list[Row]:
    rows = []
    for number in range(count):
        act = Act(
            at=AT + timedelta(seconds=number),
            actor="cli:ada",
            action="orders.place",
            object=f"ib-{number}",
            details={"terms": 'BUY "10" SPY', "note": note},
        )
        rows.append(append_to(link, fields_of(act)))
        link = Link(rows[-1][0], rows[-1][-1])
    return rows


WHOLE = chain(COUNT)


def rehashed(row: Row) -> Row:
    return (*row[:9], hashlib.sha256(row[8] + canonical(row[0], row[1:8])).digest())


def changed(row: Row, place: int, value: object) -> Row:
    return (*row[:place], value, *row[place + 1 :])  # type: ignore[return-value]  # as SQL could


def _edited(rows: list[Row]) -> list[Row]:
    return [*rows[:4999], changed(rows[4999], 5, "ib-other"), *rows[5000:]]


def _edited_and_hashed(rows: list[Row]) -> list[Row]:
    return [*rows[:4999], rehashed(changed(rows[4999], 5, "ib-other")), *rows[5000:]]


def _deleted(rows: list[Row]) -> list[Row]:
    return [*rows[:4999], *rows[5000:]]


def _deleted_and_closed_up(rows: list[Row]) -> list[Row]:
    return [*rows[:4999], *(changed(row, 0, row[0] - 1) for row in rows[5000:])]


def _swapped(rows: list[Row]) -> list[Row]:
    first, second = changed(rows[5000], 0, 5000), changed(rows[4999], 0, 5001)
    return [*rows[:4999], first, second, *rows[5001:]]


def _inserted(rows: list[Row]) -> list[Row]:
    new = append_to(Link(4999, rows[4998][9]), rows[0][1:8])
    return [*rows[:4999], new, *(changed(row, 0, row[0] + 1) for row in rows[4999:])]


def _front_cut(rows: list[Row]) -> list[Row]:
    return rows[100:]


def _doubled(rows: list[Row]) -> list[Row]:
    return [*rows[:5000], *rows[4999:]]


MUTATIONS: list[tuple[Callable[[list[Row]], list[Row]], int, BreakKind]] = [
    (_edited, 5000, BreakKind.CHANGED),
    (_edited_and_hashed, 5000, BreakKind.CHANGED),
    (_deleted, 5000, BreakKind.MISSING),
    (_deleted_and_closed_up, 5000, BreakKind.MOVED),
    (_swapped, 5000, BreakKind.MOVED),
    (_inserted, 5001, BreakKind.MOVED),
    (_front_cut, 1, BreakKind.MISSING),
    (_doubled, 5000, BreakKind.MOVED),
]


@pytest.mark.requirement("MON-10")
def test_a_chain_that_nobody_touched_is_whole() -> None:
    assert follow(WHOLE, START) == Link(COUNT, WHOLE[-1][-1])
    assert follow(WHOLE[500:], Link(500, WHOLE[499][-1])) == Link(COUNT, WHOLE[-1][-1])
    assert follow([], START) == START


@pytest.mark.requirement("MON-10")
@pytest.mark.parametrize(("mutate", "number", "kind"), MUTATIONS, ids=[each[0].__name__ for each in MUTATIONS])
def test_the_first_entry_that_is_wrong_is_named(
    mutate: Callable[[list[Row]], list[Row]], number: int, kind: BreakKind
) -> None:
    found = follow(mutate(WHOLE), START)

    assert isinstance(found, Break)
    assert (found.number, found.kind) == (number, kind)


@pytest.mark.requirement("MON-10")
@pytest.mark.parametrize(
    ("place", "value"),
    [
        (1, "2026-11-20T15:30:01.000001+00:00"),
        (2, "cli:eve"),
        (3, "192.0.2.1"),
        (4, "orders.cancel"),
        (5, "ib-9"),
        (6, "refused"),
        (7, "{}"),
        (7, "no details at all"),
        (8, bytes(32)),
        (9, bytes(32)),
    ],
)
def test_each_field_of_an_entry_counts(place: int, value: object) -> None:
    rows = [*WHOLE[:2], changed(WHOLE[2], place, value), *WHOLE[3:6]]

    found = follow(rows, START)

    assert isinstance(found, Break)
    assert found.number == 3


TEXT = st.text(max_size=30)


@pytest.mark.requirement("MON-10")
@given(TEXT, TEXT, st.dictionaries(st.from_regex(r"[a-z][a-z0-9_]{0,8}", fullmatch=True), TEXT, max_size=4))
def test_any_json_library_finds_the_same_bytes(actor: str, object_: str, details: dict[str, str]) -> None:
    fields = fields_of(Act(at=AT, actor=actor, action="a.b", object=object_, details=details))
    entry = Entry.of(append_to(START, fields))
    plain = [entry.number, entry.at, entry.actor, entry.address, entry.action, entry.object, entry.result]

    theirs = json.dumps([*plain, entry.details], separators=(",", ":"), ensure_ascii=False, sort_keys=True)

    assert theirs.encode() == canonical(1, fields)
    assert hashlib.sha256(bytes.fromhex(entry.previous) + theirs.encode()).hexdigest() == entry.hash


@pytest.mark.requirement("MON-10")
@pytest.mark.parametrize("part", ["number", "hash", "at", "public_key", "signature", "kind"])
def test_a_signature_holds_for_all_of_a_head(part: str) -> None:
    head = SIGNER.sign(Link(7, WHOLE[6][-1]), kind=LinkKind.HEAD, at="2026-11-20T15:30:00.000000+00:00")
    other = Signer(Secret(bytes(32))).public_key
    forged = {
        "number": 8,
        "hash": WHOLE[7][-1].hex(),
        "at": "2026-11-20T15:30:00.000001+00:00",
        "public_key": other,
        "signature": "00" * 64,
        "kind": LinkKind.ANCHOR,
    }

    assert head.holds()
    assert not dataclasses.replace(head, **{part: forged[part]}).holds()  # type: ignore[arg-type]


@pytest.mark.requirement("MON-10")
def test_a_head_is_read_from_its_line_or_from_a_whole_export() -> None:
    head = SIGNER.sign(Link(7, WHOLE[6][-1]), kind=LinkKind.HEAD, at="2026-11-20T15:30:00.000000+00:00")
    line = json.dumps(head.document)

    assert read_head(line) == head
    assert read_head(f'{{"number": 1}}\n{line}\n') == head


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no json",
        "[]",
        '{"head": {}}',
        '{"head": {"number": 1, "hash": "00", "at": "", "public_key": "", "signature": ""}}',
        '{"head": {"number": 1, "hash": "zz", "at": "", "public_key": "", "signature": ""}}',
    ],
)
def test_what_is_no_head_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="head of the audit log cannot be read"):
        read_head(text)


def test_details_that_are_none_are_shown_as_they_stand() -> None:
    assert Entry.of(changed(WHOLE[0], 7, "[")).details == {"unreadable": "["}


def test_a_signer_does_not_show_its_key() -> None:
    assert bytes(range(32)).hex() not in repr(SIGNER)
    assert SIGNER.public_key[:16] in repr(SIGNER)
