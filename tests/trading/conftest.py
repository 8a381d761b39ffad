"""A trading room with fakes around it, for every test here."""

from __future__ import annotations

import pytest

from trading_room import Room, make_room


@pytest.fixture
def room() -> Room:
    return make_room()
