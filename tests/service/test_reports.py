"""Reports and files for accountants over HTTP."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from typing import Any

import pytest

from ibkit.users import Role
from people import People, person
from service_desks import Served, fast_mock, served, settings_of

pytestmark = pytest.mark.requirement("FUT-05")


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with fast_mock(), served(settings_of(tmp_path_factory.mktemp("reports")), people=People()) as found:
        yield found


def ask(service: Served, method: str, path: str, body: Any = None) -> Any:
    return service.ask(method, path, body)


def made(service: Served, name: str = "Savings") -> dict[str, Any]:
    holdings = [{"symbol": "AAPL", "units": 1.5}, {"symbol": "GOLD", "units": 3}]
    form = {"name": name, "currency": "usd", "accounts": [{"name": "My IRA/1", "holdings": holdings}]}
    answer = ask(service, "POST", "/portfolio", form)
    assert answer.status == 201, answer.raw
    return answer.json  # type: ignore[no-any-return]


def test_a_report_is_a_pdf_or_a_page_that_runs_nothing(service: Served) -> None:
    service.people.holders["bob"] = person(name="bob", role=Role.TRADER)
    portfolio = made(service, name="<script>alert(1)</script>")
    at = f"/portfolio/{portfolio['id']}/report"
    pdf = ask(service, "GET", at)
    assert (pdf.status, pdf.headers["content-type"]) == (200, "application/pdf"), pdf.raw
    assert pdf.headers["content-disposition"] == f'attachment; filename="report-{portfolio["id"]}.pdf"'
    assert pdf.headers["cache-control"] == "no-store"
    assert pdf.raw.startswith(b"%PDF-")
    page = ask(service, "GET", f"/api{at}?format=html&currency=eur&from=2026-01-02")
    assert (page.status, page.headers["content-type"]) == (200, "text/html; charset=utf-8"), page.raw
    assert "sandbox" in page.headers["content-security-policy"]
    assert page.headers["x-content-type-options"] == "nosniff"
    assert b'<h1 dir="auto">&lt;script&gt;alert(1)&lt;/script&gt;</h1>' in page.raw
    assert b"in EUR." in page.raw
    for query, field in (
        ("format=doc", "format"),
        ("from=yesterday", "from"),
        ("to=2026-02-30", "to"),
        ("since=2026-02-01", "since"),
        ("currency=E1", "currency"),
    ):
        refused = ask(service, "GET", f"{at}?{query}")
        assert (refused.status, refused.code) == (422, "E-VALIDATION"), refused.raw
        assert field in str(refused.json["error"]), refused.raw
    assert ask(service, "GET", f"/portfolio/{'0' * 32}/report").status == 404


def test_a_benchmark_stands_beside_the_performance(service: Served) -> None:
    service.people.holders["bob"] = person(name="bob", role=Role.TRADER)
    path = f"/portfolio/{made(service)['id']}"
    table = {"Content-Type": "text/csv; charset=utf-8"}
    levels = b"day,level\n2026-11-19,5000\n2026-11-20,5012.5\n"
    for at in (f"{path}/analytics", f"{path}/report"):
        good = service.ask("POST", at, raw=levels, headers=table)
        assert good.status == 200, good.raw[:300]
        assert service.ask("POST", at, raw=levels, headers=table, token="bob").status == 404
        assert service.ask("POST", at, raw=levels, headers={"Content-Type": "application/json"}).status == 415
        for body, why in (
            (b"a,b\n2026-11-20,-1", "line 2"),
            (b"2026-11-20,1\n2026-11-20,2", "once"),
            (b"\xff", "UTF-8"),
        ):
            refused = service.ask("POST", at, raw=body, headers=table)
            assert (refused.status, refused.code, why in str(refused.json)) == (422, "E-VALIDATION", True), refused.raw
    figures = service.ask("POST", f"{path}/analytics?currency=eur", raw=levels, headers=table).json
    assert (figures["currency"], figures["performance"]) == ("EUR", None)
    page = service.ask("POST", f"{path}/report?format=html&name=S%26P", raw=levels, headers=table)
    assert page.raw.startswith(b"<!DOCTYPE html>")
    assert service.ask("POST", f"{path}/report?name=", raw=levels, headers=table).status == 422


def test_a_portfolio_goes_out_for_accountants(service: Served) -> None:
    service.people.holders["bob"] = person(name="bob", role=Role.TRADER)
    portfolio = made(service)
    at = f"/portfolio/{portfolio['id']}/export"
    text = ask(service, "GET", f"{at}?format=beancount")
    assert (text.status, text.headers["content-type"]) == (200, "text/plain; charset=utf-8"), text.raw
    assert text.headers["content-disposition"] == f'attachment; filename="portfolio-{portfolio["id"]}.beancount"'
    assert b"open Assets:My-IRA-1:AAPL" in text.raw
    packed = ask(service, "GET", f"{at}?format=portfolio-performance")
    assert (packed.status, packed.headers["content-type"]) == (200, "application/zip"), packed.raw
    assert packed.headers["content-disposition"] == f'attachment; filename="portfolio-{portfolio["id"]}.zip"'
    with zipfile.ZipFile(io.BytesIO(packed.raw)) as found:
        assert found.namelist() == ["portfolio-transactions.csv", "account-transactions.csv", "READ-ME.txt"]
