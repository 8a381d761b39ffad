"""What every broker adapter must do, whoever wrote it: run by `test_broker_adapters.py` for each."""

from __future__ import annotations

from service_desks import ORDER, Served, new_key, until

__all__ = ["obeys"]

ANSWER = {"id", "broker", "account_id", "broker_order_id", "symbol", "side", "quantity", "status", "error", "metadata"}


def obeys(service: Served, name: str, symbol: str) -> None:
    """Listed with what it can do; places once for a key; refuses other terms; shows, lists and cancels."""
    listed = {each["name"]: each for each in service.ask("GET", "/api/brokers").data}[name]
    assert listed["configured"], listed
    assert "stocks" in listed["capabilities"]
    key, wish = new_key(), {**ORDER, "broker": name, "symbol": symbol}
    first = service.ask("POST", "/broker-order", wish, key=key)
    assert (first.status, first.json["cached"]) == (201, False), first.raw
    assert first.data.keys() >= ANSWER
    assert first.data["broker"] == name
    assert first.data["broker_order_id"]
    again = service.ask("POST", "/broker-order", wish, key=key)
    assert (again.status, again.json["cached"], again.data["id"]) == (200, True, first.data["id"])
    other = service.ask("POST", "/broker-order", {**wish, "qty": 2}, key=key)
    assert (other.status, other.code) == (422, "E-IDEM-CONFLICT")
    path = f"/broker-order/{first.data['id']}"
    until(lambda: service.ask("GET", path).data["status"] in ("submitted", "filled"))
    assert service.ask("GET", path, token="bob").status == 404
    assert first.data["id"] in {each["id"] for each in service.ask("GET", f"/broker-order?broker={name}").data}
    unable = sorted({"options", "brackets"} - set(listed["capabilities"]))
    option = {**wish, "expiry": "20261120", "strike": 629, "right": "P"}
    if "options" in unable:
        refused = service.ask("POST", "/broker-order", option, key=new_key())
        assert (refused.status, refused.code) == (422, "E-BROKER"), refused.raw
    if "cancel" in listed["capabilities"]:
        assert service.ask("DELETE", path).status in (200, 202)
    foreign = service.ask("POST", "/broker-order", {**wish, "account_id": "DU5555555"}, key=new_key())
    assert (foreign.status, foreign.code) == (404, "E-NOT-FOUND")
