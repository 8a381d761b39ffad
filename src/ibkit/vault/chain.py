"""A chain of audit entries that shows what was changed, and heads that show what was cut off. No I/O.

An entry has eight fields in this order:

    number   1, 2, 3 … without a gap              action   e.g. "limits.set"
    at       2026-11-20T15:30:00.000000+00:00     object   what it was done to
    actor    a user's id, or cli:<login name>     result   ok, refused, failed, waiting, unknown
    address  where from, "local" for this machine details  a JSON object of texts, sorted by name

    canonical bytes   the fields as a JSON array in UTF-8, without spaces, only `"`, `\\` and control characters escaped
    hash              SHA-256(hash of the entry before, 32 bytes + canonical bytes); before entry 1 stand 32 zero bytes

A head says how far the chain had come and is signed with Ed25519, so that whoever keeps one notices a tail that was cut
off or written anew. An anchor says the same of the last entry that retention has taken away: the chain goes on from it.

    signed bytes      the canonical bytes of ["ibkit audit head 1", number, hash, at, public_key]
                      (an anchor: "ibkit audit anchor 1"); hash and public_key in lower-case hex

`ibkit audit export` writes one JSON object a line: `{"anchor": {number, hash, at, public_key, signature}}` where
entries were taken away, then each entry as its fields with `previous` and `hash` in hex, then `{"head": {…}}`. Python's

    json.dumps([…], separators=(",", ":"), ensure_ascii=False, sort_keys=True).encode()

gives the canonical bytes; a verifier in twenty lines stands in docs/guide/audit.md, and is one of the tests.
"""

from __future__ import annotations

import dataclasses
import enum
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from ibkit.errors import ConfigError, discreet
from ibkit.model import Secret
from ibkit.vault.act import Fields

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

__all__ = [
    "START",
    "Break",
    "BreakKind",
    "Entry",
    "Link",
    "LinkKind",
    "Row",
    "SignedLink",
    "Signer",
    "append_to",
    "canonical",
    "follow",
    "read_head",
]

Row = tuple[int, str, str, str, str, str, str, str, bytes, bytes]
"""number, the seven texts of `Fields`, previous hash, hash: an entry as a database keeps it."""

_encode = msgspec.json.Encoder().encode
_SECRET_BYTES = 32


@dataclass(frozen=True, slots=True)
class Link:
    """The end of a chain so far: what the next entry follows."""

    number: int
    digest: bytes


