"""Events to text and back."""

from __future__ import annotations

from decimal import Decimal

import pytest

from fakes import START
from ibkit.errors import StorageError
from ibkit.store.event_codec import decode_event, encode_event
from journal_words import bracket, claim, planned, send

pytestmark = pytest.mark.requirement("GWY-06")


def test_an_event_comes_back_as_it_was():
    wish, legs = bracket()
    for event in (planned(), wish, *claim(3), *send(7, generation=2, value=Decimal("1870.10")), legs[0].attached):
        kind, body = encode_event(event)
        assert kind == type(event).__name__
        assert decode_event(kind, body) == event


def test_what_an_earlier_release_did_not_know_has_its_default():
    event = decode_event("Claimed", f'{{"at":"{START.isoformat()}","owner":"ibkit"}}')
    assert (event.owner, event.epoch) == ("ibkit", 0)


@pytest.mark.parametrize(
    ("kind", "body"), [("Teleported", "{}"), ("Claimed", "{"), ("Claimed", '{"owner":3}'), ("Claimed", '{"owner":"o"}')]
)
def test_what_cannot_be_read_stops_everything(kind, body):
    with pytest.raises(StorageError, match=f"an event {kind} that this ibkit cannot read") as caught:
        decode_event(kind, body)
    assert "Update ibkit" in caught.value.remedy
