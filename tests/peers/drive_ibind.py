"""A day with ibind: run as a program of its own, so that its environment, threads and log files stay apart.

    drive_ibind.py gateway|oauth1a     its settings come from IBIND_* variables alone

Each step's answer is printed as one line of JSON: {"step": …, "data": …}. The first failure ends it with a traceback.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import requests
from ibind import IbkrClient, OrderRequest, QuestionType, StockQuery
from ibind.client.ibkr_utils import Answers
from ibind.oauth.oauth1a import generate_oauth_headers

ANSWERS: Answers = {
    QuestionType.PRICE_PERCENTAGE_CONSTRAINT: True,
    QuestionType.STOP_VARIANT_ORDER_CONFIRMATION: True,
    QuestionType.STOP_ORDER_RISKS: True,
    QuestionType.ORDER_VALUE_LIMIT: True,
}
LAST, BID, ASK = "31", "84", "86"
SPY = 756733
PAUSE_S = 5.1
"""Live orders and trades may be read once in five seconds each; tickle once a second."""


def tell(step: str, data: Any) -> Any:
    time.sleep(0.2)  # a gateway takes ten calls a second, and ibind sends as fast as it can
    print(json.dumps({"step": step, "data": data}, default=str), flush=True)
    return data


def prices(client: IbkrClient) -> tuple[float, float]:
    """Bid and ask, asked for again until they are there, as IBKR's pages tell callers to do."""
    for _ in range(20):
        (row,) = client.live_marketdata_snapshot([str(SPY)], [LAST, BID, ASK]).data
        if {LAST, BID, ASK} <= row.keys():
            tell("snapshot", row)
            return float(row[BID]), float(row[ASK])
        time.sleep(0.2)
    raise SystemExit("no prices in 20 snapshots")


class LiveOrders:
    """The list of live orders, read no oftener than IBKR allows: ibind leaves that to its caller."""

    def __init__(self, client: IbkrClient) -> None:
        self._client = client
        self._next = 0.0
        self.read()  # the first read only subscribes

    def read(self) -> dict[str, dict[str, Any]]:
        time.sleep(max(0.0, self._next - time.monotonic()))
        rows = self._client.live_orders().data["orders"]
        self._next = time.monotonic() + PAUSE_S
        return {str(row["orderId"]): row for row in rows}


def until(client: IbkrClient, order_id: str, status: str) -> dict[str, Any]:
    """The order's status once it says `status`."""
    for _ in range(20):
        answer = client.order_status(order_id).data
        if answer["order_status"] == status:
            return answer
        time.sleep(0.2)
    raise SystemExit(f"order {order_id} is {answer['order_status']}, not {status}")


def order(account: str, side: str, quantity: int, order_type: str, coid: str, **more: Any) -> OrderRequest:
    return OrderRequest(
        conid=SPY, side=side, quantity=quantity, order_type=order_type, acct_id=account, coid=coid, tif="DAY", **more
    )


def limit_order(client: IbkrClient, orders: LiveOrders, account: str, bid: float, tag: str) -> None:
    """A limit far below the market: IBKR asks, the answer is yes; seen, then cancelled."""
    asked = order(account, "BUY", 2, "LMT", f"{tag}-limit", price=round(bid * 0.9, 2))
    placed = tell("place", client.place_order(asked, ANSWERS).data)
    tell("live orders", orders.read()[placed["order_id"]])
    tell("order status", client.order_status(placed["order_id"]).data)
    changed = order(account, "BUY", 2, "LMT", f"{tag}-limit", price=round(bid * 0.91, 2))
    tell("modify", client.modify_order(placed["order_id"], changed, ANSWERS).data)
    tell("cancel", client.cancel_order(placed["order_id"]).data)
    tell("cancelled", until(client, placed["order_id"], "Cancelled"))


def bracket_order(client: IbkrClient, orders: LiveOrders, account: str, bid: float, tag: str) -> None:
    """Entry, stop and target in one call; the children are cancelled with their parent."""
    low = round(bid * 0.98, 2)
    legs = [
        order(account, "BUY", 3, "LMT", f"{tag}-entry", price=low),
        order(account, "SELL", 3, "STP", f"{tag}-stop", price=round(low * 0.95, 2), parent_id=f"{tag}-entry"),
        order(account, "SELL", 3, "LMT", f"{tag}-target", price=round(low * 1.05, 2), parent_id=f"{tag}-entry"),
    ]
    placed = tell("bracket", client.place_order(legs, ANSWERS).data)
    ids = [row["order_id"] for row in placed]
    seen = orders.read()
    tell("bracket rows", [seen[order_id] for order_id in ids])
    parent = next(row["order_id"] for row in placed if "parent_order_id" not in row)
    client.cancel_order(parent)
    tell("bracket cancelled", [until(client, order_id, "Cancelled") for order_id in ids])


