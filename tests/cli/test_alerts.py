"""`ibkit alerts`: what is open, who looks after it, and whether the channels work."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from cli.conftest import Bench, Run

pytestmark = pytest.mark.requirement("MON-07")

ENV = "APP_ENV=test\nENCRYPTION_KEY=00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff\n"


@contextmanager
def receiver(status: int = 200) -> Iterator[tuple[str, list[bytes]]]:
    """A web server in a thread: its address, and what was posted to it."""
    posted: list[bytes] = []

    class Take(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            posted.append(self.rfile.read(int(self.headers["content-length"])))
            self.send_response(status)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *args: object) -> None:
            """Quiet."""

    server = HTTPServer(("127.0.0.1", 0), Take)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/hook-canary", posted
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def env(home: Path) -> Callable[..., None]:
    def write(*lines: str) -> None:
        (home / ".env").write_text(ENV + "".join(f"{line}\n" for line in lines))
        (home / ".env").chmod(0o600)

    return write


def test_an_unprotected_position_is_listed_acknowledged_and_closed(bench: Callable[..., Bench]) -> None:
    it = bench()
    sold = it.run("sell-option", "--side", "put", "--json").json
    world = it.simulator.world
    world.exchange.end(world.exchange.orders[int(sold["legs"][0]["stop_order_id"])], "cancelled", world.now)
    it.simulator.advance(120)
    assert it.run("worker", "--once", "--json").code == 7

    [alert] = it.run("alerts", "list", "--json").json
    assert (alert["event"], alert["severity"], alert["state"]) == ("position.unprotected", "critical", "open")
    assert [(each["channel"], each["state"]) for each in alert["deliveries"]] == [("log", "delivered")]
    assert "position.unprotected" in it.run("alerts", "list").out

    acked = it.run("alerts", "ack", alert["alert_id"][:8], "--note", "on it", "--json").json
    assert acked["state"].startswith("acknowledged by")
    assert it.run("alerts", "close", alert["alert_id"], "--note", "stop placed by hand").code == 0
    assert it.run("alerts", "list").out == "No open alerts.\n"
    assert it.run("alerts", "list", "--everything", "--json").json[0]["state"] == "closed"


def test_what_no_worker_has_told_yet_is_listed_all_the_same(bench: Callable[..., Bench]) -> None:
    """A sale without a worker beside it: `No open alerts` while a position stands without its stop would be a lie."""
    it = bench("stop-reject")
    assert it.run("sell-option", "--side", "put", "--on-stop-failure", "alert", "--json").code == 7
    [alert] = it.run("alerts", "list", "--json").json
    assert (alert["event"], alert["severity"], alert["state"]) == ("position.unprotected", "critical", "not told yet")
    shown = it.run("alerts", "list")
    assert "not told yet" in shown.out
    assert "`ibkit worker`" in shown.err

    it.simulator.advance(120)
    assert it.run("worker", "--once", "--json").code == 7
    assert [each["state"] for each in it.run("alerts", "list", "--json").json] == ["open"], "told, and listed once"


def test_a_round_of_the_worker_posts_what_stands_and_a_dead_receiver_changes_nothing(
    bench: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch
) -> None:
    it = bench()
    sold = it.run("sell-option", "--side", "put", "--json").json
    world = it.simulator.world
    world.exchange.end(world.exchange.orders[int(sold["legs"][0]["stop_order_id"])], "cancelled", world.now)
    with receiver() as (url, posted):
        monkeypatch.setenv("ALERT_WEBHOOK_URL", url)
        it.simulator.advance(120)
        assert it.run("worker", "--once", "--json").code == 7
        [document] = [json.loads(body) for body in posted]
        assert (document["event"], document["severity"]) == ("position.unprotected", "critical")
        assert "DU1" not in posted[0].decode()
    assert it.run("worker", "--once", "--json").code == 0  # the stop was placed again, and nobody listens any more
    world.exchange.end(world.exchange.orders[max(world.exchange.orders)], "cancelled", world.now)
    it.simulator.advance(120)
    assert it.run("worker", "--once", "--json").code == 7
    waiting = it.run("alerts", "list", "--json").json[0]["deliveries"]
    assert [(each["state"], each["attempts"]) for each in waiting if each["channel"] == "webhook"] == [("pending", 1)]


def test_an_alert_that_is_not_there_is_not_found(ibkit: Run, env: Callable[..., None]) -> None:
    env()
    ran = ibkit("alerts", "ack", "0123456789", "--json")
    assert (ran.code, ran.error["code"]) == (2, "E-NOT-FOUND")


def test_a_test_message_reaches_each_channel_and_a_failure_is_an_exit_code(
    ibkit: Run, env: Callable[..., None]
) -> None:
    with receiver() as (url, posted):
        env(f"ALERT_WEBHOOK_URL={url}")
        ran = ibkit("alerts", "test", "--json")
    assert ran.code == 0, ran.err
    assert {each["channel"]: each["delivered"] for each in ran.json} == {"log": True, "webhook": True}
    assert b"channel.test" in posted[0]
    gone = ibkit("alerts", "test", "webhook")
    assert (gone.code, "FAILED" in gone.out) == (1, True)
    with receiver(status=403) as (url, _):
        env(f"ALERT_WEBHOOK_URL={url}")
        assert "HTTP 403" in ibkit("alerts", "test", "webhook").out
    assert ibkit("alerts", "test", "nobody", "--json").error["code"] == "E-NOT-FOUND"


def test_a_channel_is_stored_sealed_tried_and_removed(ibkit: Run, env: Callable[..., None], home: Path) -> None:
    env()
    with receiver() as (url, posted):
        (home / "address").write_text(f"{url}\n")
        stored = ibkit(
            "alerts", "channels", "add", "chat", "--address-file", "address", "--severities", "critical", "--json"
        )
        assert stored.code == 0, stored.err
        assert stored.json["secret"].startswith("whsec_")
        assert ibkit("alerts", "test", "chat").code == 0
        assert len(posted) == 1
    listed = ibkit("alerts", "channels", "--json")
    chat = next(each for each in listed.json if each["name"] == "chat")
    assert (chat["severities"], chat["where"], chat["enabled"]) == (["critical"], "127.0.0.1, signed", True)
    assert "canary" not in listed.out + ibkit("alerts", "channels").out
    assert ibkit("alerts", "channels", "switch", "chat", "off").code == 0
    assert "off" in ibkit("alerts", "channels").out
    assert ibkit("alerts", "channels", "remove", "chat").code == 0
    assert ibkit("alerts", "channels", "remove", "chat").code == 2


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("https://169.254.169.254/latest", "inside a network"),
        ("http://hooks.example.com/x", "use https"),
        ("syslog://", "acts on this machine"),
        ("json://10.0.0.1/x", "inside a network"),
        ("nonsense://x", "no service knows its form"),
        ("", "its first line is empty"),
    ],
)
def test_an_address_that_is_no_use_or_reaches_inside_is_refused(
    ibkit: Run, env: Callable[..., None], home: Path, address: str, why: str
) -> None:
    env()
    (home / "address").write_text(address)
    ran = ibkit("alerts", "channels", "add", "x", "--address-file", "address", "--json")
    assert (ran.code, ran.error["code"]) == (2, "E-VALIDATION")
    assert why in ran.error["message"]


def test_without_a_key_nothing_secret_is_stored(ibkit: Run, home: Path) -> None:
    (home / "address").write_text("https://hooks.example.com/x")
    ran = ibkit("alerts", "channels", "add", "x", "--address-file", "address", "--json")
    assert ran.error["code"] == "E-ENC-KEY"


def test_words_that_are_no_severity_or_level_are_refused(ibkit: Run, env: Callable[..., None], home: Path) -> None:
    env()
    (home / "address").write_text("https://hooks.example.com/x")
    for flags in (("--severities", "loud"), ("--level", "9")):
        assert ibkit("alerts", "channels", "add", "x", "--address-file", "address", *flags).code == 2
