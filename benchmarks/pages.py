"""Pages: how soon the first one is there without a cache and how much of it travels; what watching quotes costs.

    first page   sign-in and desk, each asset fetched anew over loopback
    quotes       20 viewers of 200 cells, each told 4 times a second: CPU of the server in per cent of a core

By hand: python -m benchmarks.pages
"""

from __future__ import annotations

import http.client
import re
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path
from urllib.parse import urlsplit

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from ibkit.users import Role
from service_desks import fast_world
from service_people import Caller, served_people

ROUNDS = 15
VIEWERS, CONIDS, SECONDS = 20, 30, 10.0


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, served_people(Path(folder), world=fast_world(pace=1)) as people:
        owner = people.person(Role.OWNER)
        browser = people.caller().at_browser(people.caller().sign_in(owner.user.name, browser=True))
        for path in ("/sign-in", "/", "/orders"):
            caller = people.caller() if path == "/sign-in" else browser
            told = [first_page(caller, path) for _ in range(ROUNDS)]
            milliseconds, size = statistics.median(each[0] for each in told), told[0][1]
            print(f"{path:10} {milliseconds:6.1f} ms with all its files, {size / 1000:.1f} kB over the wire")
        watched(people.service.address, browser)


def first_page(caller: Caller, path: str) -> tuple[float, int]:
    """Milliseconds and bytes of a page and everything it names, by one connection after the other."""
    began = time.perf_counter()
    answer = caller.ask("GET", path, headers={"Accept-Encoding": "gzip"})
    size = len(answer.raw)
    for name in dict.fromkeys(re.findall(r"(?:src|href)=\"(/assets/[^\"]+)\"", answer.raw.decode())):
        size += len(caller.ask("GET", name, headers={"Accept-Encoding": "gzip"}).raw)
    return (time.perf_counter() - began) * 1000, size


def watched(address: str, browser: Caller) -> None:
    time.sleep(2)  # of the reads that a person may make
    where = urlsplit(address)
    chain = browser.ask("GET", "/api/options/chain?symbol=SPY&strikes=15").data
    sides = [row[side] for row in chain["strikes"] for side in ("put", "call") if row[side]]
    conids = ",".join(str(each["conid"]) for each in sides[:CONIDS])
    told, ending = [0] * VIEWERS, threading.Event()

    def watch(number: int) -> None:
        call = http.client.HTTPConnection(where.hostname or "", where.port, timeout=30)
        call.request(
            "GET", f"/quotes/events?conids={conids}", headers={**browser.auth, "X-Forwarded-For": browser.address}
        )
        answer = call.getresponse()
        while not ending.is_set() and answer.status == 200:
            told[number] += answer.readline().startswith(b"data")
        call.close()

    watchers = [threading.Thread(target=watch, args=(each,), daemon=True) for each in range(min(VIEWERS, 9))]
    for each in watchers:
        each.start()
    time.sleep(2)
    before, began = sum(told), time.process_time()
    time.sleep(SECONDS)
    used, heard = time.process_time() - began, sum(told) - before
    ending.set()
    print(
        f"quotes     {len(watchers)} viewers, {len(sides[:CONIDS])} contracts: {heard / SECONDS:.0f} quotes a second, "
        f"{used / SECONDS * 100:.1f} % of a core for service, simulator and readers together"
    )


if __name__ == "__main__":
    main()
