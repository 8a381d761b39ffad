"""Changes of orders as they come: server-sent events."""

from __future__ import annotations

import http.client
import json
import threading
from typing import Any
from urllib.parse import urlsplit

import pytest

from people import person
from service_desks import Served


class Listener:
    """Reads one stream in a thread."""

    def __init__(self, service: Served, token: str, query: str = "") -> None:
        where = urlsplit(service.address)
        self.call = http.client.HTTPConnection(where.hostname or "", where.port, timeout=30)
        self.call.request("GET", f"/broker-order/events{query}", headers={"Authorization": f"Bearer {token}"})
        self.answer = self.call.getresponse()
        self.told: list[dict[str, Any]] = []
        self.came = threading.Condition()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        try:
            for line in self.answer:
                if line.startswith(b"data: "):
                    with self.came:
                        self.told.append(json.loads(line[6:]))
                        self.came.notify_all()
        except (OSError, ValueError, AttributeError, http.client.HTTPException):
            pass  # closed

    def wait(self, wanted: Any) -> bool:
        with self.came:
            return self.came.wait_for(lambda: any(wanted(each) for each in self.told), timeout=15)

    def close(self) -> None:
        self.call.close()


@pytest.mark.requirement("GWY-06")
def test_a_listener_is_told_of_its_users_orders_and_of_no_one_elses(mock_service: Served) -> None:
    for name in ("hears", "deaf"):
        mock_service.people.holders[name] = person(name)
    ours, theirs = Listener(mock_service, "hears"), Listener(mock_service, "deaf")
    assert ours.answer.getheader("Content-Type", "").startswith("text/event-stream")
    try:
        order = mock_service.order(token="hears", qty=11)
        assert ours.wait(lambda each: each["id"] == order.data["id"] and each["status"] == "filled"), ours.told
        assert theirs.told == []
        since = order.data["created_at"]
        later = Listener(mock_service, "hears", f"?since={since.replace('+', '%2B')}")
        assert later.wait(lambda each: each["id"] == order.data["id"])
        later.close()
    finally:
        ours.close()
        theirs.close()


def test_a_stream_needs_a_token_and_a_moment_that_is_one(mock_service: Served) -> None:
    assert mock_service.ask("GET", "/broker-order/events", token=None).status == 401
    answer = mock_service.ask("GET", "/broker-order/events?since=yesterday")
    assert (answer.status, answer.fields) == (422, ["since"])
