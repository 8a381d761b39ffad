"""Mail, chat and push through apprise: one address says the service and its token, so it is a secret as a whole.

Only services whose host is fixed by the service, or whose host is allowed by the guard; nothing that acts on this
machine (desktop notices, syslog), nothing with its certificate check switched off.
"""

from __future__ import annotations

import logging
import re
import threading
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final
from urllib.parse import parse_qsl, unquote

import anyio
import anyio.to_thread

from ibkit.model import Secret
from ibkit.notify.addresses import Guard
from ibkit.notify.failed import DeliveryFailed
from ibkit.trading.alerting.document import subject_of, text_of

__all__ = ["TIMEOUT_S", "Services", "shown"]

TIMEOUT_S: Final = 30.0
_AT_A_TIME: Final = 2
_SHORT: Final = 4
_LOCAL: Final = frozenset({"syslog", "rsyslog", "dbus", "qt", "glib", "kde", "gnome", "macosx", "windows", "growl"})
_FILES: Final = ("template", "keyfile", "subfile", "pgp", "attach", "file", "image", "icon", "avatar", "logo")
_KINDS: Final = {"info": "info", "warning": "warning", "critical": "failure"}


class Services:
    """guard: for services whose host the user names. trusted: addresses of the settings, whose hosts are taken."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        self._threads: anyio.CapacityLimiter | None = None

    async def deliver(self, url: Secret[str], document: Mapping[str, Any], *, trusted: bool) -> str:
        """What was sent by which service, for the record. DeliveryFailed, without the address."""
        if self._threads is None:
            # Of their own: threads of the order path are not shared with a mail server that hangs.
            self._threads = anyio.CapacityLimiter(_AT_A_TIME)
        plugin = plugin_of(url)
        if not trusted:
            self.check(url, trusted=False)
            for host in hosts_of(plugin):
                await self._guard.resolve(host, 443)
        try:
            with anyio.fail_after(TIMEOUT_S):
                why = await anyio.to_thread.run_sync(
                    _send, plugin, dict(document), url, abandon_on_cancel=True, limiter=self._threads
                )
        except TimeoutError:
            raise DeliveryFailed(f"{plugin.service_name} did not take it within {TIMEOUT_S:.0f} s") from None
        if why is not None:
            raise DeliveryFailed(f"{plugin.service_name} did not take it: {why}")
        return f"sent by {plugin.service_name}"

    def check(self, url: Secret[str], *, trusted: bool) -> str:
        """How the channel is shown; DeliveryFailed (final) where the address cannot be used."""
        plugin = plugin_of(url)
        if not trusted:
            if names := files_named(url):
                why = f"what it says of {', '.join(names)} would be read from this machine or fetched"
                raise DeliveryFailed(f"the channel's address is refused: {why}", final=True)
            for host in hosts_of(plugin):
                self._guard.check_host(host)
            if plugin.protocol and not plugin.secure_protocol:
                raise DeliveryFailed("the channel's address is refused: the service sends without TLS", final=True)
        return shown(plugin)


def plugin_of(url: Secret[str]) -> Any:
    """apprise's object for the address. DeliveryFailed (final)."""
    with warnings.catch_warnings():
        # It loads its mail plugin with a module that Python 3.11 calls deprecated; nobody here can change that.
        warnings.simplefilter("ignore", DeprecationWarning)
        import apprise

        _quiet()
        plugin = apprise.Apprise.instantiate(url.reveal(), suppress_exceptions=True)
    if plugin is None:
        raise DeliveryFailed("the channel's address is refused: no service knows its form", final=True)
    words = _schemes(plugin)
    if words & _LOCAL:
        raise DeliveryFailed("the channel's address is refused: it acts on this machine", final=True)
    if not plugin.verify_certificate:
        raise DeliveryFailed("the channel's address is refused: it does not check certificates", final=True)
    if hasattr(plugin, "redirects"):
        plugin.redirects = False
    return plugin


def files_named(url: Secret[str]) -> tuple[str, ...]:
    """Arguments of the address by which apprise would read a file, or ask another address: templates, keys, images.

    Its services take them as attachments from anywhere, past whatever its host is judged by. It reads arguments after
    the first question mark, also behind a `#`.
    """
    found = []
    for name, value in parse_qsl(url.reveal().partition("?")[2], keep_blank_values=True):
        plain = name.lower().lstrip("+-:")
        elsewhere = "://" in value or value.lstrip().startswith(("/", "\\", ".", "~")) or ":\\" in value
        if elsewhere or any(word in plain for word in _FILES):
            found.append(plain[:20])
    return tuple(found)


def hosts_of(plugin: Any) -> tuple[str, ...]:
    """The hosts that the address itself names; none where the service's host is fixed."""
    if not any("{host}" in template or "{hostname}" in template for template in plugin.templates):
        return ()
    named = (getattr(plugin, "host", None), getattr(plugin, "smtp_host", None))
    return tuple(dict.fromkeys(str(host) for host in named if host))


def shown(plugin: Any) -> str:
    """`Slack`, `Email at mail.example.com`: nothing of it is a secret."""
    hosts = hosts_of(plugin)
    return f"{plugin.service_name} at {hosts[-1]}" if hosts else str(plugin.service_name)


def _schemes(plugin: Any) -> set[str]:
    found: set[str] = set()
    for each in (plugin.protocol, plugin.secure_protocol):
        found |= {each} if isinstance(each, str) else set(each or ())
    return found


def _send(plugin: Any, document: dict[str, Any], url: Secret[str]) -> str | None:
    """Why it failed; None where it was taken. In a thread of its own."""
    with _complaints() as said:
        try:
            taken = plugin.notify(
                body=text_of(document), title=subject_of(document), notify_type=_KINDS[document["severity"]]
            )
        except Exception as error:  # noqa: BLE001  - a plugin's own fault must not end the dispatcher
            return type(error).__name__
    if taken:
        return None
    clean = [line for line in said if not _gives_away(line, url)]
    return clean[-1] if clean else "it refused, or was not reached"


@contextmanager
def _complaints() -> Iterator[list[str]]:
    """What apprise logs in this thread meanwhile; it goes nowhere else."""
    logger, said, here = logging.getLogger("apprise"), [], threading.get_ident()

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if threading.get_ident() == here:
                said.append(" ".join(record.getMessage().split())[:200])

    handler = Keep(logging.INFO)
    logger.addHandler(handler)
    try:
        yield said
    finally:
        logger.removeHandler(handler)


def _gives_away(line: str, url: Secret[str]) -> bool:
    """Whether a piece of the address stands in the line; hosts and short words are pieces, too: better too much."""
    pieces = (unquote(piece) for piece in re.split(r"[^A-Za-z0-9%._~-]+", url.reveal()))
    return any(len(piece) > _SHORT and piece in line for piece in pieces)


def _quiet() -> None:
    """apprise logs what it sends, and addresses with it: nothing of that is for our log."""
    logger = logging.getLogger("apprise")
    logger.propagate = False
    logger.setLevel(logging.INFO)
    if not any(isinstance(each, logging.NullHandler) for each in logger.handlers):
        logger.addHandler(logging.NullHandler())
