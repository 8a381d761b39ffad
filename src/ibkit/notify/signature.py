"""How our webhooks are signed, by the rules of Standard Webhooks, so that receivers find libraries for them.

    webhook-id         id of the message, equal in every try
    webhook-timestamp  seconds since 1970 of this try
    webhook-signature  v1,<base64 of HMAC-SHA256(secret, id + "." + timestamp + "." + body)>

The secret is the text as it is, or, where it begins with `whsec_`, the bytes that the rest says in base64.
Source: standard-webhooks specification, read 2026-11-27; docs/guide/alerts.md shows a receiver.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from datetime import datetime

from ibkit.model import Secret

__all__ = ["PREFIX", "headers_of"]

PREFIX = "whsec_"


def headers_of(message_id: str, body: bytes, secret: Secret[str], now: datetime) -> dict[str, str]:
    """The three headers of one try at `now`."""
    timestamp = str(int(now.timestamp()))
    signed = b".".join((message_id.encode(), timestamp.encode(), body))
    signature = base64.b64encode(hmac.digest(_key(secret).reveal(), signed, hashlib.sha256)).decode()
    return {"webhook-id": message_id, "webhook-timestamp": timestamp, "webhook-signature": f"v1,{signature}"}


def _key(secret: Secret[str]) -> Secret[bytes]:
    if secret.reveal().startswith(PREFIX):
        try:
            return Secret(base64.b64decode(secret.reveal().removeprefix(PREFIX), validate=True))
        except binascii.Error:
            return Secret(secret.reveal().encode())
    return Secret(secret.reveal().encode())
