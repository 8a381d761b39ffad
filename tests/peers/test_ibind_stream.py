"""ibind 0.2.2's socket client, unmodified, hears the simulator over real sockets: gateway (binary) and OAuth (text)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from running import RunningSimulator

pytest.importorskip("ibind")
pytestmark = [pytest.mark.peers, pytest.mark.slow, pytest.mark.requirement("FUT-02", "TST-01")]

DRIVER = Path(__file__).resolve().parent / "drive_ibind_stream.py"
WITHIN_S = 90
USERS = {"gateway": "simpaper1", "oauth1a": "simpaper2"}


def settings(world: RunningSimulator, way: str, folder: Path) -> dict[str, str]:
    user = world.user(USERS[way])
    given = {
        "IBIND_LOG_TO_FILE": "false",
        "IBIND_LOGS_DIR": str(folder),
        "IBIND_ACCOUNT_ID": user["accounts"][0],
        "IBIND_CACERT": str(world.ca),
    }
    if way == "gateway":
        url = f"{world.gateway}/v1/api/"
        return given | {"IBIND_REST_URL": url, "IBIND_WS_URL": url.replace("https", "wss") + "ws"}
    oauth = user["oauth1a"]
    return given | {
        "IBIND_USE_OAUTH": "true",
        "IBIND_OAUTH1A_REST_URL": f"{world.cloud}/v1/api/",
        "IBIND_OAUTH1A_WS_URL": f"{world.cloud.replace('https', 'wss')}/v1/api/ws",
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


@pytest.fixture(scope="module")
def streams(
    world: RunningSimulator, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, list[dict[str, Any]]]]:
    """What each way heard, in order. Both listen at once."""
    world.reset()
    # On opening ibind asks tickle twice within a blink, more than the page's once a second; in the field that works.
    world.control("POST", "quirks", {"pacing": False})
    theirs = ("IBIND_", "REQUESTS_", "CURL_CA")
    clean = {name: value for name, value in os.environ.items() if not name.startswith(theirs)}
    running = {}
    for way in USERS:
        folder = tmp_path_factory.mktemp(f"stream-{way}")
        running[way] = subprocess.Popen(
            [sys.executable, str(DRIVER), way],
            env=clean | settings(world, way, folder),
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
    told = {}
    for way, process in running.items():
        try:
            out, err = process.communicate(timeout=WITHIN_S)
        finally:
            process.kill()
        assert process.returncode == 0, f"{way}: {out[-2000:]}\n{err[-4000:]}"
        told[way] = [json.loads(line) for line in out.splitlines() if line.startswith('{"step"')]
        assert told[way][-1] == {"step": "end", "data": True}
    yield told
    world.reset()


@pytest.fixture(params=list(USERS))
def heard(request: pytest.FixtureRequest, streams: dict[str, list[dict[str, Any]]]) -> dict[str, list[Any]]:
    """What came in each step, oldest first."""
    found: dict[str, list[Any]] = {}
    for line in streams[request.param]:
        found.setdefault(line["step"], []).append(line["data"])
    return found


def test_every_subscription_is_confirmed(heard: dict[str, list[Any]]) -> None:
    assert heard["failed"] == [[]]


def test_market_data_comes_by_field(heard: dict[str, list[Any]]) -> None:
    fields = {name for frame in heard["market"] for name in frame}
    assert {"last_price", "bid_price", "ask_price"} <= fields
    last = [frame["ask_price"] for frame in heard["market"] if "ask_price" in frame][-1]
    assert float(last) > 0


def test_an_order_is_told_from_its_first_row_to_its_last(heard: dict[str, list[Any]]) -> None:
    rows = [row for frame in heard["orders"] for row in frame["args"]]
    order_id = int(heard["placed"][0]["order_id"])
    mine = [row for row in rows if row["orderId"] == order_id]
    statuses = [row["status"] for row in mine if "status" in row]
    assert statuses[:3] == ["Inactive", "PendingSubmit", "PreSubmitted"]
    assert statuses[-1] == "Filled"
    assert mine[-1]["filledQuantity"] == 2.0


def test_an_execution_comes_first_without_and_then_with_its_commission(heard: dict[str, list[Any]]) -> None:
    rows = [row for frame in heard["trades"] for row in frame["args"]]
    ids = {row["execution_id"] for row in rows}
    for execution in ids:
        with_fee = ["commission" in row for row in rows if row["execution_id"] == execution]
        assert with_fee[-1] is True
        assert with_fee == sorted(with_fee)
    assert rows[0]["side"] == "B"


def test_profit_and_loss_and_tic_are_answered(heard: dict[str, list[Any]]) -> None:
    (account,) = [name for name in heard["pnl"][0]["args"] if name.endswith(".Core")][:1]
    assert {"rowType", "dpl", "upl"} <= heard["pnl"][0]["args"][account].keys()
    assert heard["tic"][0]["alive"] is True
