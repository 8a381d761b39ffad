"""ibkit's own client for `benchmarks.clients`: signed, paced, decoded, with a token kept from an earlier run."""

from __future__ import annotations

import secrets
from dataclasses import replace
from datetime import datetime, timedelta

from benchmarks.clients import KEYS, QUERY, TOKEN, timed_async
from ibkit.client import Client
from ibkit.client.auth.grant import Grant
from ibkit.client.auth.oauth1 import OAuth1Auth
from ibkit.client.transports.pyreqwest import PyreqwestTransport
from ibkit.model import AuthMethod, OAuth1Credentials, Secret
from ibkit.wire.endpoint import Needs
from ibkit.wire.marketdata import SNAPSHOT

# The pacing of IBKR's limits is left out on both sides; the session is the one the kept token stands for.
READ = replace(SNAPSHOT, needs=Needs.OUTER_SESSION, limit=None)


class Kept:
    """A grant store that always has the same token."""

    def load(self, now: datetime) -> Grant | None:
        import base64

        token = Secret(base64.b64decode(TOKEN))
        return Grant(AuthMethod.OAUTH1A, token, now, now + timedelta(hours=24), "BENCHMARK")

    def save(self, grant: Grant) -> None:
        raise AssertionError("nothing is signed in here")

    def discard(self) -> None:
        raise AssertionError("nothing is signed in here")


async def ours(url: str, ca: bytes, count: int, in_flight: int) -> dict[str, float]:
    keys = KEYS / "simpaper1"
    credentials = OAuth1Credentials(
        consumer_key="BENCHMARK",
        access_token="9a1c0f5e7b3d2468ace0",
        access_token_secret=Secret(""),
        signature_key=Secret((keys / "private_signature.pem").read_text()),
        encryption_key=Secret((keys / "private_encryption.pem").read_text()),
        dh_params=(KEYS / "dhparam.pem").read_text(),
    )
    client = Client(
        auth=OAuth1Auth(credentials, base_url=url, random=secrets.token_bytes),
        base_url=url,
        transport=PyreqwestTransport(ca=ca, pool_size=in_flight),
        open_to=None,
        keep_alive_s=None,
        calls_per_s=0,
        grants=Kept(),
    )
    async with client as ib:

        async def call() -> None:
            await ib.request(READ, query=QUERY)

        return await timed_async(call, count, in_flight)
