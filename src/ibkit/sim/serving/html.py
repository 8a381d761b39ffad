"""How the simulator's pages look: one narrow column that a phone shows as well, and nothing fetched from anywhere.

Names and ids of the fields are those of IBKR's own login page where programs that drive a browser look for them:
`username`, `password`, the label of `toggle1`, `xyz-errormessage`, `xyz-field-silver-response`, a text in `<body>`.
Source: Voyz/ibeam, login_handler.py and config (docs/facts/auth-and-sessions.md §3.2, §3.12).
"""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

__all__ = ["LIVE", "PAPER", "code_form", "consent_form", "login_form", "page"]

LIVE, PAPER = "1", "2"
"""LOGIN_TYPE. Source: docs/facts/auth-and-sessions.md §3.2."""

_STYLE = """
:root{color-scheme:light dark;--ink:#1c2430;--soft:#5b6675;--paper:#fff;--ground:#eef1f5;--line:#c9d1db;--deep:#1f5fa8;
--mark:#7a4b00;--markground:#fff3d6;--bad:#a11c1c;--badground:#fdeaea}
@media(prefers-color-scheme:dark){:root{--ink:#e6eaf0;--soft:#a2adbb;--paper:#1d242e;--ground:#12171e;--line:#3b4655;
--deep:#3576bd;--mark:#ffd98a;--markground:#3a2c0c;--bad:#ffb3b3;--badground:#3d1717}}
*{box-sizing:border-box}
body{margin:0;background:var(--ground);color:var(--ink);
font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
.strip{background:var(--markground);color:var(--mark);padding:.6rem 1rem;text-align:center;font-size:.9rem}
main{max-width:25rem;margin:2rem auto;padding:1.5rem;background:var(--paper);border:1px solid var(--line);
border-radius:.6rem}
h1{margin:0 0 1rem;font-size:1.35rem}
p{margin:0 0 1rem}
.hint{color:var(--soft);font-size:.875rem}
label{display:block;margin:0 0 1rem;font-weight:600}
label input{display:block;width:100%;margin-top:.25rem}
input{font:inherit;font-weight:400;color:inherit;background:transparent;padding:.6rem .7rem;
border:1px solid var(--line);border-radius:.35rem}
.switch{display:flex;align-items:center;gap:.6rem;margin:0 0 .25rem}
.switch input{width:1.25rem;height:1.25rem;margin:0;accent-color:var(--deep)}
.switch label{margin:0}
button{font:inherit;font-weight:600;width:100%;margin-top:.75rem;padding:.65rem;border:1px solid var(--deep);
border-radius:.35rem;background:var(--deep);color:#fff;cursor:pointer}
button.quiet{background:transparent;color:inherit;border-color:var(--line)}
input:focus-visible,button:focus-visible{outline:3px solid var(--deep);outline-offset:2px}
.xyz-errormessage{padding:.6rem .7rem;border-radius:.35rem;background:var(--badground);color:var(--bad)}
code{font-size:1.05em;font-weight:600;letter-spacing:.08em}
@media(max-width:28rem){main{margin:0;border-width:0 0 1px;border-radius:0}}
""".replace("\n", "")


def page(title: str, body: str) -> str:
    """A whole document. The empty icon keeps browsers from asking for one, which a gateway sends on to IBKR."""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f'<title>{escape(title)} · ibkit simulator</title><link rel="icon" href="data:,">'
        f'<style>{_STYLE}</style></head><body class="login">'
        '<div class="strip"><b>Simulator.</b> This is ibkit, not Interactive Brokers. Do not type a real password here.'
        f"</div><main><h1>{escape(title)}</h1>{body}</main></body></html>"
    )


def _banner(text: str) -> str:
    return f'<p role="alert" class="xyz-errormessage">{escape(text)}</p>' if text else ""


def _hidden(fields: Mapping[str, str]) -> str:
    return "".join(f'<input type="hidden" name="{name}" value="{escape(value)}">' for name, value in fields.items())


def _name_and_password(username: str) -> str:
    """The cursor starts in the first field that is still to be filled in."""
    on_name, on_password = ("", " autofocus") if username else (" autofocus", "")
    return (
        '<label for="xyz-field-username">Username <input name="username" id="xyz-field-username" '
        f'value="{escape(username)}" autocomplete="username" autocapitalize="none" spellcheck="false" required'
        f'{on_name}></label><label for="xyz-field-password">Password <input name="password" id="xyz-field-password" '
        f'type="password" autocomplete="current-password" required{on_password}></label>'
    )


def login_form(*, username: str, login_type: str, hint: str, banner: str) -> str:
    """User name, password, and the switch between live (as it stands at first) and paper."""
    checked = " checked" if login_type == PAPER else ""
    return page(
        "Log in to the gateway",
        f'{_banner(banner)}<form method="post" action="/sso/Login">{_name_and_password(username)}'
        f'<div class="switch"><input type="checkbox" name="loginType" id="toggle1" value="{PAPER}"{checked}>'
        '<label for="toggle1">Paper trading</label></div>'
        f'<p class="hint">{escape(hint)}</p>'
        '<button type="submit" class="btn btn-lg btn-primary">Log in</button></form>',
    )


def code_form(*, username: str, code: str, fields: Mapping[str, str], banner: str) -> str:
    """The second factor. The page shows the code, since no phone of the simulator's users exists."""
    return page(
        "Second factor",
        f"{_banner(banner)}<p>{escape(username)}, a phone would now show you a code. In the simulator it is "
        f'<code>{escape(code)}</code>.</p><form method="post" action="/sso/Dispatcher" id="twofactbase">'
        f"{_hidden(fields)}"
        '<label for="xyz-field-silver-response">Security code <input name="code" id="xyz-field-silver-response" '
        'inputmode="numeric" autocomplete="one-time-code" maxlength="12" required autofocus></label>'
        '<button type="submit" class="btn btn-lg btn-primary">Confirm</button></form>',
    )


def consent_form(*, consumer: str, returns_to: str, username: str, fields: Mapping[str, str], banner: str) -> str:
    """Deny needs neither name nor password."""
    return page(
        "Authorize an application",
        f"{_banner(banner)}<p>The application <b>{escape(consumer)}</b> asks to see your accounts and to trade in them "
        f'for you.</p><p class="hint">Afterwards: {escape(returns_to)}.</p>'
        f'<form method="post" action="/authorize">{_hidden(fields)}{_name_and_password(username)}'
        '<button name="decision" value="allow">Allow</button>'
        '<button name="decision" value="deny" class="quiet" formnovalidate>Deny</button></form>',
    )
