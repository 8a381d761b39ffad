"""Texts without what nobody else may read: known secrets in every spelling, and whatever looks like one.

For what leaves the machine (`ibkit support bundle`). It would rather take a harmless word away than leave a key in.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, quote_plus, urlsplit

from ibkit.errors import discreet
from ibkit.model import Secret

if TYPE_CHECKING:
    from ibkit.settings import Settings

__all__ = ["Mask", "mask_of"]

HIDDEN = "[hidden]"
_SHORTEST = 5
"""Shorter values stand in texts by chance; the patterns below still find them beside their name."""
_PLAIN_PATH = re.compile(r"[a-z]{1,12}(?:/[a-z]{1,12})*")
"""Words, as of a database called ibkit or a webhook at /alerts: no secret, and every bundle would hold them."""
_LARGEST_FILE = 256 * 1024
_NAMES = (
    r"secret|token|passw(?:or)?d|passphrase|pwd|api[_-]?key|bearer|signature|session(?:[_-]?id)?|cookie|credential"
    r"|private[_-]?key|encryption[_-]?(?:key|iv)|assertion|consumer[_-]?key|client[_-]?id|nonce|otp|jwt|auth"
)
_PATTERNS: tuple[tuple[re.Pattern[str], str], ...] = (
    # A key as PEM, whole or cut off, with real or written line breaks.
    (re.compile(r"-----BEGIN[^-]*-----.*?(?:-----END[^-]*-----|\Z)", re.DOTALL), HIDDEN),
    # Headers that carry proof: the rest of the line.
    (re.compile(r"(?i)\b((?:proxy-)?authorization|(?:set-)?cookie)([\"']?\s*[:=]\s*)[^\r\n]*"), rf"\1\2{HIDDEN}"),
    (re.compile(r"(?i)\b(bearer|basic|oauth)\s+[A-Za-z0-9._~+/=%-]{6,}"), rf"\1 {HIDDEN}"),
    # name=value, "name": "value", name: value
    (
        re.compile(
            rf"(?i)(?<![\w.-])(?=[\w.-]*(?:{_NAMES}))([\w.-]++)([\"']?\s*(?:=|:|%3D|%3A)\s*)(\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*'|[^\s\"',;&}}\])]+)"
        ),
        rf"\1\2{HIDDEN}",
    ),
    (re.compile(r"://[^/\s@\"']+@"), f"://{HIDDEN}@"),
    (re.compile(r"\beyJ[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*){0,4}"), HIDDEN),
    # Long runs of key material: hex, base64 in both alphabets, percent-encoded.
    (re.compile(r"\b(?:0x)?[0-9a-fA-F]{24,}\b"), HIDDEN),
    (
        re.compile(
            r"(?<![A-Za-z0-9+_%=-])(?=[A-Za-z0-9+/_%=-]*[0-9])(?=[A-Za-z0-9+/_%=-]*[A-Za-z])[A-Za-z0-9+_%=-][A-Za-z0-9+/_%=-]{30,}"
        ),
        HIDDEN,
    ),
    # People and accounts.
    (re.compile(r"\b(?:DU|DF|DI|U|F|I)\d{5,9}\b"), "[account]"),
    (re.compile(r"[A-Za-z0-9._%+-]+@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+"), "[mail]"),
)


class Mask:
    """secrets: values that must not be seen. folders: places to write as `~` or another word."""

    def __init__(self, secrets: Iterable[Secret[str]], *, names: Iterable[str] = (), home: str | None = None) -> None:
        forms = {form for secret in secrets for form in _forms(secret.reveal()) if len(form) >= _SHORTEST}
        # The longest first: a short one inside a longer one would leave the rest of that.
        self._known = [Secret(form) for form in sorted(forms, key=len, reverse=True)]
        self._named = sorted((name for name in names if len(name) >= _SHORTEST), key=len, reverse=True)
        self._home = home

    @discreet
    def text(self, text: str) -> str:
        """`text` without them."""
        if self._home and len(self._home) > 1:
            text = text.replace(self._home, "~")
        for secret in self._known:
            text = text.replace(secret.reveal(), HIDDEN)
        for name in self._named:
            text = text.replace(name, "[identity]")
        for pattern, instead in _PATTERNS:
            text = pattern.sub(instead, text)
        return text

    def shows(self, text: str) -> bool:
        """Whether a known secret is to be seen in `text`, in any spelling."""
        return any(secret.reveal() in text for secret in self._known)


@discreet
def mask_of(settings: Settings) -> Mask:
    """The mask of this installation: its hidden settings, its keys and tokens, its identities."""
    from ibkit.settings import VARIABLES

    secrets: list[Secret[str]] = []
    names: list[str] = []
    for name, found in settings.sources.items():
        entry = VARIABLES[name]
        if entry.hidden:
            secrets += _parts(found.value)
        elif entry.credential and not name.endswith(("_PATH", "_CA", "_REALM", "_SCOPE", "_URL")):
            names.append(found.value.reveal())
    secrets += [part for path in _files(settings) for part in _parts_of_file(path)]
    return Mask(secrets, names=names, home=str(Path.home()))


def _files(settings: Settings) -> Iterator[Path]:
    from ibkit.bootstrap.backups import secret_files

    for path in secret_files(settings):
        if path != settings.file and not path.name.startswith("public"):
            yield path


def _parts(value: Secret[str]) -> list[Secret[str]]:
    """The value, the items of a list, the password and the path of an address."""
    text = value.reveal()
    parts = [text, *(item.strip() for item in text.split(","))]
    if "-----BEGIN" in text:
        parts += text.replace("\\n", "\n").splitlines()
    if "://" in text:
        try:
            address = urlsplit(text)
            path = address.path.strip("/")
            parts += [address.password or "", "" if _PLAIN_PATH.fullmatch(path) else path, address.query]
        except ValueError:
            pass
    return [Secret(part) for part in dict.fromkeys(parts) if len(part) >= _SHORTEST and "-----" not in part[:6]]


def _parts_of_file(path: Path) -> list[Secret[str]]:
    try:
        text = path.read_bytes()[:_LARGEST_FILE].decode("latin-1")
    except OSError:
        return []
    return [Secret(line.strip()) for line in text.splitlines() if len(line.strip()) >= 16 and "-----" not in line]


def _forms(value: str) -> set[str]:
    """How a value may be spelled: as it is, quoted, escaped, in hex, in base64 wherever it stands inside of it."""
    raw = value.encode()
    forms = {
        value,
        quote(value, safe=""),
        quote_plus(value),
        json.dumps(value)[1:-1],
        repr(value)[1:-1],
        repr(raw)[2:-1],
    }
    forms |= {form.lower() for form in (quote(value, safe=""),)}
    forms |= {raw.hex(), raw.hex().upper(), raw.hex(":"), raw.hex(" ")}
    for before in range(3):
        # What stands before it shifts the alphabet; its first and last characters depend on the neighbours.
        whole = base64.b64encode(b"\0" * before + raw)
        inner = whole[(4 if before else 0) : len(whole) // 4 * 4 - 4] if len(raw) > 8 else whole
        for form in (whole.rstrip(b"=") if not before else inner, inner):
            text = form.decode()
            forms |= {text, text.replace("+", "-").replace("/", "_"), quote(text, safe="")}
    return {form for form in forms if form}
