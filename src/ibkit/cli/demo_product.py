"""The whole product on the demo's simulator: the service with its worker and pages, an owner, orders, a portfolio.

Everything is done over HTTP, as a program of the owner's would do it, with a machine key that ends with the seeding.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import secrets
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from ibkit.cli import output
from ibkit.errors import Unreachable
from ibkit.model import Secret
from ibkit.settings import Settings, load

__all__ = ["Product", "opened", "seed"]

_PORT: Final = 8000
_UP_WITHIN_S: Final = 60.0
_ENDS_WITHIN_S: Final = 15.0
_FILLED_WITHIN_S: Final = 20.0
_KEPT: Final = ("HOME", "PATH", "LANG", "LC_ALL", "TMPDIR", "SYSTEMROOT")
"""Of the environment: whatever else stands there must not reach the demo's service."""
_LINK: Final = re.compile(r"http\S+/welcome#\S+")
_ADDRESS: Final = re.compile(r"^Serving (\S+) ", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Product:
    """link: the owner's, once."""

    process: subprocess.Popen[bytes]
    address: str
    link: Secret[str]
    settings: Settings


@contextmanager
def opened(env_file: Path, folder: Path) -> Iterator[Product]:
    """`ibkit serve` in a process of its own, ended at the end. Unreachable where it does not start."""
    with env_file.open("a", encoding="utf-8") as file:
        file.write(f'JWT_SECRET="{secrets.token_urlsafe(48)}"\nENCRYPTION_KEY="{secrets.token_hex(32)}"\n')
    log = folder / "service.log"
    environ = {name: os.environ[name] for name in _KEPT if name in os.environ}
    command = [sys.executable, "-m", "ibkit", "--env-file", str(env_file), "serve", "--port", str(_free_port())]
    with log.open("wb") as file_:
        # A session of its own: Ctrl-C is for us, and we end it.
        process = subprocess.Popen(  # noqa: S603  # our own interpreter, fixed arguments
            command, stdin=subprocess.DEVNULL, stdout=file_, stderr=file_, env=environ, start_new_session=True
        )
    try:
        said = _wait_for(process, log)
        link, address = _LINK.search(said), _ADDRESS.search(said)
        assert link is not None, "a new installation has its owner's link"
        assert address is not None, "the service says where it listens"
        settings = load(environ={"HOME": str(Path.home())}, env_file=env_file)
        yield Product(process, address[1], Secret(link[0]), settings)
    finally:
        process.terminate()
        try:
            process.wait(_ENDS_WITHIN_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _free_port() -> int:
    """8000, or any where that is taken."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", _PORT))
        except OSError:
            return 0
    return _PORT


def _wait_for(process: subprocess.Popen[bytes], log: Path) -> str:
    deadline = time.monotonic() + _UP_WITHIN_S
    while True:
        said = log.read_text(encoding="utf-8", errors="replace")
        if _ADDRESS.search(said):
            return said
        if process.poll() is not None or time.monotonic() > deadline:
            raise Unreachable(
                f"The service did not start: {output.one_line(said.strip(), 300) or 'no reason given'}",
                remedy=f"See {log}.",
            )
        time.sleep(0.05)


async def seed(product: Product) -> None:
    """Some shares, a bracket that works, and a portfolio: one account by hand, one connected and synchronised."""
    from ibkit.bootstrap.edge import machine_clock
    from ibkit.bootstrap.users import open_users
    from ibkit.users import Scope

    scopes = frozenset({Scope.READ, Scope.ORDERS_PAPER})
    async with open_users(product.settings, clock=machine_clock()) as desk:
        made = await desk.keeper.add_key("owner", label="demo", scopes=scopes, life=timedelta(minutes=10))
        caller = _Caller(product.address, made.key)
        try:
            _orders(caller)
            _portfolio(caller)
        finally:
            await desk.keeper.revoke_key(made.record.key_id)


@dataclass(frozen=True, slots=True)
class _Caller:
    address: str
    key: Secret[str]

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """Unreachable with the service's own words where it refuses."""
        where = urlsplit(self.address)
        call = http.client.HTTPConnection(where.hostname or "", where.port, timeout=60)
        headers = {"Authorization": f"Bearer {self.key.reveal()}", "Content-Type": "application/json"}
        if method == "POST":
            headers["Idempotency-Key"] = str(uuid.uuid4())
        try:
            call.request(method, path, None if body is None else json.dumps(body), headers)
            answer = call.getresponse()
            told = json.loads(answer.read())
        finally:
            call.close()
        if answer.status >= 400:
            raise Unreachable(
                f"The service refused {method} {path}: {told.get('detail')}", remedy="See service.log of the demo."
            )
        return told.get("data", told)


def _orders(caller: _Caller) -> None:
    _until(lambda: caller.ask("GET", "/api/ibkr/status").get("connected") is True)
    bought = [
        caller.ask("POST", "/broker-order", {"broker": "ibkr", "action": "buy", "symbol": symbol, "qty": quantity})
        for symbol, quantity in (("AAPL", 60), ("MSFT", 25), ("QQQ", 20))
    ]
    for order in bought:
        _until(partial(_is_filled, caller, order["id"]))
    price = caller.ask("GET", "/api/options/chain?symbol=SPY&strikes=1")["underlying"]["price"]
    below = {name: round(price * part, 0) for name, part in (("limit_price", 0.98), ("stop_loss", 0.95))}
    bracket = {"order_type": "limit", "time_in_force": "gtc", **below, "take_profit": round(price * 1.02, 0)}
    caller.ask("POST", "/broker-order", {"broker": "ibkr", "action": "buy", "symbol": "SPY", "qty": 10, **bracket})


def _is_filled(caller: _Caller, order_id: str) -> bool:
    return bool(caller.ask("GET", f"/broker-order/{order_id}")["status"] == "filled")


def _until(seen: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _FILLED_WITHIN_S
    while not seen():
        if time.monotonic() > deadline:
            raise Unreachable("The demo's service did not get that far", remedy="See service.log of the demo.")
        time.sleep(0.2)


def _portfolio(caller: _Caller) -> None:
    account = caller.ask("GET", "/ibkr/accounts")["accounts"][0]["id"]
    by_hand = [{"symbol": "VWCE", "units": 42}, {"symbol": "House", "units": 1}]
    told = [
        {"symbol": "VWCE", "name": "Vanguard FTSE All-World", "type": "etf", "currency": "EUR", "unit_price": 131.46},
        {"symbol": "House", "name": "The flat", "type": "other", "currency": "USD", "unit_price": 240000},
    ]
    accounts = [{"name": "By hand", "holdings": by_hand}, {"name": "Interactive Brokers"}]
    made = caller.ask("POST", "/portfolio", {"name": "Everything", "accounts": accounts, "securities": told})
    path = f"/portfolio/{made['id']}/accounts/Interactive%20Brokers/connect/ibkr"
    caller.ask("POST", path, {"account_id": account})
