"""ibind listens while it trades: run as a program of its own, its settings from IBIND_* variables alone.

drive_ibind_stream.py gateway|oauth1a     each thing that was heard is one line of JSON: {"step": …, "data": …}
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import Any

from ibind import IbkrClient, IbkrWsClient, OrderRequest, QueueSink, events
from ibind.subscriptions import MarketDataSubscription, OrdersSubscription, PnlSubscription, TradesSubscription

SPY = 756733
PAUSE_S = 1.1
WITHIN_S = 40.0


def tell(step: str, data: Any) -> None:
    print(json.dumps({"step": step, "data": data}, default=str), flush=True)


def heard(sink: QueueSink, until: Callable[[str, Any], bool]) -> None:
    """Tell what comes until one thing is what is waited for."""
    kinds = {"market": events.MarketData, "orders": events.Orders, "trades": events.Trades, "pnl": events.Pnl}
    end = time.monotonic() + WITHIN_S
    while time.monotonic() < end:
        for name, kind in kinds.items():
            while (event := sink.get(kind)) is not None:
                tell(name, event.data)
                if until(name, event.data):
                    return
        time.sleep(0.05)
    raise SystemExit("it did not come in time")


def main(way: str) -> None:
    client = IbkrClient()
    client.tickle()
    account = client.receive_brokerage_accounts().data["accounts"][0]
    client.account_id = account
    time.sleep(PAUSE_S)  # tickle may be asked once a second
    sink = QueueSink()
    stream = IbkrWsClient(ibkr_client=client, account_id=account, sink=sink)
    if not stream.start():
        raise SystemExit("the stream did not start")
    handles = [
        stream.subscribe(subscription)
        for subscription in (
            MarketDataSubscription(conid=str(SPY), fields=["31", "84", "86"]),
            TradesSubscription(),
            PnlSubscription(),
            OrdersSubscription(),
        )
    ]
    heard(sink, lambda name, data: name == "market" and "ask_price" in data)
    order = OrderRequest(
        conid=SPY, side="BUY", quantity=2, order_type="MKT", acct_id=account, coid=f"stream-{way}", tif="DAY"
    )
    tell("placed", client.place_order(order, {}).data)
    heard(sink, lambda name, data: name == "trades" and any("commission" in row for row in data["args"]))
    tell("failed", [str(handle) for handle in stream.wait_all(handles, 10)])
    tell("tic", stream.tic())
    stream.shutdown()
    client.close()
    tell("end", True)


if __name__ == "__main__":
    main(sys.argv[1])