def market_order(client: IbkrClient, account: str, tag: str) -> None:
    """One share bought; execution, position and money tell of it."""
    placed = client.place_order(order(account, "BUY", 1, "MKT", f"{tag}-market"), ANSWERS).data
    tell("filled", until(client, placed["order_id"], "Filled"))
    tell("trades", [row for row in client.trades(days="1").data if row.get("order_ref") == f"{tag}-market"])
    client.invalidate_backend_portfolio_cache(account)
    tell("positions", client.positions(account).data)
    tell("position", client.positions_by_conid(account, str(SPY)).data)


def changed_signature(client: IbkrClient) -> None:
    """A header made by ibind, as it is and with one character of its signature changed."""
    url = f"{client.base_url}iserver/accounts"
    headers = generate_oauth_headers(client.oauth_config, "GET", url, client.live_session_token)
    tell("signed", requests.get(url, headers=headers, timeout=20).status_code)
    headers = generate_oauth_headers(client.oauth_config, "GET", url, client.live_session_token)
    before, mark, after = headers["Authorization"].partition('oauth_signature="')
    other = "B" if after[0] == "A" else "A"
    headers["Authorization"] = f"{before}{mark}{other}{after[1:]}"
    answer = requests.get(url, headers=headers, timeout=20)
    tell("changed", [answer.status_code, answer.json()])


def contracts(client: IbkrClient) -> None:
    tell("search", client.search_contract_by_symbol("SPY").data)
    tell("conid", client.stock_conid_by_symbol(["AAPL", StockQuery("SPY", contract_conditions={"isUS": True})]).data)
    tell("definition", client.security_definition_by_conid([str(SPY)]).data)
    tell("rules", client.info_and_rules_by_conid(str(SPY), True).data)
    month = client.search_contract_by_symbol("SPY").data[0]["sections"]
    months = next(section["months"] for section in month if section["secType"] == "OPT").split(";")
    strikes = tell("strikes", client.search_strikes_by_conid(str(SPY), "OPT", months[0]).data)
    middle = strikes["call"][len(strikes["call"]) // 2]
    tell("info", client.search_secdef_info_by_conid(str(SPY), "OPT", months[0], strike=str(middle), right="C").data)
    tell("schedule", client.trading_schedule_by_symbol("STK", "SPY").data)


def main(way: str) -> None:
    tag = f"{way}-{time.time_ns()}"
    client = IbkrClient()
    tell("tickle", client.tickle().data)
    time.sleep(1.1)
    tell("health", client.check_health())
    tell("status", client.authentication_status().data)
    account = tell("accounts", client.receive_brokerage_accounts().data)["accounts"][0]
    client.account_id = account
    tell("portfolio accounts", client.portfolio_accounts().data)
    tell("positions before", client.positions(account).data)
    contracts(client)
    bid, _ = prices(client)
    tell("by symbol", client.live_marketdata_snapshot_by_symbol(["SPY"], [LAST, BID, ASK]))
    time.sleep(1)
    client.trades(days="1")  # as with the orders, the first read only subscribes
    orders = LiveOrders(client)
    limit_order(client, orders, account, bid, tag)
    bracket_order(client, orders, account, bid, tag)
    whatif = order(account, "BUY", 1, "LMT", f"{tag}-whatif", price=round(bid, 2))
    tell("whatif", client.whatif_order(whatif).data)
    market_order(client, account, tag)
    tell("ledger", client.get_ledger(account).data)
    tell("portfolio summary", client.portfolio_summary(account).data)
    tell("account summary", client.account_summary(account).data)
    tell("profit and loss", client.account_profit_and_loss().data)
    if way == "oauth1a":
        changed_signature(client)
        client.stop_tickler(15)
        tell("again", client.handle_auth_status())
    client.close()
    if way == "gateway":
        tell("logout", client.logout().data)
    tell("end", True)


if __name__ == "__main__":
    main(sys.argv[1])
