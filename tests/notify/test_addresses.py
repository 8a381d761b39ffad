"""No address of a channel reaches into a network: a table of what attackers write, and of what is meant well."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from ibkit.clock import ManualClock
from ibkit.model import Secret
from ibkit.notify import DeliveryFailed, Guard, Webhook
from notify.conftest import START
from receivers import hook

pytestmark = [pytest.mark.anyio, pytest.mark.requirement("MON-07")]

PUBLIC, V6 = "93.184.216.34", "2606:2800:220:1:248:1893:25c8:1946"
NAMES = {
    "hooks.example.com": (PUBLIC,),
    "six.example.com": (V6,),
    "private.example.com": ("10.0.0.7",),
    "mixed.example.com": (PUBLIC, "192.168.1.1"),
    "metadata.example.com": ("169.254.169.254",),
    "azure.example.com": ("168.63.129.16",),
    "loop.example.com": ("127.0.0.1",),
    "loop6.example.com": ("::1",),
    "mapped.example.com": ("::ffff:10.0.0.1",),
    "nat64.example.com": ("64:ff9b::a00:1",),
    "sixtofour.example.com": ("2002:a00:1::1",),
    "ula.example.com": ("fd12:3456::1",),
    "link.example.com": ("fe80::1%eth0",),
    "shared.example.com": ("100.64.0.1",),
    "multicast.example.com": ("224.0.0.1",),
    "empty.example.com": (),
}


async def resolve(host: str, port: int) -> Sequence[str]:
    if host not in NAMES:
        raise OSError("not known")
    return NAMES[host]


REFUSED = [
    # schemes
    "http://hooks.example.com/x", "ftp://hooks.example.com/x", "file:///etc/passwd", "gopher://hooks.example.com/",
    "javascript:alert(1)", "data:text/plain,x", "//hooks.example.com/x", "hooks.example.com/x", "", "https://",
    "https:///x", "dict://127.0.0.1:11211/", "ldap://127.0.0.1/", "unix:///var/run/docker.sock",
    # this machine
    "https://127.0.0.1/", "http://127.0.0.1/", "https://localhost/", "https://LOCALHOST/", "https://localhost./",
    "https://127.0.0.2/", "https://127.255.255.254/", "https://0.0.0.0/", "https://[::1]/", "https://[::]/",
    "https://[0:0:0:0:0:0:0:1]/", "https://app.localhost/", "https://loop.example.com/", "https://loop6.example.com/",
    # spellings of the same
    "https://2130706433/", "https://0x7f000001/", "https://0x7f.0.0.1/", "https://0177.0.0.1/", "https://017700000001/",
    "https://127.1/", "https://127.0.1/", "https://0/", "https://127.0.0.1./", "https://127.0.0.01/",
    "https://①②⑦.⓪.⓪.①/", "https://127。0。0。1/", "https://%31%32%37.0.0.1/", "https://127.0.0.1%00.example.com/",
    "https://0x7f.0x0.0x0.0x1/", "https://example.com.0x7f000001/", "https://1.1/", "https://999.1.1.1/",
    # private, shared, link-local, reserved
    "https://10.0.0.1/", "https://10.255.255.255/", "https://172.16.0.1/", "https://172.31.255.1/",
    "https://192.168.0.1/", "https://100.64.0.1/", "https://169.254.1.1/", "https://192.0.0.1/", "https://192.0.2.1/",
    "https://198.18.0.1/", "https://198.51.100.1/", "https://203.0.113.1/", "https://224.0.0.1/", "https://240.0.0.1/",
    "https://255.255.255.255/", "https://[fe80::1]/", "https://[fe80::1%25eth0]/", "https://[fc00::1]/",
    "https://[fd00::1]/", "https://[ff02::1]/", "https://[2001:db8::1]/",
    # IPv4 inside IPv6
    "https://[::ffff:127.0.0.1]/", "https://[::ffff:7f00:1]/", "https://[::ffff:10.0.0.1]/", "https://[::127.0.0.1]/",
    "https://[64:ff9b::7f00:1]/", "https://[64:ff9b::10.0.0.1]/", "https://[2002:7f00:1::]/", "https://[2002:a00:1::1]/",
    "https://[64:ff9b:1::a00:1]/", "https://[::ffff:0:a00:1]/", "https://[2001:0:a00:1::f5ff:fffe]/",
    # clouds' metadata
    "https://169.254.169.254/latest/meta-data/", "http://169.254.169.254/", "https://169.254.170.2/",
    "https://168.63.129.16/", "https://100.100.100.200/", "https://[fd00:ec2::254]/", "https://192.0.0.192/",
    "https://metadata.google.internal/", "https://metadata/", "https://metadata.example.com/",
    "https://azure.example.com/", "https://2852039166/", "https://0xa9fea9fe/", "https://[::ffff:169.254.169.254]/",
    # names inside a network
    "https://intranet/", "https://router.local/", "https://db.internal/", "https://nas.lan/", "https://x.corp/",
    "https://private.example.com/", "https://mixed.example.com/", "https://mapped.example.com/",
    "https://nat64.example.com/", "https://sixtofour.example.com/", "https://ula.example.com/",
    "https://link.example.com/", "https://shared.example.com/", "https://multicast.example.com/",
    "https://unknown.example.com/", "https://empty.example.com/",
    # confusion about where the host ends
    "https://hooks.example.com@127.0.0.1/", "https://user:pw@hooks.example.com/", "https://127.0.0.1\\@hooks.example.com/",
    "https://hooks.example.com\\.evil/", "https:// hooks.example.com/",
    "https://hooks.example.com\t/", "https://hooks.example.com\n/", "https://hooks_example.com\x00/", "https://[::1/",
    "https://hooks..example.com/", "https://-hooks.example.com/", "https://hooks.example.com:99999/",
    "https://hooks.example.com:0/", "https://hooks.example.com:port/", "https://exa mple.com/", "https://hooks.example.com../",
]  # fmt: skip


def test_there_are_enough_of_them() -> None:
    assert len(set(REFUSED)) >= 80


@pytest.mark.parametrize("url", REFUSED)
async def test_an_address_that_could_reach_inside_is_refused(url: str) -> None:
    guard = Guard(development=False, resolve_name=resolve)

    async def reach() -> None:
        target = guard.check(url)
        await guard.resolve(target.host, target.port)

    with pytest.raises(DeliveryFailed) as refused:
        await reach()
    assert url == "" or url not in refused.value.reason


@pytest.mark.parametrize("url", REFUSED)
async def test_it_is_refused_in_development_too_unless_it_is_this_machine(url: str) -> None:
    guard = Guard(development=True, resolve_name=resolve)
    try:
        target = guard.check(url)
        await guard.resolve(target.host, target.port)
    except DeliveryFailed:
        return
    assert target.host in ("127.0.0.1", "localhost", "::1", "hooks.example.com")


@pytest.mark.parametrize(
    "url",
    [
        "https://hooks.example.com/x?y=z",
        "https://HOOKS.example.com/x",
        "https://hooks.example.com:8443/x",
        "https://hooks.example.com./x",
        "https://six.example.com/",
        f"https://{PUBLIC}/x",
        f"https://[{V6}]/x",
    ],
)
async def test_a_public_address_over_tls_is_allowed(url: str) -> None:
    known = {**NAMES, PUBLIC: (PUBLIC,), V6: (V6,)}

    async def lookup(host: str, port: int) -> Sequence[str]:
        return known[host]

    guard = Guard(resolve_name=lookup)
    target = guard.check(url)
    assert await guard.resolve(target.host, target.port) == known[target.host]
    assert not target.here


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:9/x", "http://localhost:9/x", "http://[::1]:9/x", "https://localhost/"]
)
def test_this_machine_is_allowed_in_development_alone(url: str) -> None:
    assert Guard(development=True).check(url).here
    with pytest.raises(DeliveryFailed):
        Guard(development=False).check(url)


async def test_localhost_that_resolves_elsewhere_is_refused() -> None:
    async def elsewhere(host: str, port: int) -> Sequence[str]:
        return ("10.0.0.1",)

    with pytest.raises(DeliveryFailed):
        await Guard(development=True, resolve_name=elsewhere).resolve("localhost", 80)


async def test_a_name_that_answers_differently_the_second_time_reaches_nobody() -> None:
    """The look-up that connects is checked itself, so that the first answer cannot vouch for the second."""
    async with hook() as web:
        answers = [(PUBLIC,), ("127.0.0.1",), ("127.0.0.1",)]

        async def rebinding(host: str, port: int) -> Sequence[str]:
            return answers.pop(0) if len(answers) > 1 else answers[0]

        webhook = Webhook(Guard(development=True, resolve_name=rebinding), ManualClock(START))
        with pytest.raises(DeliveryFailed) as refused:
            await webhook.deliver(Secret(f"https://rebind.example.com:{web.port}/"), None, {"id": "1"})
        assert "inside a network" in refused.value.reason
        assert web.requests == []
