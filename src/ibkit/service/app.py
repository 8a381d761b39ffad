"""The HTTP application: routes, thin handlers over the use cases, and every failure as problem+json."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from litestar import Litestar, Response, delete, get, patch, post
from litestar.exceptions import HTTPException
from litestar.handlers import HTTPRouteHandler

from ibkit.bootstrap.alerting import Alerting
from ibkit.bootstrap.connections import Connection
from ibkit.bootstrap.credential_desk import CredentialDesk
from ibkit.bootstrap.flex_books import FlexDesk
from ibkit.bootstrap.maintenance import Maintenance
from ibkit.bootstrap.portfolios import PortfolioDesk
from ibkit.clock import Clock, SystemClock
from ibkit.errors import ConfigError, IbkitError, NotFound
from ibkit.service.account_routes import account_routes
from ibkit.service.alert_routes import alert_routes
from ibkit.service.analytics_routes import analytics_routes
from ibkit.service.brokers import Brokers
from ibkit.service.cancelling import Cancelling
from ibkit.service.connection_events import ConnectionEvents
from ibkit.service.connection_routes import connection_routes
from ibkit.service.connection_status import SignInTest
from ibkit.service.credentials import credential_routes
from ibkit.service.door import Addresses, App, Door, origins_of
from ibkit.service.event_routes import Listening, event_routes
from ibkit.service.events import Seats
from ibkit.service.flex_token import flex_token_routes
from ibkit.service.health import Health, Layers, Liveness, Readiness
from ibkit.service.http_figures import HttpFigures
from ibkit.service.idempotency_key import HEADER, read_key
from ibkit.service.key_making import KeyMaking
from ibkit.service.ledger_routes import ledger_routes
from ibkit.service.ledger_rule_routes import ledger_rule_routes
from ibkit.service.logins import Logins
from ibkit.service.market_routes import market_routes
from ibkit.service.metric_routes import metric_routes
from ibkit.service.onboarding_routes import onboarding_routes
from ibkit.service.openapi import document
from ibkit.service.order_events import OrderEvents
from ibkit.service.order_wish import OrderChange, OrderWish
from ibkit.service.orders import Answer, Orders
from ibkit.service.own_connections import OwnConnections
from ibkit.service.people import may_read
from ibkit.service.people_desk import PeopleDesk
from ibkit.service.portfolio_routes import portfolio_routes
from ibkit.service.problems import problem_of
from ibkit.service.question_routes import question_routes
from ibkit.service.quote_events import QuoteEvents
from ibkit.service.rates import OrderRates, Rates
from ibkit.service.refusals import Refusal
from ibkit.service.report_routes import report_routes
from ibkit.service.requests import AnyRequest, Asked, headers_of, page_of
from ibkit.service.responses import response
from ibkit.service.risk_routes import risk_routes
from ibkit.service.sale_routes import sale_routes
from ibkit.service.sales import Sales
from ibkit.service.sign_in_routes import sign_in_routes
from ibkit.service.trade_routes import trade_routes
from ibkit.service.traders import Traders
from ibkit.service.upkeep_routes import upkeep_routes
from ibkit.service.user_routes import user_routes
from ibkit.service.waiting_questions import WaitingQuestions
from ibkit.service.web.pages import pages_of
from ibkit.service.web.site import Site
from ibkit.settings import Settings
from ibkit.users.principal import Authenticator, Principal

__all__ = ["Service", "make_app"]

log = logging.getLogger(__name__)

Work = Callable[[AnyRequest], Awaitable[Answer]]


@dataclass(kw_only=True)
class Service:
    """All that the handlers need.

    clock: of the login by default, which may follow a simulator; people have theirs. rates: of orders, cancels: of what
    takes them back (both in order_rates); acts: of what else goes to the broker; reads: of the rest. credentials: those
    of users, None with ENABLE_MULTI_USER=false.
    """

    settings: Settings
    authenticator: Authenticator
    people: PeopleDesk
    brokers: Brokers
    orders: Orders
    questions: WaitingQuestions
    sales: Sales
    order_events: OrderEvents
    quote_events: QuoteEvents
    layers: Layers
    rates: Rates
    cancels: Rates
    acts: Rates
    reads: Rates
    clock: Clock
    random: Callable[[int], bytes]
    own: OwnConnections
    logins: Logins
    connection_events: ConnectionEvents
    cancelling: Cancelling
    portfolios: PortfolioDesk
    flex: FlexDesk
    keys: KeyMaking
    credentials: CredentialDesk | None = None
    stopping: bool = False
    maintenance: Maintenance | None = None
    tests: dict[str, SignInTest] = field(default_factory=dict)
    http: HttpFigures = field(default_factory=HttpFigures)
    order_rates: OrderRates = field(init=False)
    addresses: Addresses = field(init=False)
    origins: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        self.addresses = Addresses.of(self.settings.web.allowed_client_ips, self.settings.web.trusted_proxy)
        self.origins = origins_of(self.settings.oauth2.frontend_url)
        self.order_rates = OrderRates(self.rates, self.cancels, self.people.users.store, self.people.users.clock)

    @property
    def connection(self) -> Connection | None:
        """The login that is traded through by default, as far as it is one of ours."""
        found = self.brokers.opened.get(self.brokers.default)
        return found if isinstance(found, Connection) else None

    @property
    def simulated(self) -> bool:
        """Whether a simulated broker is the default one: by the settings, or as a demo while none is configured."""
        return self.brokers.default == "mock"

    @property
    def alerting(self) -> Alerting | None:
        """Of that login, whose dispatcher tells people."""
        return None if self.connection is None else self.connection.alerting

    @property
    def asked(self) -> Asked:
        """Who asks, by token or by a browser's cookie."""
        return Asked(self.authenticator, self.people.users.sign_ins, self.reads)

    @property
    def traders(self) -> Traders:
        return Traders(self.asked, self.order_rates, lambda: self.stopping)

    async def refuse_new(self, known: Callable[[], Awaitable[object]]) -> None:
        """IbkitError (E-MAINT) for what would begin while a window of maintenance holds.

        known: what its key has begun already, None where that is nothing. A repeated key is answered as ever: whoever
        lost an answer must learn what became of it, and not be told to send it later.
        """
        if self.maintenance is not None and self.maintenance.current is not None and await known() is None:
            self.maintenance.refuse_orders()

    def trace_id(self) -> str:
        return self.random(8).hex()

    async def noted(self) -> None:
        """What users, connections and credentials were changed in is on disk, or is known not to be."""
        desk = self.credentials
        for kept in (self.people.audit.kept, self.own.audit.kept, *(() if desk is None else (desk.kept,))):
            if not await kept():
                log.warning("an answer leaves before its entry in the audit log is on disk")


