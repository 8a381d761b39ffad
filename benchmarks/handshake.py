"""A live session token handshake against its floor: two modular powers, one RSA decryption, one RSA signature.

Both run in this process, in turn, on the same keys; the server's half is worked out beforehand.
"""

from __future__ import annotations

import base64
import secrets
import statistics
import time
from collections.abc import Callable
from datetime import UTC, datetime

import msgspec
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding

from benchmarks.clients import KEYS
from ibkit.client.auth.oauth1 import OAuth1Auth, load_material
from ibkit.model import OAuth1Credentials, Secret
from ibkit.wire import dh
from ibkit.wire.http import Response
from ibkit.wire.keys import load_public_key
from ibkit.wire.oauth1 import live_session_token, live_session_token_proof

CONSUMER = "BENCHMARK"
PLAIN = bytes(range(32))
ROUNDS = 40


def credentials() -> OAuth1Credentials:
    keys = KEYS / "simpaper1"
    public = load_public_key((keys / "public_encryption.pem").read_text(), what="public encryption key")
    return OAuth1Credentials(
        consumer_key=CONSUMER,
        access_token="9a1c0f5e7b3d2468ace0",
        access_token_secret=Secret(base64.b64encode(public.encrypt(PLAIN, padding.PKCS1v15())).decode()),
        signature_key=Secret((keys / "private_signature.pem").read_text()),
        encryption_key=Secret((keys / "private_encryption.pem").read_text()),
        dh_params=(KEYS / "dhparam.pem").read_text(),
    )


def answer_to(challenge: int, params: dh.DhParams, now: datetime) -> Response:
    """The server's half."""
    exponent = dh.private_exponent(secrets.token_bytes)
    token = live_session_token(dh.power(challenge, exponent, params.prime), PLAIN)
    body = {
        "diffie_hellman_response": f"{dh.power(2, exponent, params.prime):x}",
        "live_session_token_signature": live_session_token_proof(token, CONSUMER),
        "live_session_token_expiration": int((now.timestamp() + 86400) * 1000),
    }
    return Response(200, {}, msgspec.json.encode(body))


def measure() -> dict[str, float]:
    """Seconds of CPU for one handshake, for the floor, and their ratio (medians of pairs)."""
    given = credentials()
    material = load_material(given)
    prime = material.dh_params.prime
    sealed = base64.b64decode(given.access_token_secret.reveal()) if given.access_token_secret else b""
    from ibkit.wire.keys import load_private_key

    opening = load_private_key(given.encryption_key, what="encryption key")
    response = dh.power(2, dh.private_exponent(secrets.token_bytes), prime)

    def floor() -> None:
        exponent = dh.private_exponent(secrets.token_bytes)
        dh.power(2, exponent, prime)
        dh.power(response, exponent, prime)
        opening.decrypt(sealed, padding.PKCS1v15())
        material.signature_key.sign(b"x" * 900, padding.PKCS1v15(), hashes.SHA256())

    def handshake() -> float:
        now = datetime.now(UTC)
        auth = OAuth1Auth(given, base_url="https://api.ibkr.com", random=secrets.token_bytes)
        auth._material = material  # keys are loaded once per client, not per handshake
        began = time.process_time()
        steps = auth.handshake(lambda: now)
        request = next(steps)
        half = time.process_time() - began
        challenge = int(request.headers["Authorization"].split('diffie_hellman_challenge="')[1].split('"')[0], 16)
        reply = answer_to(challenge, material.dh_params, now)
        began = time.process_time()
        try:
            steps.send(reply)
        except StopIteration:
            return half + time.process_time() - began
        raise AssertionError("the handshake asked for more")

    def spent(work: Callable[[], None]) -> float:
        began = time.process_time()
        work()
        return time.process_time() - began

    pairs = [(handshake(), spent(floor)) for _ in range(ROUNDS)]
    ours, least = (statistics.median(column) for column in zip(*pairs, strict=True))
    return {"handshake": ours, "floor": least, "ratio": statistics.median(a / b for a, b in pairs)}
