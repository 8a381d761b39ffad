"""One client, one mode, one process: sends N signed GETs and prints its own CPU and wall seconds as JSON.

    python -m benchmarks.clients ibind|raw|transport|ibkit one|hundred URL CA N

`transport` is what carries a request for ibkit, without ibkit: the same HTTP library, loop and TLS with the same time
limit and the same cap on the body, a ready-made header, no client, signing, pacing or decoding. `raw` is the HTTP
library by itself, the body read without a cap and without a time limit.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import sys
import time
from collections import deque
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

PATH = "/iserver/marketdata/snapshot"
QUERY = {"conids": "756733", "fields": "31,84,85,86,88,6509"}
QUERY_TEXT = "&".join(f"{name}={value}" for name, value in QUERY.items())
HEADER = 'OAuth realm="limited_poa", ' + ", ".join(f'oauth_{name}="{"x" * 40}"' for name in "abcdef")
"""As long as a signed one."""
IN_FLIGHT = 100
WARM_UP = 200
KEYS = Path(__file__).resolve().parent.parent / "tests" / "keys"
TOKEN = "Xq0pHCqN8dQOStBXdflbZZxw1FQ="  # any 20 bytes: nobody checks the signature here


def timed(work: Callable[[int], None], count: int) -> dict[str, float]:
    work(WARM_UP)
    cpu, wall = time.process_time(), time.perf_counter()
    work(count)
    return {"cpu": time.process_time() - cpu, "wall": time.perf_counter() - wall, "n": count}


async def timed_async(call: Callable[[], Awaitable[object]], count: int, in_flight: int) -> dict[str, float]:
    async def lane(times: int) -> None:
        for _ in range(times):
            await call()

    async def work(total: int) -> None:
        await asyncio.gather(*(lane(total // in_flight) for _ in range(in_flight)))

    await work(max(WARM_UP, in_flight))
    cpu, wall = time.process_time(), time.perf_counter()
    await work(count)
    return {"cpu": time.process_time() - cpu, "wall": time.perf_counter() - wall, "n": count // in_flight * in_flight}


def ibind(url: str, ca: str, count: int, in_flight: int) -> dict[str, float]:
    os.environ["REQUESTS_CA_BUNDLE"] = ca
    from ibind import IbkrClient
    from ibind.oauth.oauth1a import OAuth1aConfig

    config = OAuth1aConfig(
        oauth_rest_url=f"{url}/v1/api/",
        access_token="9a1c0f5e7b3d2468ace0",
        access_token_secret="",
        consumer_key="BENCHMARK",
        dh_prime="17",
        encryption_key="-",
        signature_key="-",
        init_oauth=False,
    )
    client = IbkrClient(use_oauth=True, oauth_config=config, auto_register_shutdown=False)
    client.live_session_token = TOKEN

    def one(_: int) -> None:
        client.get(PATH[1:], params=QUERY, log=False)

    def in_turn(n: int) -> None:
        for i in range(n):
            one(i)

    if in_flight == 1:
        return timed(in_turn, count)
    with ThreadPoolExecutor(in_flight) as pool:

        def at_once(n: int) -> None:
            deque(pool.map(one, range(n)), maxlen=0)

        return timed(at_once, count)


async def raw(url: str, ca: bytes, count: int, in_flight: int) -> dict[str, float]:
    from pyreqwest.client import ClientBuilder

    target = f"{url}/v1/api{PATH}?{QUERY_TEXT}"
    builder = ClientBuilder().add_root_certificate_pem(ca).http1_only().user_agent("ibkit-benchmark")
    async with builder.build() as client:

        async def call() -> None:
            response = await client.get(target).header("Authorization", HEADER).build().send()
            await response.bytes()

        return await timed_async(call, count, in_flight)


async def transport(url: str, ca: bytes, count: int, in_flight: int) -> dict[str, float]:
    from ibkit.client.transports.pyreqwest import PyreqwestTransport
    from ibkit.wire.http import Request

    headers = {"User-Agent": "ibkit-benchmark", "Authorization": HEADER}
    request = Request("GET", f"{url}/v1/api{PATH}?{QUERY_TEXT}", headers)
    carrier = PyreqwestTransport(ca=ca, pool_size=in_flight)

    async def call() -> None:
        await carrier.send(request, timeout_s=15.0)

    try:
        return await timed_async(call, count, in_flight)
    finally:
        await carrier.aclose()


def run(name: str, mode: str, url: str, ca: str, count: int) -> dict[str, float]:
    import uvloop

    in_flight = IN_FLIGHT if mode == "hundred" else 1
    if name == "ibind":
        return ibind(url, ca, count, in_flight)
    if name in ("raw", "transport"):
        bare = raw if name == "raw" else transport
        return uvloop.run(bare(url, Path(ca).read_bytes(), count, in_flight))
    from benchmarks.ibkit_client import ours

    return uvloop.run(ours(url, Path(ca).read_bytes(), count, in_flight))


if __name__ == "__main__":
    name, mode, url, ca, count = sys.argv[1:]
    result = run(name, mode, url, ca, int(count))
    print(json.dumps({**result, "rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}))
