"""Answers changed on their way: what a proxy, a mixed-up connection or IBKR itself may tell that is not so."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from ibkit.sim.serving.server import Outcome

__all__ = ["STRANGER", "body_of", "changed", "lying"]

STRANGER = {"acct": "DU7777777", "account": "DU7777777"}
_LONG_TEXT = "<h4>Order Confirmation</h4><script>alert(1)</script>" + "Are you really sure? <br/>" * 400
_ROWS_CUT = 1000


def body_of(outcome: Outcome) -> Any:
    """The JSON of a 200, else None."""
    if outcome.status != 200:
        return None
    try:
        return json.loads(outcome.body)
    except ValueError:
        return None


def lying(outcome: Outcome, lie: str, kind: str) -> Outcome:
    """The same answer, changed. What is not fitting stays as it was."""
    body = body_of(outcome)
    return (
        outcome
        if body is None and lie != "null"
        else replace(outcome, body=json.dumps(changed(body, lie, kind)).encode())
    )


def changed(body: Any, lie: str, kind: str) -> Any:
    if kind == "orders" and isinstance(body, dict):
        return {**body, **_changed_list(body, lie)}
    if kind == "trades" and isinstance(body, list):
        return _changed_trades(body, lie)
    match lie:
        case "shape":
            return {"answer": {"rows": body}}
        case "rows":
            return [*body, {"order_id": "987654", "order_status": "Submitted"}] if isinstance(body, list) else body
        case "null":
            return None
        case "text" | "two questions":
            return _changed_question(body, lie)
    if isinstance(body, list):
        return [_changed_row(row, lie) for row in body]
    return _changed_row(body, lie)


def _changed_row(row: Any, lie: str) -> Any:
    """One row of an acknowledgement, the others of a group alike; a row that refuses (`-1`) names no order."""
    if not isinstance(row, dict) or row.get("order_id", "-1") == "-1":
        return row
    match lie:
        case "account":
            return {**row, **STRANGER}
        case "ref":
            return {**row, "local_order_id": "ib-somebody-elses-order-of-today"}
        case "no id":
            return {name: value for name, value in row.items() if name != "order_id"}
        case "status":
            return {**row, "order_status": "Levitating"}
        case _:
            return row


def _changed_question(body: Any, lie: str) -> Any:
    if not (isinstance(body, list) and body and isinstance(body[0], dict) and "message" in body[0]):
        return body
    if lie == "text":
        return [{**body[0], "message": [_LONG_TEXT]}]
    return [body[0], {"id": "0a000000-0000-4000-8000-00000000ffff", "message": ["And this?"], "messageIds": ["o99999"]}]


def _changed_list(body: dict[str, Any], lie: str) -> dict[str, Any]:
    rows = body.get("orders", [])
    match lie:
        case "empty":
            return {"orders": [], "snapshot": False}
        case "strangers":
            return {"orders": [*rows, *({**row, **STRANGER} for row in rows)]}
        case "cut":
            stranger = {"orderId": 1, "conid": 1, "side": "BUY", "status": "Filled", "totalSize": 1.0, **STRANGER}
            return {"orders": [stranger] * _ROWS_CUT}
        case "double":
            return {"orders": [*rows, *({**row, "orderId": row["orderId"] + 7_000_000} for row in rows)]}
        case _:
            return {}


def _changed_trades(body: list[Any], lie: str) -> list[Any]:
    match lie:
        case "strangers":
            return [*body, *({**row, **STRANGER, "accountCode": STRANGER["account"]} for row in body)]
        case "none yet":
            return []
        case "corrected":
            # The same execution again, and a correction of it: the last figure of its number counts up.
            again = [{**row, "execution_id": f"{str(row['execution_id'])[:-2]}02"} for row in body]
            return [*reversed(again), *reversed(body), *body]
        case _:
            return body