def make_app(service: Service) -> App:
    """The ASGI application, with its door."""
    site = _site(service)
    app = Litestar(
        route_handlers=[
            *_order_routes(service),
            *sale_routes(service),
            *event_routes(_listening(service)),
            *_connection_routes(service),
            *connection_routes(service),
            *credential_routes(service),
            *sign_in_routes(service),
            *user_routes(service),
            *account_routes(service),
            *alert_routes(service),
            *question_routes(service),
            *trade_routes(service),
            *risk_routes(service),
            *metric_routes(service),
            *upkeep_routes(service),
            *onboarding_routes(service),
            *market_routes(service),
            *portfolio_routes(service),
            *analytics_routes(service),
            *report_routes(service),
            *ledger_routes(service),
            *flex_token_routes(service),
            *ledger_rule_routes(service),
            *pages_of(site),
            *_plain_routes(service),
        ],
        exception_handlers={Exception: lambda request, error: _failed(service, site, request, error)},
        openapi_config=None,
        logging_config=None,
        debug=False,
    )
    inner: App = app  # type: ignore[assignment]  # Litestar names the messages of ASGI more closely
    site.api = inner
    return Door(
        app=inner,
        addresses=service.addresses,
        origins=service.origins,
        trace_id=service.trace_id,
        tell=lambda address: service.people.users.sign_ins.turned_away(address=address),
        noted=service.noted,
        answered=service.http.answered,
        monotonic=SystemClock().monotonic,
    )


def _site(service: Service) -> Site:
    settings = service.settings
    return Site(
        service.trace_id,
        lambda: service.random(16).hex(),
        service.clock,
        simulated=lambda: service.simulated or settings.general.clock is not None,
        poll_s=round(settings.session.status_poll_seconds),
    )


def _listening(service: Service) -> Listening:
    return Listening(
        authenticator=service.authenticator,
        browsers=service.people.users.sign_ins,
        orders=service.order_events,
        quotes=service.quote_events,
        connections=service.connection_events,
        seats=Seats(),
        origins=service.origins,
    )


# -- orders -----------------------------------------------------------------------------------------------------------


def _order_routes(service: Service) -> list[HTTPRouteHandler]:
    asked, orders = service.asked, service.orders
    trader, wanted = service.traders.who, service.traders.body

    async def reader(request: AnyRequest) -> Principal:
        who = await asked.who(request)
        may_read(who)
        return who

    @post(["/broker-order", "/api/broker-order"], status_code=200)
    async def place(request: AnyRequest) -> Response[bytes]:
        who = await trader(request)
        key = read_key(headers_of(request, HEADER), user_id=who.user_id)
        wish = OrderWish.read(await wanted(who, request))
        if not wish.dry_run:
            await service.refuse_new(lambda: orders.of_key(who, key))
        return response(await orders.place(who, wish, key))

    @post(["/broker-order/preview", "/api/broker-order/preview"], status_code=200)
    async def preview(request: AnyRequest) -> Response[bytes]:
        who = await trader(request)
        return response(await orders.preview(who, OrderWish.read(await wanted(who, request))))

    @get(["/broker-order", "/api/broker-order"])
    async def listed(request: AnyRequest) -> Response[bytes]:
        return response(await orders.listed(await reader(request), page_of(request.query_params.multi_items())))

    @get(["/broker-order/{order_id:str}", "/api/broker-order/{order_id:str}"])
    async def show(request: AnyRequest) -> Response[bytes]:
        return response(await orders.show(await reader(request), _order_id(request)))

    @get(["/broker-order/{order_id:str}/timeline", "/api/broker-order/{order_id:str}/timeline"])
    async def timeline(request: AnyRequest) -> Response[bytes]:
        return response(await orders.timeline(await reader(request), _order_id(request)))

    @delete(["/broker-order/{order_id:str}", "/api/broker-order/{order_id:str}"], status_code=200)
    async def cancel(request: AnyRequest) -> Response[bytes]:
        who = await trader(request, cancels=True)
        return response(await orders.cancel(who, _order_id(request)))

    @patch(["/broker-order/{order_id:str}", "/api/broker-order/{order_id:str}"])
    async def change(request: AnyRequest) -> Response[bytes]:
        who = await trader(request)
        key = read_key(headers_of(request, HEADER), user_id=who.user_id)
        wish = OrderChange.read(await wanted(who, request))
        await service.refuse_new(lambda: orders.of_key(who, key))
        return response(await orders.change(who, _order_id(request), wish, key))

    return [place, preview, listed, show, timeline, cancel, change]


