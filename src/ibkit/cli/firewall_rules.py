"""What a firewall has to let through for these settings, and what it has to keep out, in the words of three firewalls.

A plan and no more: it is printed, a person looks at it and runs it. Names stand in comments, because firewalls know
addresses, and IBKR's change: towards the internet the port is opened. Requirement SEC-05.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from ibkit.settings.addresses import is_loopback

if TYPE_CHECKING:
    from ibkit.settings import Settings

__all__ = ["FORMATS", "Plan", "Way", "plan_of", "written"]

FORMATS = ("ufw", "nft", "windows")


@dataclass(frozen=True, slots=True)
class Way:
    """A connection from here. address: an address or network; None where only a name is known, or it changes."""

    what: str
    port: int
    address: str | None = None
    protocol: str = "tcp"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """out: what may leave. inner: ports for this machine alone. web: the service's port, and who may reach it."""

    out: tuple[Way, ...]
    inner: tuple[Way, ...]
    web: int
    clients: tuple[str, ...]


def plan_of(settings: Settings) -> Plan:
    cloud = settings.cloud_address
    out = [Way("names (DNS)", 53, protocol="udp"), Way("names (DNS)", 53), Way("time (NTP)", 123, protocol="udp")]
    out.append(Way("IBKR: api.ibkr.com", 443))
    if not is_loopback(cloud.host) and (cloud.host, cloud.port) != ("api.ibkr.com", 443):
        out.append(Way(f"IBKR: {cloud.host}", cloud.port, _address(cloud.host)))
    gateway = settings.gateway_address
    if not is_loopback(gateway.host):
        out.append(Way(f"gateway: {gateway.host}", gateway.port, _address(gateway.host)))
    out += _servers(settings)
    clients = [each for each in settings.web.allowed_client_ips if not ip_network(each, strict=False).is_loopback]
    if settings.web.trusted_proxy is not None and not is_loopback(settings.web.trusted_proxy):
        clients.append(settings.web.trusted_proxy)
    inner = (Way("gateway", gateway.port),) if is_loopback(gateway.host) else ()
    return Plan(
        out=tuple(dict.fromkeys(out)), inner=inner, web=settings.web.port, clients=tuple(dict.fromkeys(clients))
    )


def written(plan: Plan, form: str) -> str:
    """The plan as commands of ufw, a table of nft, or PowerShell."""
    # The lines are run by a shell: a name out of the settings must stay a name.
    plan = dataclasses.replace(
        plan,
        out=tuple(dataclasses.replace(way, what=re.sub(r"[^A-Za-z0-9.:() -]", "?", way.what)) for way in plan.out),
    )
    lines = {"ufw": _ufw, "nft": _nft, "windows": _windows}[form](plan)
    return "\n".join(lines) + "\n"


def _servers(settings: Settings) -> Iterator[Way]:
    url = settings.database_url.reveal()
    if not url.startswith("sqlite"):
        parts = urlsplit(url)
        if parts.hostname and not is_loopback(parts.hostname):
            yield Way(f"database: {parts.hostname}", parts.port or 5432, _address(parts.hostname))
    alerts = settings.alerts
    if alerts.webhook_url is not None:
        # The host alone: the path of a webhook is its password.
        parts = urlsplit(alerts.webhook_url.reveal())
        if parts.hostname and not is_loopback(parts.hostname):
            port = parts.port or (443 if parts.scheme == "https" else 80)
            yield Way(f"alerts: {parts.hostname}", port, _address(parts.hostname))
    if alerts.smtp_host and not is_loopback(alerts.smtp_host):
        yield Way(f"mail: {alerts.smtp_host}", alerts.smtp_port, _address(alerts.smtp_host))


def _address(host: str) -> str | None:
    try:
        return str(ip_address(host))
    except ValueError:
        return None


def _ufw(plan: Plan) -> Iterator[str]:
    yield "# ibkit firewall plan for ufw. Look at it, add what else this machine needs (ssh!), then run it as root."
    yield "# ufw lets loopback through by itself."
    for way in plan.out:
        yield f"ufw allow out proto {way.protocol} to {way.address or 'any'} port {way.port} comment 'ibkit {way.what}'"
    for client in plan.clients:
        yield f"ufw allow in proto tcp from {client} to any port {plan.web} comment 'ibkit web'"
    yield f"ufw deny in proto tcp to any port {plan.web} comment 'ibkit web, nobody else'"
    for way in plan.inner:
        yield f"ufw deny in proto {way.protocol} to any port {way.port} comment 'ibkit {way.what}, this machine only'"
    yield "# Where nothing else may leave: ufw default deny outgoing"


def _nft(plan: Plan) -> Iterator[str]:
    yield "# ibkit firewall plan for nftables: nft -c -f FILE checks it, nft -f FILE loads it."
    yield "table inet ibkit"
    yield "delete table inet ibkit"
    yield "table inet ibkit {"
    yield "    chain input {"
    yield "        type filter hook input priority filter; policy accept;"
    yield '        iifname "lo" accept'
    yield "        ct state established,related accept"
    for client in plan.clients:
        yield f"        {_family(client)} saddr {client} tcp dport {plan.web} accept"
    closed = ", ".join(str(port) for port in (plan.web, *(way.port for way in plan.inner)))
    yield f"        tcp dport {{ {closed} }} drop"
    yield "    }"
    yield "    chain output {"
    yield "        # Where nothing else may leave: policy drop. Then add what else this machine needs."
    yield "        type filter hook output priority filter; policy accept;"
    yield '        oifname "lo" accept'
    yield "        ct state established,related accept"
    for way in plan.out:
        to = f"{_family(way.address)} daddr {way.address} " if way.address else ""
        yield f'        {to}{way.protocol} dport {way.port} accept comment "{way.what}"'
    yield "    }"
    yield "}"


def _windows(plan: Plan) -> Iterator[str]:
    yield "# ibkit firewall plan for Windows. Look at it, then run it in PowerShell as administrator."
    yield "Get-NetFirewallRule -Group 'ibkit' -ErrorAction SilentlyContinue | Remove-NetFirewallRule"
    for way in plan.out:
        yield (
            f"New-NetFirewallRule -Group 'ibkit' -DisplayName 'ibkit {way.what}' -Direction Outbound -Action Allow "
            f"-Protocol {way.protocol.upper()} -RemoteAddress {way.address or 'Any'} -RemotePort {way.port}"
        )
    # A rule that blocks wins over one that allows: what is not allowed is blocked by the profile, not by a rule.
    for client in plan.clients:
        yield (
            "New-NetFirewallRule -Group 'ibkit' -DisplayName 'ibkit web' -Direction Inbound -Action Allow "
            f"-Protocol TCP -RemoteAddress {client} -LocalPort {plan.web}"
        )
    for way in plan.inner:
        yield (
            f"New-NetFirewallRule -Group 'ibkit' -DisplayName 'ibkit {way.what}, this machine only' -Direction Inbound "
            f"-Action Block -Protocol {way.protocol.upper()} -LocalPort {way.port}"
        )
    yield "Set-NetFirewallProfile -Profile Domain,Private,Public -DefaultInboundAction Block"


def _family(address: str | None) -> str:
    assert address is not None
    return "ip6" if ip_network(address, strict=False).version == 6 else "ip"
