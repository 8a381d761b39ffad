"""The one page that is needed before there are pages: where who was invited, or the first owner, chooses a password.

The link's token stands behind the #: the browser sends it nowhere, and the script takes it out of the address at once.
No text of anybody's is put into the page, and its policy names the script and the style by their hashes.
"""

from __future__ import annotations

import base64
import hashlib

from litestar import Response, get
from litestar.handlers import HTTPRouteHandler

from ibkit.users.passwords import SHORTEST

__all__ = ["PAGE", "POLICY", "welcome_routes"]

_STYLE = """
body { font-family: system-ui, sans-serif; max-width: 26rem; margin: 4rem auto; padding: 0 1rem; line-height: 1.5 }
label { display: block; margin-top: 1rem }
input { width: 100%; padding: .5rem; font-size: 1rem; box-sizing: border-box }
button { margin-top: 1.5rem; padding: .6rem 1.2rem; font-size: 1rem }
"""
_SCRIPT = """
const link = location.hash.slice(1);
history.replaceState(null, "", location.pathname);
const form = document.getElementById("form"), said = document.getElementById("said");
const tell = (text) => { said.textContent = text; };
if (!link) { tell("This page is opened by a one-time link, whose part after the # is missing."); form.hidden = true; }
form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const password = form.elements.password.value;
  if (password !== form.elements.again.value) { tell("The two are not the same."); return; }
  try {
    const answer = await fetch("/api/sign-in/link", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ link, password }),
    });
    const body = await answer.json();
    if (answer.ok) { form.hidden = true; form.reset(); tell("Done. The password holds, and the link is used up."); }
    else if (answer.status === 401) { tell("This link was used already, or its time is over. Ask for another."); }
    else { tell(body.detail); }
  } catch { tell("The service does not answer. Try again."); }
});
"""
PAGE = f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>ibkit: choose a password</title>
<style>{_STYLE}</style>
</head>
<body>
<h1>Choose a password</h1>
<p>At least {SHORTEST} characters that nobody guesses, like four words.</p>
<form id="form">
<label>Password
<input name="password" type="password" autocomplete="new-password" minlength="{SHORTEST}" required></label>
<label>Once more
<input name="again" type="password" autocomplete="new-password" required></label>
<button>Choose it</button>
</form>
<p id="said" role="status"></p>
<noscript><p>Without scripts: POST /api/sign-in/link with the link's part after the # and a password.</p></noscript>
<script>{_SCRIPT}</script>
</body>
</html>
"""


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


POLICY = (
    f"default-src 'none'; script-src {_hash(_SCRIPT)}; style-src {_hash(_STYLE)}; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "Content-Security-Policy": POLICY,
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
}


def welcome_routes() -> list[HTTPRouteHandler]:
    @get("/welcome")
    async def welcome() -> Response[bytes]:
        return Response(PAGE.encode(), media_type="text/html", headers=_HEADERS)

    return [welcome]
