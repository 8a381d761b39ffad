"""Alerts over HTTP: what is open and was lately, who looks after it, by which channels people are told; kept and tried.

Who sees an alert: whose it is; administrators all; of one that the order journal has open, whoever sees its account.
With ENABLE_MULTI_USER=false what is of the one login is everybody's who may see all of its accounts. Likewise a channel
of the installation is its administrators'. What is not theirs is not there (404).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from litestar import Response, delete, get, post
from litestar.handlers import HTTPRouteHandler

from ibkit.bootstrap.alert_desk import channels_with_last, journal_alerts, keep_channel, try_some, untold
from ibkit.bootstrap.alerting import Alerting, open_alerting
from ibkit.bootstrap.connections import Connection
from ibkit.errors import ConfigError, NotFound, NotPermitted
from ibkit.model import AccountId, Secret
from ibkit.notify import DeliveryFailed
from ibkit.service.alert_documents import (
    AcknowledgeForm,
    AlertAnswer,
    AlertChannelAnswer,
    AlertChannelForm,
    AlertChannelKept,
    AlertChannelList,
    AlertChannelSwitch,
    AlertList,
    AlertTestForm,
    AlertTests,
    alert_info,
    channel_info,
    results_of,
)
from ibkit.service.orders import Answer
from ibkit.service.people import administers, may_acknowledge, may_read
from ibkit.service.reading import read_struct
from ibkit.service.refusals import invalid
from ibkit.service.requests import AnyRequest, address_of, once
from ibkit.service.responses import response
from ibkit.trading.alert import Alert, Severity
from ibkit.trading.alerting import Channel, Delivery, Incident
from ibkit.trading.alerting.events import Audience
from ibkit.users import Principal

if TYPE_CHECKING:
    from ibkit.service.app import Service

__all__ = ["alert_routes"]

_MOST = 200
_LOOKED_AT = 1_000
_LONGEST_ID = 64


def alert_routes(service: Service) -> list[HTTPRouteHandler]:
    return [*_looks(service), *_acts(service), *_channels(service)]


@dataclass(frozen=True, slots=True)
class _Room:
    """alerts: what the journal has open, by id."""

    alerting: Alerting
    alerts: dict[str, Alert]


@asynccontextmanager
async def _room(service: Service) -> AsyncIterator[_Room]:
    """That of an open login, whose dispatcher is running; else what the settings lead to."""
    login = _a_login(service)
    if login is not None:
        standing = await login.books.alerts.open()
        yield _Room(login.alerting, {alert.alert_id: alert for alert in standing})
        return
    async with open_alerting(service.settings) as alerting:
        standing = await journal_alerts(service.settings, alerting.clock)
        yield _Room(alerting, {alert.alert_id: alert for alert in standing})


def _a_login(service: Service) -> Connection | None:
    """The default one; of users any that is of this installation: all share its database and its journal."""
    if service.connection is not None:
        return service.connection
    there = (each for each in service.brokers.opened.values() if isinstance(each, Connection))
    return next((each for each in there if each.settings.mock == service.simulated), None)


@dataclass(frozen=True, slots=True)
class _Eyes:
    """What one user sees. accounts: of their logins; None: of every one."""

    who: Principal
    everything: bool
    of_one_login: bool
    accounts: frozenset[AccountId] | None

    def see(self, incident: Incident, alerts: dict[str, Alert]) -> bool:
        if self.everything or (incident.user and incident.user == self.who.user_id):
            return True
        if incident.user or incident.audience is Audience.ADMINISTRATORS:
            return False
        alert = alerts.get(incident.source)
        account = None if alert is None else alert.details.get("account")
        if account is not None and self.accounts is not None:
            return account in self.accounts
        return self.of_one_login and self.accounts is None

    def have(self, channel: Channel) -> bool:
        return channel.user == self.who.user_id or (not channel.user and self.everything)

    def receipts(self, incident: Incident, deliveries: Iterable[Delivery]) -> list[Delivery]:
        """Who sees the alert may know whether the installation was told, but not by which channels another user is."""
        mine = [each for each in deliveries if each.incident_id == incident.incident_id]
        return mine if self.everything else [each for each in mine if each.user in ("", self.who.user_id)]


async def _eyes(service: Service, who: Principal) -> _Eyes:
    accounts = await service.own.accounts_of(who)
    everything = administers(who) and who.accounts is None
    return _Eyes(who, everything=everything, of_one_login=not service.own.of_users, accounts=accounts)


def _looks(service: Service) -> list[HTTPRouteHandler]:
    async def reader(request: AnyRequest) -> Principal:
        who = await service.asked.who(request)
        may_read(who)
        return who

    @get("/api/alerts")
    async def listed(request: AnyRequest) -> Response[bytes]:
        who = await reader(request)
        closed, limit = _which(request)
        eyes = await _eyes(service, who)
        async with _room(service) as room:
            incidents = room.alerting.incidents
            found = [
                *await untold(room.alerting, tuple(room.alerts.values())),
                *await incidents.incidents(limit=_LOOKED_AT),
            ]
            if closed:
                recent = await incidents.incidents(closed=True, limit=_LOOKED_AT)
                found += [each for each in recent if each.closed_at is not None]
            seen = [each for each in found if eyes.see(each, room.alerts)][:limit]
            receipts = await incidents.deliveries(limit=_LOOKED_AT) if seen else []
        return response(Answer(200, AlertList(data=[alert_info(each, eyes.receipts(each, receipts)) for each in seen])))

    @get("/api/alerts/channels")
    async def channels(request: AnyRequest) -> Response[bytes]:
        eyes = await _eyes(service, await reader(request))
        async with _room(service) as room:
            found = [pair for pair in await channels_with_last(room.alerting) if eyes.have(pair[0])]
        return response(Answer(200, AlertChannelList(data=[channel_info(*pair) for pair in found])))

    return [listed, channels]


def _acts(service: Service) -> list[HTTPRouteHandler]:
    async def keeper(request: AnyRequest) -> Principal:
        who = await service.asked.who(request)
        may_acknowledge(who)
        service.people.changes.take(who.user_id)
        return who

    @post("/api/alerts/{alert_id:str}/acknowledge", status_code=200)
    async def acknowledge(request: AnyRequest) -> Response[bytes]:
        who = await keeper(request)
        form = read_struct(AcknowledgeForm, await service.asked.body(request))
        eyes, alert_id = await _eyes(service, who), str(request.path_params["alert_id"])
        note = service.people.by(who, address_of(request))
        with note("alerts.acknowledge", alert_id[:_LONGEST_ID], note=form.note.strip()) as noted:
            async with _room(service) as room:
                try:
                    incident = await _named(room, eyes, alert_id)
                except NotFound:
                    noted.skipped = True
                    raise
                if incident.closed_at is None:
                    at = room.alerting.clock.now()
                    incident = await room.alerting.incidents.acknowledge(
                        incident.incident_id, by=who.name, at=at, note=form.note.strip()
                    )
                else:
                    noted.skipped = True  # it is over: nobody has to look after it
                receipts = await room.alerting.incidents.deliveries(incident_id=incident.incident_id)
        return response(Answer(200, AlertAnswer(data=alert_info(incident, eyes.receipts(incident, receipts)))))

    @post("/api/alerts/test", status_code=200)
    async def test(request: AnyRequest) -> Response[bytes]:
        who = await keeper(request)
        form = read_struct(AlertTestForm, await service.asked.body(request))
        eyes = await _eyes(service, who)
        note = service.people.by(who, address_of(request))
        async with _room(service) as room:
            mine = [each for each in await room.alerting.channels.all() if eyes.have(each)]
            if not any(form.channel in (None, each.name) for each in mine):
                if form.channel is None:
                    return response(Answer(200, AlertTests(data=[])))
                raise NotFound(code="E-NOT-FOUND", details={"thing": "channel"})
            with note("alerts.test", form.channel or "all channels"):
                results = await try_some(room.alerting, mine, only=form.channel)
        return response(Answer(200, results_of(results)))

    return [acknowledge, test]


def _channels(service: Service) -> list[HTTPRouteHandler]:
    async def keeper(request: AnyRequest) -> tuple[Principal, _Eyes]:
        who = await service.asked.who(request)
        may_acknowledge(who)
        service.people.changes.take(who.user_id)
        return who, await _eyes(service, who)

    @post("/api/alerts/channels", status_code=200)
    async def keep(request: AnyRequest) -> Response[bytes]:
        who, eyes = await keeper(request)
        form = read_struct(AlertChannelForm, await service.asked.body(request))
        of_all = eyes.of_one_login if form.of_installation is None else form.of_installation
        if of_all and not eyes.everything:
            raise NotPermitted("Forbidden: a channel of the installation is its administrators'", code="E-FORBIDDEN")
        if not of_all and eyes.of_one_login:
            raise invalid(("of_installation", "there is one login here: its alerts go by channels of the installation"))
        note = service.people.by(who, address_of(request))
        async with _room(service) as room:
            with note("alerts.channel_put", form.name, of_installation=of_all):
                try:
                    kept = await keep_channel(
                        room.alerting,
                        form.name,
                        Secret(form.address.strip()),
                        user="" if of_all else who.user_id,
                        secret=None if form.secret is None else Secret(form.secret),
                        severities=frozenset(Severity(each) for each in form.severities),
                        level=form.level,
                    )
                except DeliveryFailed as error:
                    raise invalid(("address", error.reason)) from None
        secret = None if kept.made is None else kept.made.reveal()
        return response(Answer(200, AlertChannelKept(data=channel_info(kept.channel, None), secret=secret)))

    @delete("/api/alerts/channels/{name:str}", status_code=200)
    async def remove(request: AnyRequest) -> Response[bytes]:
        who, eyes = await keeper(request)
        given, problems = once(request.query_params.multi_items(), ("of_installation",))
        of_all = given.get("of_installation")
        if of_all not in (None, "true", "false"):
            problems.append(("of_installation", "it is true or false"))
        if problems:
            raise invalid(*problems)
        async with _room(service) as room:
            wanted = None if of_all is None else of_all == "true"
            channel = await _theirs(room, eyes, str(request.path_params["name"]), of_all=wanted)
            with service.people.by(who, address_of(request))("alerts.channel_remove", channel.name):
                await room.alerting.channels.remove(channel.user, channel.name)
        return response(Answer(200, AlertChannelAnswer(data=channel_info(channel, None))))

    @post("/api/alerts/channels/{name:str}/switch", status_code=200)
    async def switch(request: AnyRequest) -> Response[bytes]:
        who, eyes = await keeper(request)
        form = read_struct(AlertChannelSwitch, await service.asked.body(request))
        async with _room(service) as room:
            channel = await _theirs(room, eyes, str(request.path_params["name"]), of_all=form.of_installation)
            note = service.people.by(who, address_of(request))
            with note("alerts.channel_switch", channel.name, enabled=form.enabled):
                await room.alerting.channels.switch(channel.user, channel.name, enabled=form.enabled)
        return response(
            Answer(200, AlertChannelAnswer(data=channel_info(replace(channel, enabled=form.enabled), None)))
        )

    return [keep, remove, switch]


async def _theirs(room: _Room, eyes: _Eyes, name: str, *, of_all: bool | None) -> Channel:
    """A stored channel that they may change; their own before one of the installation. NotFound; ConfigError."""
    mine = [
        each
        for each in await room.alerting.channels.all()
        if eyes.have(each) and each.name == name and of_all in (None, not each.user)
    ]
    if not mine:
        raise NotFound(code="E-NOT-FOUND", details={"thing": "channel"})
    channel = max(mine, key=lambda each: bool(each.user))
    if channel.by_operator:
        raise ConfigError(
            f"Not possible as it stands: {name} is a channel of the settings",
            code="E-CONFLICT",
            remedy="Change the settings that make it, then restart.",
        )
    return channel


async def _named(room: _Room, eyes: _Eyes, alert_id: str) -> Incident:
    """By its whole id. NotFound, the same for one that is not theirs."""
    absent = NotFound(code="E-NOT-FOUND", details={"thing": "alert"})
    if len(alert_id) > _LONGEST_ID:
        raise absent
    try:
        incident = await room.alerting.incidents.get(alert_id)
    except NotFound:
        raise absent from None
    if incident.incident_id != alert_id or not eyes.see(incident, room.alerts):
        raise absent
    return incident


def _which(request: AnyRequest) -> tuple[bool, int]:
    """Whether closed ones are wanted, too, and how many. ConfigError (E-VALIDATION, 422)."""
    given, problems = once(request.query_params.multi_items(), ("closed", "limit"))
    closed, limit = given.get("closed", "true"), given.get("limit", "50")
    if closed not in ("true", "false"):
        problems.append(("closed", "it is true or false"))
    if not (limit.isascii() and limit.isdigit() and 1 <= int(limit[:9]) <= _MOST):
        problems.append(("limit", f"it is a whole number from 1 to {_MOST}"))
    if problems:
        raise invalid(*problems)
    return closed == "true", int(limit)