START = Link(0, bytes(32))


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One entry to be read. previous, hash: lower-case hex."""

    number: int
    at: str
    actor: str
    address: str
    action: str
    object: str
    result: str
    details: dict[str, str]
    previous: str
    hash: str

    @classmethod
    def of(cls, row: Row) -> Entry:
        """From a row. What was put there as details without being any is shown as it stands."""
        number, at, actor, address, action, object_, result, details, previous, digest = row
        try:
            read = msgspec.json.decode(details, type=dict[str, str])
        except msgspec.MsgspecError:
            read = {"unreadable": details}
        return cls(
            number=number,
            at=at,
            actor=actor,
            address=address,
            action=action,
            object=object_,
            result=result,
            details=read,
            previous=previous.hex(),
            hash=digest.hex(),
        )


def canonical(number: int, fields: Fields) -> bytes:
    """The bytes of an entry that are hashed."""
    at, actor, address, action, object_, result, details = fields
    return _encode((number, at, actor, address, action, object_, result, msgspec.Raw(details)))


def append_to(link: Link, fields: Fields) -> Row:
    """The entry that follows `link`."""
    number = link.number + 1
    return (number, *fields, link.digest, hashlib.sha256(link.digest + canonical(number, fields)).digest())


class BreakKind(enum.StrEnum):
    MISSING = "missing"
    CHANGED = "changed"
    MOVED = "out of its order"
    NOT_SIGNED = "not the one that was signed"
    FORGED = "anchored by a signature that does not hold"


@dataclass(frozen=True, slots=True)
class Break:
    """The first entry that is not what it was."""

    number: int
    kind: BreakKind
    why: str = ""

    def __str__(self) -> str:
        return f"entry {self.number} is {self.kind.value}{f' ({self.why})' if self.why else ''}"


def follow(rows: Iterable[Row], link: Link) -> Link | Break:
    """The link after `rows`, which are to come right after `link` in their order; or the first that does not fit."""
    # A million of them in seconds: one loop, nothing looked up twice, no objects for entries.
    sha256, encode, raw = hashlib.sha256, _encode, msgspec.Raw
    number, digest = link.number, link.digest
    for row in rows:
        found, at, actor, address, action, object_, result, details, previous, own = row
        fields = (found, at, actor, address, action, object_, result, raw(details))
        if found != number + 1 or previous != digest or sha256(digest + encode(fields)).digest() != own:
            return _broken(row, Link(number, digest), begins=number == link.number)
        number, digest = found, own
    return Link(number, digest)


def _broken(row: Row, link: Link, *, begins: bool) -> Break:
    """Which entry is to blame where `row` does not follow `link`. begins: `link` itself is known to be right."""
    number, previous, own = row[0], row[8], row[9]
    if number > link.number + 1:
        return Break(link.number + 1, BreakKind.MISSING)
    if number <= link.number:
        return Break(number, BreakKind.MOVED)
    if hashlib.sha256(previous + canonical(number, row[1:8])).digest() != own:
        return Break(number, BreakKind.CHANGED if previous == link.digest else BreakKind.MOVED)
    # It is whole and follows another one: then the one before it is not what it was, and was hashed anew.
    return Break(number if begins else link.number, BreakKind.MOVED if begins else BreakKind.CHANGED)


class LinkKind(enum.StrEnum):
    HEAD = "head"
    ANCHOR = "anchor"


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedLink:
    """A link with a signature. hash, public_key, signature: lower-case hex. at: when it was signed."""

    kind: LinkKind
    number: int
    hash: str
    at: str
    public_key: str
    signature: str

    @property
    def link(self) -> Link:
        return Link(self.number, bytes.fromhex(self.hash))

    @property
    def signed_bytes(self) -> bytes:
        return _encode([f"ibkit audit {self.kind.value} 1", self.number, self.hash, self.at, self.public_key])

    def holds(self) -> bool:
        """Whether the key that it names has signed it; whose key that is, is another question."""
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

        try:
            key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(self.public_key))
            key.verify(bytes.fromhex(self.signature), self.signed_bytes)
        except (InvalidSignature, ValueError):
            return False
        return True

    @property
    def document(self) -> dict[str, Any]:
        """As a line of an export has it."""
        fields = ("number", "hash", "at", "public_key", "signature")
        return {self.kind.value: {name: getattr(self, name) for name in fields}}


class _Signed(msgspec.Struct, forbid_unknown_fields=True):
    number: int
    hash: str
    at: str
    public_key: str
    signature: str


class _Line(msgspec.Struct):
    head: _Signed


def read_head(text: str | bytes) -> SignedLink:
    """The head in `text`: one line, or a whole export, whose last line it is. ConfigError (E-VALIDATION)."""
    raw = text.encode() if isinstance(text, str) else text
    lines = raw.strip().splitlines()
    try:
        read = msgspec.json.decode(lines[-1] if lines else b"", type=_Line).head
        head = SignedLink(
            kind=LinkKind.HEAD,
            number=read.number,
            hash=read.hash,
            at=read.at,
            public_key=read.public_key,
            signature=read.signature,
        )
        if len(head.link.digest) != hashlib.sha256().digest_size or head.number < 0:
            raise ValueError("hash")
    except (msgspec.MsgspecError, ValueError) as error:
        raise ConfigError(
            "The head of the audit log cannot be read: no line with number, hash, at, public_key and signature",
            code="E-VALIDATION",
            remedy="Give the file that `ibkit audit export` wrote, whole, or its last line.",
        ) from error
    return head


class Signer:
    """Signs heads and anchors. secret: the 32 bytes of an Ed25519 key."""

    __slots__ = ("_key", "public_key")

    @discreet
    def __init__(self, secret: Secret[bytes]) -> None:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        assert len(secret.reveal()) == _SECRET_BYTES, "an Ed25519 key has 32 bytes"
        self._key: Ed25519PrivateKey = Ed25519PrivateKey.from_private_bytes(secret.reveal())
        self.public_key = self._key.public_key().public_bytes_raw().hex()

    def sign(self, link: Link, *, kind: LinkKind, at: str) -> SignedLink:
        """`link`, signed. at: the instant as an entry writes it."""
        hash_ = link.digest.hex()
        unsigned = SignedLink(
            kind=kind, number=link.number, hash=hash_, at=at, public_key=self.public_key, signature=""
        )
        return dataclasses.replace(unsigned, signature=self._key.sign(unsigned.signed_bytes).hex())

    def mark(self, secret: Secret[str]) -> str:
        """By which one tells whether it is the same again, and who has no key nothing: eight hex digits."""
        signed = self._key.sign(b"ibkit mark\0" + secret.reveal().encode())  # Ed25519 signs the same text the same way
        return hashlib.sha256(signed).hexdigest()[:8]

    def __repr__(self) -> str:
        return f"Signer({self.public_key[:16]})"
