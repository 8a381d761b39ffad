"""ibind 0.2.2, unmodified and with its documented settings alone, trades against the simulator over real sockets.

Source: ibind's settings are the variables IBIND_*; over OAuth it verifies certificates with what `requests` trusts,
which REQUESTS_CA_BUNDLE names.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from running import RunningSimulator

pytest.importorskip("ibind")
pytestmark = [pytest.mark.peers, pytest.mark.slow]

DRIVER = Path(__file__).resolve().parent / "drive_ibind.py"
WITHIN_S = 120
# The gateway is logged in as the first user; the second one signs in over OAuth, so that both can go at the same time.
USERS = {"gateway": "simpaper1", "oauth1a": "simpaper2"}


def settings(world: RunningSimulator, way: str, folder: Path) -> dict[str, str]:
    user = world.user(USERS[way])
    given = {
        "IBIND_LOG_TO_FILE": "false",
        "IBIND_LOGS_DIR": str(folder),
        "IBIND_ACCOUNT_ID": user["accounts"][0],
    }
    if way == "gateway":
        return given | {"IBIND_REST_URL": f"{world.gateway}/v1/api/", "IBIND_CACERT": str(world.ca)}
    oauth = user["oauth1a"]
    return given | {
        "IBIND_USE_OAUTH": "true",
        "IBIND_OAUTH1A_REST_URL": f"{world.cloud}/v1/api/",
        "IBIND_OAUTH1A_CONSUMER_KEY": oauth["consumer_key"],
        "IBIND_OAUTH1A_ACCESS_TOKEN": oauth["access_token"],
        "IBIND_OAUTH1A_ACCESS_TOKEN_SECRET": oauth["access_token_secret"],
        "IBIND_OAUTH1A_DH_PRIME": oauth["dh_prime"],
        "IBIND_OAUTH1A_DH_GENERATOR": str(oauth["dh_generator"]),
        "IBIND_OAUTH1A_ENCRYPTION_KEY_FP": str(world.folder / oauth["encryption_key"]),
        "IBIND_OAUTH1A_SIGNATURE_KEY_FP": str(world.folder / oauth["signature_key"]),
        "IBIND_OAUTH1A_REALM": oauth["realm"],
        "REQUESTS_CA_BUNDLE": str(world.ca),
    }


def start(world: RunningSimulator, way: str, folder: Path) -> subprocess.Popen[str]:
    theirs = ("IBIND_", "REQUESTS_", "CURL_CA")
    env = {name: value for name, value in os.environ.items() if not name.startswith(theirs)}
    return subprocess.Popen(
        [sys.executable, str(DRIVER), way],
        env=env | settings(world, way, folder),
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture(scope="module")
def days(world: RunningSimulator, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """Each way's steps and their answers. Both run at once: most of their time is waiting for IBKR's pauses."""
    world.reset()
    running = {way: start(world, way, tmp_path_factory.mktemp(way)) for way in USERS}
    told = {}
    for way, process in running.items():
        try:
            out, err = process.communicate(timeout=WITHIN_S)
        finally:
            process.kill()
        assert process.returncode == 0, f"{way}: {out[-2000:]}\n{err[-4000:]}"
        told[way] = {line["step"]: line["data"] for line in map(json.loads, out.splitlines()) if "step" in line}
        assert told[way]["end"] is True
    return told


@pytest.fixture(params=list(USERS))
def way(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def day(days: dict[str, dict[str, Any]], way: str) -> dict[str, Any]:
    return days[way]


@pytest.fixture
def account(world: RunningSimulator, way: str) -> str:
    return world.user(USERS[way])["accounts"][0]


@pytest.mark.requirement("TST-01", "AUTH-06", "AUTH-07", "AUTH-14")
def test_it_signs_in_tickles_and_is_healthy(day: dict[str, Any], account: str) -> None:
    assert day["tickle"]["iserver"]["authStatus"]["authenticated"] is True
    assert day["health"] is True
    assert day["status"]["authenticated"] is True
    assert account in day["accounts"]["accounts"]
    assert account in [row["id"] for row in day["portfolio accounts"]]
    assert day["positions before"] == []


@pytest.mark.requirement("TST-01", "AUTH-06")
def test_a_signature_with_one_character_changed_gets_401(days: dict[str, dict[str, Any]]) -> None:
    assert days["oauth1a"]["signed"] == 200
    status, answer = days["oauth1a"]["changed"]
    assert status == 401
    assert "error" in answer


@pytest.mark.requirement("TST-01", "TRD-05")
def test_it_finds_contracts(day: dict[str, Any]) -> None:
    assert day["search"][0]["conid"] == "756733"
    assert day["conid"] == {"AAPL": 265598, "SPY": 756733}
    assert day["definition"]["secdef"][0]["ticker"] == "SPY"
    assert day["rules"]["rules"]["orderTypes"]
    assert len(day["strikes"]["call"]) > 50
    assert day["info"][0]["right"] == "C"
    assert day["schedule"][0]["timezone"] == "America/New_York"


@pytest.mark.requirement("TST-01", "TRD-06")
def test_it_gets_a_snapshot(day: dict[str, Any]) -> None:
    bid, ask = float(day["snapshot"]["84"]), float(day["snapshot"]["86"])
    assert 0 < bid < ask
    assert day["snapshot"]["6509"].startswith("R")
    assert day["by symbol"]["SPY"]["last_price"]


@pytest.mark.requirement("TST-01", "TRD-07", "TRD-10", "TRD-12")
def test_a_limit_order_is_questioned_answered_seen_modified_and_cancelled(
    world: RunningSimulator, days: dict[str, dict[str, Any]], day: dict[str, Any], way: str
) -> None:
    order_id = day["place"]["order_id"]
    assert day["place"]["order_status"] == "Submitted"
    assert (str(day["live orders"]["orderId"]), day["live orders"]["status"]) == (order_id, "Submitted")
    assert day["order status"]["order_status"] == "Submitted"
    assert day["modify"]["order_id"] == order_id
    assert day["cancel"]["msg"] == "Request was submitted"
    assert day["cancelled"]["order_status"] == "Cancelled"
    calls = [entry for entry in world.requests() if entry["face"] == ("gateway" if way == "gateway" else "cloud")]
    placed = next(i for i, entry in enumerate(calls) if entry["method"] == "POST" and entry["path"].endswith("/orders"))
    assert "/iserver/reply/" in calls[placed + 1]["path"], "the price is far off the market: IBKR asks"
    assert calls[placed + 1]["body"] == {"confirmed": True}


@pytest.mark.requirement("TST-01", "TRD-07")
def test_a_bracket_stands_and_falls_with_its_parent(day: dict[str, Any]) -> None:
    assert len(day["bracket"]) == 3
    children = [row for row in day["bracket"] if "parent_order_id" in row]
    (parent,) = [row for row in day["bracket"] if "parent_order_id" not in row]
    assert [row["parent_order_id"] for row in children] == [parent["order_id"]] * 2
    assert {row["parentId"] for row in day["bracket rows"] if "parentId" in row} == {int(parent["order_id"])}
    assert [row["order_status"] for row in day["bracket cancelled"]] == ["Cancelled"] * 3


@pytest.mark.requirement("TST-01", "TRD-03", "TRD-04", "TRD-12")
def test_a_fill_is_told_the_same_everywhere(day: dict[str, Any], account: str) -> None:
    price = float(day["filled"]["average_price"])
    (trade,) = day["trades"]
    assert (float(trade["price"]), trade["size"], trade["account"]) == (price, 1.0, account)
    (position,) = day["positions"]
    assert (position["conid"], position["position"]) == (756733, 1.0)
    cost = price + float(trade["commission"])
    assert position["avgCost"] == pytest.approx(cost)
    assert day["position"][0]["conid"] == 756733
    cash = day["ledger"]["USD"]["cashbalance"]
    assert cash == pytest.approx(1_000_000 - cost)
    assert float(day["portfolio summary"]["totalcashvalue"]["amount"]) == pytest.approx(cash)
    assert day["account summary"]["totalCashValue"] == pytest.approx(cash, abs=1)
    assert day["whatif"]["error"] is None
    assert "upnl" in day["profit and loss"]


@pytest.mark.requirement("TST-01", "SES-07")
def test_it_leaves(world: RunningSimulator, days: dict[str, dict[str, Any]], way: str) -> None:
    face = "gateway" if way == "gateway" else "cloud"
    mine = [entry for entry in world.requests() if entry["face"] == face]
    logouts = [entry for entry in mine if entry["path"] == "/v1/api/logout"]
    assert logouts[0]["status"] == 200
