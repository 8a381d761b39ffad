"""Watches for secrets: every value that is ever put into a `Secret`, searched for in whatever was let out."""

from __future__ import annotations

import base64
import gzip
import io
import json
import sys
import tarfile
import traceback
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

from ibkit.model import Secret

__all__ = ["PASSPHRASE", "PLANTED", "Canaries", "contents_of", "laid_bare"]

PASSPHRASE = "canary-passphrase-7c1e"
PLANTED = {
    "ENCRYPTION_KEY": "4be1c09f77d2a35e8860f1b3c95d7e24a6f0185b3d9c72e4410affe2d35c8b91",
    "JWT_SECRET": "canary-jwt-secret-0f9e8d7c6b5a4938271605f4e3d2c1b0",
    "DB_PASSWORD": "canary-db-password-5d1f",
    "SMTP_PASSWORD": "canary-smtp-password-91bc",
    "ALERT_WEBHOOK_URL": "https://hooks.example.org/canary-webhook-a81d",
    "ALERT_WEBHOOK_SECRET": "canary-webhook-signing-key-c07be41f2d",
    "IBKR_CLIENT_SECRET": "canary-client-secret-33aa",
}
"""Secrets in settings, by their names; what searches for them is `canary_watch`."""
KEYS = Path(__file__).resolve().parent / "keys"
SHORTEST = 8
"""Characters or bytes; anything shorter stands in texts by chance."""
LONGEST = 8192
"""No secret is longer: what is, is hostile input."""
LARGEST_NUMBER = 1024
"""Bytes of a secret that anybody would write as a number: more digits Python writes for nobody."""
BLOCK = 8
"""Bytes that are compared at a time, as one number."""
UNSORTED = ("settings/sources.py", "service/credentials.py", "upkeep/masking.py")
"""Where every text that comes in is wrapped: user names and addresses too, and of files what is sealed already."""
OURS = ("/src/ibkit/sim/", "/tests/")
"""Frames of the broker's side and of the test itself: they may know."""


