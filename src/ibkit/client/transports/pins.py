"""Certificates of gateways on this machine, remembered at first use. AUTH-17.

The gateway's certificate is self-signed and names nobody, so it cannot be verified; what can be noticed is a change.
(The shipped one comes with a public private key: see docs/adr/0003-pinning-transport.md for what a pin of it proves.)
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import ssl
from pathlib import Path

import anyio
from anyio.streams.tls import TLSAttribute, TLSStream

from ibkit.errors import ConfigError, StorageError, Unreachable

__all__ = ["PinFile", "fingerprint_of", "normal_fingerprint"]

CONNECT_TIMEOUT_S = 5.0


def normal_fingerprint(text: str) -> str:
    """64 hex digits in lower case. Raises ConfigError for anything else."""
    digits = text.replace(":", "").strip().lower()
    if not re.fullmatch(r"[0-9a-f]{64}", digits):
        raise ConfigError("a certificate fingerprint is 64 hex digits (SHA-256)", code="E-CONFIG")
    return digits


async def fingerprint_of(host: str, port: int) -> str:
    """SHA-256 of the certificate that is shown there now. A handshake only: nothing is sent. Raises Unreachable."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        with anyio.fail_after(CONNECT_TIMEOUT_S):
            raw = await anyio.connect_tcp(host, port)
            stream = await TLSStream.wrap(raw, server_side=False, ssl_context=context, standard_compatible=False)
            try:
                found = stream.extra(TLSAttribute.peer_certificate_binary)  # noqa: S610  # anyio's, not Django's
            finally:
                await stream.aclose()
    except TimeoutError as error:
        raise Unreachable(f"no connection to {host}:{port} in time", details={"cause": "timeout"}) from error
    except ssl.SSLError as error:
        raise Unreachable(f"no TLS at {host}:{port}: {error.reason}", details={"cause": "tls"}) from error
    except (OSError, anyio.BrokenResourceError, anyio.EndOfStream) as error:
        raise Unreachable(f"connection refused at {host}:{port}", details={"cause": "refused"}) from error
    assert found is not None, "a TLS server shows a certificate"
    return hashlib.sha256(found).hexdigest()


class PinFile:
    """Lines of `host:port fingerprint` in one file of mode 600."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def get(self, place: str) -> str | None:
        return self._read().get(place)

    def put(self, place: str, fingerprint: str) -> None:
        """Remember, or replace (`ibkit gateway trust`)."""
        pins = {**self._read(), place: normal_fingerprint(fingerprint)}
        text = "".join(f"{name} {digits}\n" for name, digits in sorted(pins.items()))
        temporary = self.path.with_name(f".{self.path.name}.{os.getpid()}")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with contextlib.suppress(FileNotFoundError):
                temporary.unlink()
            with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                file.write(text)
            temporary.replace(self.path)
        except OSError as error:
            raise StorageError(f"cannot write {self.path}: {error.strerror}") from error

    async def of_first_use(self, host: str, port: int) -> str:
        """The remembered fingerprint; at the first use the one shown now, which is then remembered."""
        place = f"{host}:{port}"
        known = self.get(place)
        if known is None:
            known = await fingerprint_of(host, port)
            self.put(place, known)
        return known

    def _read(self) -> dict[str, str]:
        try:
            lines = self.path.read_text().splitlines()
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise StorageError(f"cannot read {self.path}: {error.strerror}") from error
        return dict(line.split(" ", 1) for line in lines if " " in line)
