"""The machine around us: Python, platform, disk, and variables of the environment that change what happens."""

from __future__ import annotations

import platform
import shutil
import sys
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from pathlib import Path

from ibkit.settings import Settings, production_problems
from ibkit.settings.production import is_production
from ibkit.upkeep.checks import Check, Mark

__all__ = ["check_surroundings"]

_LOWEST = (3, 11)
_GB = 1 << 30
_FULL, _NEARLY = 0.1 * _GB, 1.0 * _GB
_PROXIES = ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "https_proxy", "http_proxy", "all_proxy")
_TRUST = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
_OTHERS = (
    "IBEAM_",
    "IBIND_",
    "TWS_",
    "TWSUSERID",
    "TWSPASSWORD",
    "IBC_",
    "IBGW_",
    "VNC_SERVER_PASSWORD",
    "TRADING_MODE",
)
"""Variables of IBeam, ibind, IBC and containers around TWS: they say something to those programs and nothing to us."""


def check_surroundings(settings: Settings, environ: Mapping[str, str]) -> Iterator[Check]:
    yield _python()
    yield Check("ibkit", Mark.OK, version("ibkit"))
    yield _disk(settings.state_dir)
    yield from _environment(environ)
    if settings.vault.iv is not None:
        said = "ENCRYPTION_IV is set: it serves only to read data of an older product"
        yield Check("ENCRYPTION_IV", Mark.WARN, said, None, "Read that data, remove it, `ibkit vault rotate`.")
    if is_production(settings):
        there = production_problems(settings)
        for each in there:
            yield Check(", ".join(each.names), Mark.FAIL, each.message, each.code, each.remedy)
        if not there:
            yield Check("production", Mark.OK, "the settings are fit for it (APP_ENV=production)")


def _python() -> Check:
    said = f"{platform.python_version()} on {platform.system()} {platform.release()} ({platform.machine()})"
    if sys.version_info[:2] < _LOWEST:
        return Check("python", Mark.FAIL, said, "E-CONFIG", "Use Python 3.11 or newer.")
    return Check("python", Mark.OK, said)


def _disk(place: Path) -> Check:
    while not place.exists() and place != place.parent:
        place = place.parent
    try:
        free = shutil.disk_usage(place).free
    except OSError as error:
        return Check("disk", Mark.WARN, f"{place}: {error.strerror}", None, "Look at it with `df`.")
    said = f"{free / _GB:.1f} GB free at {place}"
    remedy = "Free space: without it no order is written down, so none is sent (docs/runbooks/disk-full.md)."
    if free < _FULL:
        return Check("disk", Mark.FAIL, said, "E-DB", remedy)
    return Check("disk", Mark.WARN, said, None, remedy) if free < _NEARLY else Check("disk", Mark.OK, said)


def _environment(environ: Mapping[str, str]) -> Iterator[Check]:
    # Names alone: a proxy's address may hold its password.
    proxies = [name for name in _PROXIES if environ.get(name)]
    if proxies:
        said = f"a proxy is set ({', '.join(proxies)}); ibkit connects directly and does not use it"
        yield Check("proxy", Mark.WARN, said, None, "Where only the proxy leads out, IBKR cannot be reached from here.")
    trust = [name for name in _TRUST if environ.get(name)]
    if trust:
        said = f"other authorities may be trusted than the system's ({', '.join(trust)})"
        yield Check("certificates", Mark.WARN, said, None, "Unset them, unless you put them there yourself.")
    if environ.get("SSLKEYLOGFILE"):
        said = "SSLKEYLOGFILE is set: whoever reads that file can read every connection of this process"
        yield Check(
            "SSLKEYLOGFILE", Mark.FAIL, said, "E-CONFIG", "Unset SSLKEYLOGFILE, delete the file, renew the keys."
        )
    others = sorted(name for name in environ if name.startswith(_OTHERS))
    if others:
        said = f"variables of other programs for IBKR: {', '.join(others)}"
        yield Check("other programs", Mark.WARN, said, None, "ibkit does not read them; end what still uses the login.")
    if not (proxies or trust or others or environ.get("SSLKEYLOGFILE")):
        yield Check("environment", Mark.OK, "no proxy, no other authorities, no other program's variables")
