"""Bytes to structs and back, with exact decimals; and the errors that hide inside good answers.

Numbers without a type (`Any`) become Decimal with the digits as sent, never float. An answer that cannot be read
is `UnexpectedAnswer` with a scrubbed excerpt: HTML, empty, plain text, wrong shape, over 16 MB.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

import msgspec

from ibkit.errors import Effect, UnexpectedAnswer
from ibkit.wire.endpoint import Endpoint, Resend
from ibkit.wire.http import Response

__all__ = ["BODY_LIMIT", "ERROR_WITHIN", "Said", "decode", "decode_json", "encode", "excerpt", "hidden_error", "said"]

BODY_LIMIT = 16 * 1024 * 1024
"""Bytes; a longer answer is cut off and not read. Our own bound."""

ERROR_WITHIN = 4096
"""Bytes in which an error's key is looked for: an envelope has nothing before it."""
_EXCERPT_CHARS = 200
_encoder = msgspec.json.Encoder(decimal_format="number")
_untyped = msgspec.json.Decoder(float_hook=Decimal)
_decoders: dict[int, msgspec.json.Decoder[Any]] = {}
"""By the id of the endpoint's `gives`, which lives as long as the catalogue."""

_SECRETS = re.compile(
    r"(?i)((?:oauth_[a-z_]+|access_token|token|session|secret|password|assertion|bearer|authorization)"
    r"[\"']?\s*[:=]\s*[\"']?)[^\"'&,\s<>]+"
)
_LONG = re.compile(r"[A-Za-z0-9+/=_.-]{40,}")
_ACCOUNT = re.compile(r"\b(D?[UF])\d{5,}\b")


def encode(value: Any) -> bytes:
    """Compact JSON; a Decimal leaves as a JSON number with its digits."""
    return _encoder.encode(value)


def decode_json(body: bytes) -> Any:
    """Any JSON, numbers with a point as Decimal. Raises msgspec.DecodeError."""
    return _untyped.decode(body)


def decode(endpoint: Endpoint, response: Response) -> Any:
    """What `endpoint.gives` says, of an answer already known to be no error.

    Raises UnexpectedAnswer, with effect NONE where the call can change nothing by itself.
    """
    body = response.body
    if len(body) > BODY_LIMIT:
        raise _unreadable(endpoint, response, f"longer than {BODY_LIMIT // 1024 // 1024} MB")
    key = id(endpoint.gives)
    decoder = _decoders.get(key)
    if decoder is None:
        decoder = _decoders[key] = msgspec.json.Decoder(endpoint.gives, float_hook=Decimal)
    try:
        return decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _unreadable(endpoint, response, _why(body, error)) from error


def _why(body: bytes, error: Exception) -> str:
    start = body[:64].lstrip().lower()
    if not start:
        return "empty"
    if start.startswith(b"<"):
        return "an HTML page"
    if isinstance(error, msgspec.ValidationError):
        return f"of another shape ({error})"
    return "not JSON"


def _unreadable(endpoint: Endpoint, response: Response, why: str) -> UnexpectedAnswer:
    return UnexpectedAnswer(
        f"IBKR's answer to {endpoint.method} {endpoint.path} ({response.status}) is {why}",
        # Nothing that can be read came back: to a user this is a broker that cannot be talked to.
        code="E-API-CONNECT",
        excerpt=excerpt(response.body),
        effect=Effect.UNKNOWN if endpoint.resend is Resend.NEVER else Effect.NONE,
        details={"status": response.status, "path": endpoint.path},
    )


def excerpt(body: bytes) -> str:
    """The beginning of an answer, fit to be shown: secrets, long tokens and account numbers blanked."""
    text = _scrubbed(" ".join(body[: 4 * _EXCERPT_CHARS].decode("utf-8", "replace").split()))
    return _ACCOUNT.sub(r"\1***", text)[:_EXCERPT_CHARS]


def _scrubbed(text: str) -> str:
    """Without anything that may be a token of ours coming back: error pages like to quote what they were sent."""
    return _LONG.sub("***", _SECRETS.sub(r"\1***", text))


_ERROR_KEYS = frozenset({"error", "statusCode", "action", "message", "timestamp", "path"})


class Said(msgspec.Struct, frozen=True):
    """What an error answer said: `text` in IBKR's words, "" where it said nothing readable."""

    status: int
    text: str
    json: bool


def said(response: Response) -> Said:
    """The broker's words in an answer of any envelope, scrubbed; never raises.

    Source: docs/facts/auth-and-sessions.md §0.3.
    """
    body = response.body
    if not body.strip():
        return Said(response.status, "", json=False)
    try:
        value = _untyped.decode(body[:BODY_LIMIT])
    except (msgspec.DecodeError, UnicodeDecodeError):
        start = body[:64].lstrip()
        return Said(response.status, "" if start.startswith(b"<") else excerpt(body), json=False)
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if isinstance(value, str):
        return Said(response.status, _scrubbed(value), json=True)
    if not isinstance(value, dict):
        return Said(response.status, "", json=True)
    return Said(response.status, _scrubbed(_text_of(value)), json=True)


def _text_of(value: dict[str, Any]) -> str:
    error = value.get("error")
    if isinstance(error, str) and error:
        return error
    if isinstance(error, dict):  # seen in no recording; tolerated
        return str(error.get("message") or error)
    problems = [
        f"{row.get('field')}: {row.get('description')}"
        for row in value.get("invalidArguments") or ()
        if isinstance(row, dict)
    ]
    words = [value.get("detail") or value.get("message") or value.get("title"), *problems]
    return "; ".join(word for word in words if isinstance(word, str) and word)


def hidden_error(body: bytes) -> str | None:
    """The text of an error that came with status 200, recognised by shape: an object with `error` and no data.

    >>> hidden_error(b'{"error":"no session"}'), hidden_error(b'[{"error":"x"}]')
    ('no session', 'x')
    >>> hidden_error(b'{"session":"1","hmds":{"error":"no bridge"}}'), hidden_error(b'{"error":null,"amount":{}}')
    (None, None)
    """
    if body.find(b'"error"', 0, ERROR_WITHIN) < 0:
        return None
    try:
        value = _untyped.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if not isinstance(value, dict):
        return None
    error = value.get("error")
    if isinstance(error, str) and error and value.keys() <= _ERROR_KEYS:
        return _scrubbed(error)
    return None
