"""`ibkit gateway`: what concerns the Client Portal Gateway on this machine."""

from __future__ import annotations

import cyclopts

from ibkit.cli import context, output
from ibkit.cli.auditing import audited
from ibkit.cli.flags import Json, Yes
from ibkit.cli.running import go
from ibkit.errors import ConfigError

__all__ = ["app"]

app = cyclopts.App(name="gateway", help="Trust the gateway's certificate.")


@app.command
def trust(*, yes: Yes = False, json: Json = False) -> None:
    """Remember the certificate that the gateway shows now, in place of the one remembered before.

    The first connection to a gateway on this machine remembers its certificate by itself; later ones refuse another.
    Use this after you have replaced the certificate.
    """
    from ibkit.bootstrap.tls import pins_of
    from ibkit.client.transports import fingerprint_of

    settings = context.load_settings({"IBKR_AUTH_METHOD": "gateway"})
    address = settings.gateway_address
    if settings.gateway.ca is not None:
        raise ConfigError(
            "Conflicting settings: IBKR_GATEWAY_CA is set, so nothing is pinned",
            code="E-CONFIG-CONFLICT",
            remedy="Change IBKR_GATEWAY_CA, or remove it and repeat.",
        )
    place = f"{address.host}:{address.port}"
    pins = pins_of(settings)
    before = pins.get(place)
    shown = go(lambda: fingerprint_of(address.host, address.port))
    if before is not None and before != shown and not yes and not _agreed(place, before, shown):
        raise ConfigError("Nothing was changed", code="E-VALIDATION", remedy="Repeat with --yes to trust it.")
    with audited("gateway.trust", place, fingerprint=shown[:16], before=(before or "")[:16]):
        pins.put(place, shown)
    if json:
        output.emit({"gateway": place, "fingerprint": shown, "before": before})
    else:
        output.say(f"{place}: trusting the certificate with SHA-256 {shown}")


def _agreed(place: str, before: str, shown: str) -> bool:
    import sys

    if not sys.stdin.isatty():
        return False
    output.say(f"{place} shows another certificate than before.\n  before: {before}\n  now:    {shown}")
    return input("Trust it from now on? Only if you replaced it yourself. [y/N] ").strip().lower() in ("y", "yes")
