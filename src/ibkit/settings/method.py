"""Which of the three sign-ins is used, and why (AUTH-01)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ibkit.model.identity import AuthMethod
from ibkit.settings.problems import Problem, problem
from ibkit.settings.sources import Found

__all__ = ["MethodChoice", "choose", "missing_for"]

_OAUTH1 = ("IB_CONSUMER_KEY", "IB_ACCESS_TOKEN", "IB_ACCESS_TOKEN_SECRET")
_OAUTH2 = ("IBKR_CLIENT_ID", "IBKR_CLIENT_KEY_ID", "IBKR_PRIVATE_KEY or IBKR_PRIVATE_KEY_PATH", "IBKR_CREDENTIAL")
_ANY = ("IB_", "IBKR_")


@dataclass(frozen=True, slots=True)
class MethodChoice:
    """reason: one sentence for people."""

    method: AuthMethod
    reason: str


def choose(
    wanted: str, found: Mapping[str, Found], *, has_file: bool, authorised: bool
) -> MethodChoice | tuple[Problem, ...]:
    """The method to use, or what keeps us from choosing.

    found:      the variables that are set, by plain name (suffix already resolved), defaults left out.
    authorised: an access token of an earlier authorisation is stored (AUTH-05).
    """
    missing2 = _missing_oauth2(found)
    missing1 = _missing_oauth1(found, authorised=authorised)
    match wanted:
        case "gateway":
            return MethodChoice(AuthMethod.GATEWAY, "IBKR_AUTH_METHOD=gateway")
        case "oauth1a":
            return _oauth1_problems(found, missing1) or MethodChoice(AuthMethod.OAUTH1A, "IBKR_AUTH_METHOD=oauth1a")
        case "oauth2":
            if missing2:
                return (_partial("oauth2", missing2),)
            return MethodChoice(AuthMethod.OAUTH2, "IBKR_AUTH_METHOD=oauth2")
    begun2, begun1 = len(missing2) < len(_OAUTH2) and not _code_flow(found), any(name in found for name in _OAUTH1)
    problems: tuple[Problem, ...] = (_partial("oauth2", missing2),) if begun2 and missing2 else ()
    if begun1:
        problems += _oauth1_problems(found, missing1)
    if problems:
        return problems
    if begun2:
        return MethodChoice(AuthMethod.OAUTH2, "auto: the four OAuth 2 credentials are set")
    if begun1:
        source = "stored by an earlier authorisation" if "IB_ACCESS_TOKEN" in found and authorised else "set"
        return MethodChoice(AuthMethod.OAUTH1A, f"auto: OAuth 1.0a consumer key and access token are {source}")
    if has_file or any(name.startswith(_ANY) for name in found):
        return MethodChoice(AuthMethod.GATEWAY, "auto: no OAuth credentials are set, so the gateway is used")
    return (
        problem(
            "E-NOT-CONFIGURED",
            "Not Configured",
            remedy=(
                "Run `ibkit init` to write a settings file, or set one of these groups:\n"
                f"oauth2: {', '.join(_OAUTH2)}\n"
                f"oauth1a: {', '.join(_OAUTH1)}, and the key files of `ibkit keys generate`\n"
                "gateway: IBKR_AUTH_METHOD=gateway, with the Client Portal Gateway running and logged in\n"
                "`ibkit verify` prints which settings file was read."
            ),
        ),
    )


def missing_for(method: AuthMethod, found: Mapping[str, Found]) -> tuple[str, ...]:
    """The variables that this method still lacks. found: those that are set, by plain name."""
    match method:
        case AuthMethod.OAUTH1A:
            return _missing_oauth1(found, authorised=False)
        case AuthMethod.OAUTH2:
            return _missing_oauth2(found)
        case AuthMethod.GATEWAY:
            return ()


def _code_flow(found: Mapping[str, Found]) -> bool:
    """Client id and secret without a key: the authorisation-code flow, not an incomplete oauth2."""
    return (
        "IBKR_CLIENT_ID" in found
        and "IBKR_CLIENT_SECRET" in found
        and not {"IBKR_PRIVATE_KEY", "IBKR_PRIVATE_KEY_PATH"} & found.keys()
    )


def _missing_oauth2(found: Mapping[str, Found]) -> tuple[str, ...]:
    return tuple(name for name in _OAUTH2 if not any(spelling in found for spelling in name.split(" or ")))


def _missing_oauth1(found: Mapping[str, Found], *, authorised: bool) -> tuple[str, ...]:
    needed = _OAUTH1[:1] if authorised else _OAUTH1
    return tuple(name for name in needed if name not in found)


def _oauth1_problems(found: Mapping[str, Found], missing: tuple[str, ...]) -> tuple[Problem, ...]:
    if not missing:
        return ()
    if "IB_CONSUMER_KEY" in found and "IB_ACCESS_TOKEN_SECRET" in missing:
        return (problem("E-SECRET-MISSING", "Access token secret not set: IB_ACCESS_TOKEN_SECRET", *missing),)
    return (_partial("oauth1a", missing),)


def _partial(method: str, missing: tuple[str, ...]) -> Problem:
    names = ", ".join(missing)
    return problem(
        "E-CONFIG-PARTIAL",
        f"IBKR settings incomplete: {names} ({method})",
        *missing,
        remedy=f"Set {names}, or remove the other {method} settings; then run `ibkit verify`.",
    )
