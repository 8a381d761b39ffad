"""Pages: how soon the first one is there without a cache and how much of it travels; what watching quotes costs.

    first page   sign-in and desk, each asset fetched anew over loopback
    quotes       20 viewers, each signed in by a name of their own, of 30 contracts each (as many as one user may listen
                 to): CPU of service, simulator and readers together, in per cent of a core

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
from collections.abc import Sequence
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
        viewers = [people.person(Role.VIEWER) for _ in range(VIEWERS)]
        watched(people.service.address, browser, viewers)


def first_page(caller: Caller, path: str) -> tuple[float, int]:
    """Milliseconds and bytes of a page and everything it names, by one connection after the other."""
    began = time.perf_counter()
    answer = caller.ask("GET", path, headers={"Accept-Encoding": "gzip"})
    size = len(answer.raw)
    for name in dict.fromkeys(re.findall(r"(?:src|href)=\"(/assets/[^\"]+)\"", answer.raw.decode())):
        size += len(caller.ask("GET", name, headers={"Accept-Encoding": "gzip"}).raw)
    return (time.perf_counter() - began) * 1000, size


def watched(address: str, browser: Caller, viewers: Sequence[Caller]) -> None:
    time.sleep(2)  # of the reads that a person may make
    where = urlsplit(address)
    chain = browser.ask("GET", "/api/options/chain?symbol=SPY&strikes=15").data
    sides = [row[side] for row in chain["strikes"] for side in ("put", "call") if row[side]]
    conids = ",".join(str(each["conid"]) for each in sides[:CONIDS])
    told, ending = [0] * len(viewers), threading.Event()

    def watch(number: int) -> None:
        viewer = viewers[number]
        call = http.client.HTTPConnection(where.hostname or "", where.port, timeout=30)
        call.request(
            "GET", f"/quotes/events?conids={conids}", headers={**viewer.auth, "X-Forwarded-For": viewer.address}
        )
        answer = call.getresponse()
        assert answer.status == 200, answer.read()
        while not ending.is_set():
            told[number] += answer.readline().startswith(b"data")
        call.close()

    watchers = [threading.Thread(target=watch, args=(each,), daemon=True) for each in range(len(viewers))]
    for each in watchers:
        each.start()
    for _ in range(150):  # until the login's stream is open
        if all(told):
            break
        time.sleep(0.1)
    assert all(told), "a viewer who is told nothing is none"
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
