"""What the routes of getting started take and give, and how they are described. Requirements UI-05, UI-06."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from ibkit.service.connection_status import LastError
from ibkit.service.operation import Operation

__all__ = [
    "ONBOARDING",
    "DemoForm",
    "FoundGateway",
    "FoundKeys",
    "KeyJobInfo",
    "KeysAnswer",
    "KeysForm",
    "KeysInfo",
    "OnboardingAnswer",
    "OnboardingInfo",
    "SettingsFile",
    "TokenForm",
]

_Kind = Literal["oauth1a", "oauth2"]
_Text = Annotated[str, Meta(min_length=1, max_length=4096)]


class SettingsFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """used: null where none was found. looked_in: in this order, at the start of the service."""

    used: str | None
    looked_in: list[str]


class FoundGateway(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """listening: whether something answers at its port; null where it is not on this machine, and was not tried."""

    address: str
    listening: bool | None


class OnboardingInfo(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """state: of the connection. missing: settings by name, of what was begun; missing_for: of each method.

    settings_file: for owners and administrators, else null. demo: a simulated market stands in for IBKR;
    demo_possible: whether it may.
    """

    state: Literal["not_configured", "configured", "connected"]
    method: str | None
    environment: str
    region: str
    multi_user: bool
    read_only: bool
    missing: list[str]
    missing_for: dict[str, list[str]]
    settings_file: SettingsFile | None
    gateway: FoundGateway
    keys_found: list[_Kind]
    demo: bool
    demo_possible: bool


class OnboardingAnswer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    data: OnboardingInfo


class FoundKeys(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """present: names of files that are there. to_upload: those that IBKR's portal takes, all public."""

    kind: _Kind
    directory: str | None
    present: list[str]
    to_upload: list[str]
    made_at: datetime | None


class KeyJobInfo(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """tried: numbers, until one is a prime; `on_average` are needed. replaced: where earlier files are now."""

    kind: _Kind
    state: Literal["running", "done", "failed"]
    stage: Literal["keys", "prime"]
    tried: int
    on_average: int
    began_at: datetime
    ended_at: datetime | None
    replaced: str | None
    error: LastError | None


class KeysInfo(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """place: files of this installation, or the vault (ENABLE_MULTI_USER). job: the last one since the start."""

    place: Literal["files", "vault"]
    keys: list[FoundKeys]
    job: KeyJobInfo | None


class KeysAnswer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    data: KeysInfo


class KeysForm(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """replace: put keys aside that are there already. consumer_key, environment: for the vault alone."""

    kind: _Kind
    replace: bool = False
    consumer_key: Annotated[str, Meta(pattern="^[A-Za-z0-9]{8,25}$")] | None = None
    environment: Literal["paper", "live"] = "paper"


class TokenForm(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the portal showed after the upload; the keys in the vault stay."""

    access_token: _Text
    access_token_secret: _Text
    account_id: Annotated[str, Meta(max_length=20)] = ""

    def __repr__(self) -> str:
        return "TokenForm()"


class DemoForm(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    on: bool


_NAME: Mapping[str, Any] = {
    "name": "name",
    "in": "path",
    "required": True,
    "schema": {"type": "string", "pattern": "^[a-z0-9_.]{1,40}$"},
    "example": "dhparam.pem",
}
_ACT_ERRORS = (400, 401, 403, 404, 409, 413, 415, 422, 429, 503)

ONBOARDING: tuple[Operation, ...] = (
    Operation(
        path="/api/onboarding",
        method="get",
        name="showOnboarding",
        summary="How far the connection to IBKR is, what is missing, and what was found here; no call to IBKR",
        answers={200: OnboardingAnswer},
        errors=(400, 401, 403, 404, 422, 503),
    ),
    Operation(
        path="/api/onboarding/keys",
        method="get",
        name="showKeys",
        summary="The keys for IBKR's portal that are there, and how far they are that are being made",
        answers={200: KeysAnswer},
        errors=(400, 401, 403, 422, 503),
    ),
    Operation(
        path="/api/onboarding/keys",
        method="post",
        name="makeKeys",
        summary="Make keys in the background: into files, or with ENABLE_MULTI_USER into your vault",
        answers={202: KeysAnswer},
        errors=_ACT_ERRORS,
        takes=KeysForm,
        examples={
            "oauth2": {"kind": "oauth2"},
            "oauth1a": {"kind": "oauth1a", "replace": True},
            "vault": {"kind": "oauth1a", "consumer_key": "EXAMPLEKY", "environment": "paper"},
        },
    ),
    Operation(
        path="/api/onboarding/keys/{name}",
        method="get",
        name="downloadPublicKey",
        summary="One of the public files that IBKR's portal takes",
        answers={200: None},
        errors=(400, 401, 403, 404, 422, 503),
        parameters=(_NAME,),
        gives_file=("application/x-pem-file",),
    ),
    Operation(
        path="/api/onboarding/token",
        method="post",
        name="addAccessToken",
        summary="Add the portal's access token to the keys in your vault (ENABLE_MULTI_USER)",
        answers={200: KeysAnswer},
        errors=_ACT_ERRORS,
        takes=TokenForm,
        examples={"token": {"access_token": "0123456789abcdef0123", "access_token_secret": "c2VjcmV0"}},
    ),
    Operation(
        path="/api/onboarding/demo",
        method="post",
        name="switchDemo",
        summary="Let a simulated market stand in for IBKR as long as no connection is configured, or end that",
        answers={200: OnboardingAnswer},
        errors=_ACT_ERRORS,
        takes=DemoForm,
        examples={"on": {"on": True}, "off": {"on": False}},
    ),
)