class Canaries:
    """Secrets by name. add: more of them; found_in: the names of those that a text shows in any form."""

    def __init__(self) -> None:
        self._forms: dict[str, str] = {}
        self._blocks: dict[int, list[bytes]] = {}
        self._short: dict[bytes, str] = {}

    def add(self, name: str, value: str | bytes | int) -> None:
        for form in forms(value):
            if len(form) >= SHORTEST:
                self._forms.setdefault(form, name)
        self._blocks.clear()

    def __len__(self) -> int:
        return len(set(self._forms.values()))

    def found_in(self, text: str) -> set[str]:
        return {name for form, name in self._forms.items() if form in text}

    def found_in_bytes(self, data: bytes) -> set[str]:
        """The same for the bytes of a file, in a time that hardly grows with the number of secrets.

        Whatever is at least 15 bytes long covers one aligned block of eight; so the blocks of the data, as numbers,
        tell which few of the forms are worth a search.
        """
        if not self._blocks:
            self._index()
        even = memoryview(data)[: len(data) // BLOCK * BLOCK].cast("Q")
        near = {form for block in self._blocks.keys() & set(even) for form in self._blocks[block]}
        found = {self._forms[form.decode()] for form in near if form in data}
        return found | {name for form, name in self._short.items() if form in data}

    def _index(self) -> None:
        for form, name in self._forms.items():
            raw = form.encode()
            if len(raw) < 2 * BLOCK - 1:
                self._short[raw] = name
                continue
            for start in range(BLOCK):
                block = int.from_bytes(raw[start : start + BLOCK], sys.byteorder)
                self._blocks.setdefault(block, []).append(raw)

    @contextmanager
    def learning(self) -> Iterator[None]:
        """While this is open, each value that is wrapped in a `Secret` becomes a canary (but `UNSORTED`)."""
        wrapped = Secret.__init__

        def init(secret: Any, value: Any) -> None:
            wrapped(secret, value)
            if not _made_by().endswith(UNSORTED):
                self.add(f"secret {type(value).__name__}, {len(value)} long", value)

        Secret.__init__ = init  # type: ignore[method-assign]
        try:
            yield
        finally:
            Secret.__init__ = wrapped  # type: ignore[method-assign]


def _made_by() -> str:
    """The file in which a secret is being made; other watchers may stand between."""
    frame = sys._getframe(2)
    while frame.f_code.co_filename == __file__ and frame.f_back is not None:
        frame = frame.f_back
    return frame.f_code.co_filename


def forms(value: str | bytes | int) -> set[str]:
    """How the value may look in a text: as it is, backwards, quoted, escaped as Python or JSON does, hex, base64 of
    both alphabets, also from the middle of something longer, a number. A PEM counts by line."""
    if isinstance(value, int):
        return {str(value), f"{value:x}", f"{value:X}"}
    if isinstance(value, str) and "-----BEGIN" in value:
        lines = [line for line in value.replace("\\n", "\n").splitlines() if len(line) >= 40 and "-----" not in line]
        return {form for line in lines for form in (line, line[::-1], quote(line, safe=""), line.encode().hex())}
    raw = value.encode(errors="replace") if isinstance(value, str) else value
    if not SHORTEST <= len(raw) <= LONGEST:
        return set()
    found = {raw.hex(), raw.hex().upper(), repr(raw)[2:-1]}
    if len(raw) <= LARGEST_NUMBER:
        found.add(str(int.from_bytes(raw, "big")))
    for encoded in (base64.b64encode(raw), base64.urlsafe_b64encode(raw)):
        found |= {encoded.decode(), encoded.decode().rstrip("=")}
    for before in (1, 2):  # as in the credentials of Basic: what does not depend on the neighbours
        within = base64.b64encode(b"\0" * before + raw).decode().rstrip("=")[before + 1 : -1]
        found |= {within, within.translate(str.maketrans("+/", "-_"))}
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        return found
    return found | {
        text,
        text[::-1],
        repr(text)[1:-1],
        json.dumps(text)[1:-1],
        json.dumps(text, ensure_ascii=False)[1:-1],
        quote(text, safe=""),
        quote_plus(text),
    }


def parts_of(name: str, data: bytes) -> Iterator[tuple[str, bytes]]:
    """A file as it is, and what is in it where it is packed: bundles, backups, logs put aside."""
    yield name, data
    try:
        if zipfile.is_zipfile(io.BytesIO(data)):
            with zipfile.ZipFile(io.BytesIO(data)) as packed:
                for each in packed.namelist():
                    yield from parts_of(f"{name}!{each}", packed.read(each))
        elif data[:2] == b"\x1f\x8b":
            yield from parts_of(f"{name}!", gzip.decompress(data))
        elif data[257:262] == b"ustar":
            with tarfile.open(fileobj=io.BytesIO(data)) as packed:
                for member in packed:
                    if member.isfile() and (file := packed.extractfile(member)) is not None:
                        yield from parts_of(f"{name}!{member.name}", file.read())
    except (OSError, EOFError, zipfile.BadZipFile, tarfile.TarError):
        return  # packed badly on purpose: what can be read of it was looked at


def contents_of(folder: Path, besides: Iterable[str] = ()) -> Iterator[tuple[str, bytes]]:
    """Every file below `folder`, with what is packed in it; `besides`: names that are left out."""
    left_out = set(besides)
    for path in sorted(folder.rglob("*")):
        if path.name in left_out or path.is_symlink() or not path.is_file():
            continue
        try:
            data = path.read_bytes()
        except OSError:
            continue  # gone meanwhile, or closed to everybody on purpose
        yield from parts_of(str(path.relative_to(folder)), data)


def laid_bare(error: BaseException) -> str:
    """All that the most talkative reporter would print of an error: message, arguments, attributes, each local of
    each frame, and the same of every cause and context, suppressed ones too."""
    parts: list[str] = []
    waiting: list[BaseException | None] = [error]
    seen: set[int] = set()
    while waiting:
        each = waiting.pop()
        if each is None or id(each) in seen:
            continue
        seen.add(id(each))
        waiting += [each.__cause__, each.__context__]
        if isinstance(each, BaseExceptionGroup):
            waiting += each.exceptions
        parts += [str(each), repr(each), repr(each.args), repr(getattr(each, "__dict__", {}))]
        parts += [repr(getattr(each, name)) for name in ("object", "doc", "pem") if hasattr(each, name)]
        stack = traceback.TracebackException(type(each), each, each.__traceback__, capture_locals=True).stack
        for frame in stack:
            if not any(place in frame.filename for place in OURS):
                parts.append(f"{frame.filename}:{frame.lineno} {frame.name} {frame.line} {frame.locals}")
    return "\n".join(parts)
