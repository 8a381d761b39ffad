"""All pages, in the order in which a newcomer meets them."""

from __future__ import annotations

from litestar.handlers import HTTPRouteHandler

from ibkit.errors import NotPermitted
from ibkit.service.web.account_choice import cookie_of_choice
from ibkit.service.web.account_pages import account_pages
from ibkit.service.web.alert_pages import alert_pages
from ibkit.service.web.credential_pages import credential_pages
from ibkit.service.web.desk_pages import desk_pages
from ibkit.service.web.ledger_pages import ledger_pages
from ibkit.service.web.monitoring_pages import monitoring_pages
from ibkit.service.web.onboarding_pages import onboarding_pages
from ibkit.service.web.option_pages import option_pages
from ibkit.service.web.order_pages import order_pages
from ibkit.service.web.people_pages import people_pages
from ibkit.service.web.portfolio_pages import portfolio_pages
from ibkit.service.web.question_pages import question_pages
from ibkit.service.web.risk_pages import risk_pages
from ibkit.service.web.settings_pages import settings_pages
from ibkit.service.web.sign_in_pages import sign_in_pages
from ibkit.service.web.site import Made, Site, Visit
from ibkit.service.web.upkeep_pages import upkeep_pages

__all__ = ["pages_of"]


def pages_of(site: Site) -> list[HTTPRouteHandler]:
    sign_in_pages(site)
    desk_pages(site)
    order_pages(site)
    question_pages(site)
    option_pages(site)
    portfolio_pages(site)
    account_pages(site)
    ledger_pages(site)
    _state(site)
    _account(site)
    settings_pages(site)
    credential_pages(site)
    risk_pages(site)
    people_pages(site)
    alert_pages(site)
    monitoring_pages(site)
    upkeep_pages(site)
    onboarding_pages(site)
    return site.handlers


def _account(site: Site) -> None:
    @site.post("/account")
    async def choose(visit: Visit) -> Made:
        """Which of several accounts the pages show and trade; nothing is changed but a cookie."""
        form = await visit.form()
        if visit.me is None or form.text("csrf") != visit.me.csrf:
            raise NotPermitted("Forbidden: the form lacks its token", code="E-FORBIDDEN", remedy="Load the page anew.")
        return site.go(form.text("back") or "/", cookies=(cookie_of_choice(form.text("account_id")),))


def _state(site: Site) -> None:
    @site.get("/_state", used=False)
    async def state(visit: Visit) -> Made:
        """The pill and the banners, asked by the clock (UI-04): no call to IBKR, and nobody is kept signed in."""
        return site.made("parts/state.html", me=visit.me, **site.told_of_state(await visit.state()))