def _order_id(request: AnyRequest) -> str:
    return str(request.path_params["order_id"])


# -- the login --------------------------------------------------------------------------------------------------------


def _connection_routes(service: Service) -> list[HTTPRouteHandler]:
    asked = service.asked

    @get("/api/brokers")
    async def brokers(request: AnyRequest) -> Response[bytes]:
        may_read(await asked.who(request))
        return response(Answer(200, {"data": [_broker(each) for each in service.brokers.adapters.values()]}))

    return [brokers]


def _broker(adapter: Any) -> dict[str, Any]:
    missing = adapter.missing()
    return {
        "name": adapter.name,
        "configured": not missing,
        "missing": list(missing),
        "capabilities": sorted(each.value for each in adapter.capabilities),
    }


# -- health and the description of it all ---------------------------------------------------------------------------


def _plain_routes(service: Service) -> list[HTTPRouteHandler]:
    layers = service.layers

    @get("/livez")
    async def livez() -> Response[bytes]:
        return response(Answer(200, Liveness(status="alive")))

    @get("/readyz")
    async def readyz() -> Response[bytes]:
        down = await layers.down()
        word = "ready" if not down else "not ready"
        return response(Answer(503 if down else 200, Readiness(status=word, down=down)))

    @get("/health/broker")
    async def health_broker() -> Response[bytes]:
        told = layers.broker()
        return response(Answer(200 if told.status == "up" else 503, told))

    @get("/health")
    async def health() -> Response[bytes]:
        down = await layers.down()
        states = {name: "down" if name in down else "up" for name in ("database", "vault", "worker")}
        states["broker"] = layers.broker().status
        word = "ok" if "down" not in states.values() else "degraded"
        return response(Answer(200 if not down else 503, Health(status=word, layers=states)))

    @get("/openapi.json")
    async def openapi() -> Response[bytes]:
        return response(Answer(200, document()))

    return [livez, readyz, health_broker, health, openapi]


# -- answers ----------------------------------------------------------------------------------------------------------


def _failed(service: Service, site: Site, request: AnyRequest, error: Exception) -> Response[bytes]:
    """Ours by their code, the framework's by what they mean, and everything else as a fault of ours.

    Somebody at a browser reads it on a page.
    """
    trace_id = str(request.scope.get("state", {}).get("trace_id") or service.trace_id())
    path = request.scope["path"]
    if isinstance(error, HTTPException):
        told: IbkitError | Refusal = _of_framework(error)
    elif isinstance(error, IbkitError | Refusal):
        told = error
    else:
        log.error("a fault of the service", exc_info=error, extra={"trace_id": trace_id, "path": path})
        told = IbkitError(code="E-INTERNAL")
    reply = problem_of(told, trace_id=trace_id, path=path, now=service.clock.now())
    if request.method == "GET" and any("text/html" in each for each in headers_of(request, "accept")):
        return site.failed_alone(reply)
    headers = dict(reply.headers)
    return Response(reply.body, status_code=reply.status, media_type=headers.pop("Content-Type"), headers=headers)


def _of_framework(error: HTTPException) -> Refusal:
    headers: Mapping[str, str] = {
        name: value for name, value in (error.headers or {}).items() if name.lower() == "allow"
    }
    match error.status_code:
        case 404:
            return Refusal(404, NotFound(code="E-NOT-FOUND", details={"thing": "address"}))
        case 405:
            why = ConfigError(
                "Invalid request: this address has no such method",
                code="E-VALIDATION",
                remedy="Use one of the methods in the header Allow; /openapi.json lists all.",
            )
            return Refusal(405, why, headers=headers)
        case status if 400 <= status < 500:
            why = ConfigError("Invalid request", code="E-VALIDATION", remedy="See /openapi.json.")
            return Refusal(status, why)
        case _:
            return Refusal(500, IbkitError(code="E-INTERNAL"))
