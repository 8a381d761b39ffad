"""Writes oauth1a.json and oauth2.json beside this file: what a right implementation must give, byte for byte.

    python tests/vectors/make_vectors.py            rebuild the files
    python tests/vectors/make_vectors.py --check    exit code 1 if they would change

Nothing of ibkit is used here, only the standard library and `cryptography`'s RSA: the arithmetic is written down a
second time, from docs/facts/auth-and-sessions.md §1-2. `tests/peers/test_ibind_functions.py` compares it with ibind's.
The keys are the throw-away keys of tests/keys.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import sys
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote_plus, urlencode

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding

HERE = Path(__file__).resolve().parent
KEYS = HERE.parent / "keys"
OWNER = KEYS / "simpaper1"
STRANGER = KEYS / "simpaper2"

NOW = 1_780_000_000
"""2026-05-28T20:26:40Z."""
HOST = "https://api.ibkr.com"
CONSUMER, REALM = "IBKITTEST", "limited_poa"
REQUEST_TOKEN, VERIFIER, ACCESS_TOKEN = "5f0d2c7be1a94863d0ff", "c0ffee0123456789abcd", "1b2c3d4e5f60718293a4"
PLAIN_SECRET = hashlib.sha256(b"ibkit vectors: access token secret").digest()

STYLES = {
    "bare": "URL without query; neither query nor form is signed",
    "listed": "decoded query and form pairs join the sorted list",
    "in_url": "the query stands in the URL part as it was sent",
    "in_url_decoded": "the same, percent-decoded",
}
# name, method, path, query as sent, content type, body
CALLS = (
    ("status", "GET", "/iserver/auth/status", "", None, ""),
    ("empty_post", "POST", "/logout", "", None, ""),
    ("json_post", "POST", "/iserver/account/DU1000001/orders", "", "application/json", '{"orders":[]}'),
    ("form_post", "POST", "/iserver/auth/ssodh/init", "", "application/x-www-form-urlencoded", "b=2&a=true"),
    ("delete", "DELETE", "/iserver/account/DU1000001/order/1234567890", "", None, ""),
    ("put", "PUT", "/fyi/deliveryoptions/email", "enabled=true", None, ""),
    ("comma_raw", "GET", "/iserver/marketdata/snapshot", "conids=756733,265598&fields=31,84,86", None, ""),
    ("comma_encoded", "GET", "/iserver/marketdata/snapshot", "conids=756733%2C265598&fields=31", None, ""),
    ("blank_plus", "GET", "/iserver/secdef/search", "symbol=BRK+B&name=true", None, ""),
    ("blank_20", "GET", "/iserver/secdef/search", "symbol=BRK%20B&name=true", None, ""),
    ("reserved", "GET", "/iserver/secdef/search", "symbol=%26%2F%2B%3D%25%3F%23%7C", None, ""),
    ("umlaut", "GET", "/iserver/secdef/search", "symbol=Z%C3%BCrich", None, ""),
    ("unreserved", "GET", "/trsrv/stocks", "symbols=A-B_C.D~E", None, ""),
    ("empty_value", "GET", "/iserver/account/orders", "filters=&force=false", None, ""),
    ("upper_first", "GET", "/iserver/secdef/info", "conid=756733&Zeta=1&alpha=2", None, ""),
)  # fmt: skip


def b64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def private(path: Path) -> Any:
    return serialization.load_pem_private_key(path.read_bytes(), None)


def pkcs8(path: Path) -> str:
    raw = private(path).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return raw.decode()


def pkcs1(path: Path) -> str:
    raw = private(path).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )
    return raw.decode()


# --- Diffie-Hellman ------------------------------------------------------------------------------------------------


def der_numbers(pem: str) -> tuple[int, int]:
    """Prime and generator of a 2048-bit parameter file, whose DER lengths are known."""
    raw = base64.b64decode("".join(line for line in pem.splitlines() if "-----" not in line))
    assert raw[:8] == bytes.fromhex("3082010802820101")
    assert raw[-3:] == bytes.fromhex("020102")
    return int.from_bytes(raw[8 : 8 + 257], "big"), 2


def careless_pem(prime: int) -> str:
    """The prime without its 00 byte: a negative number to a DER reader."""
    raw = bytes.fromhex("3082010702820100") + prime.to_bytes(256, "big") + bytes.fromhex("020102")
    text = b64(raw)
    lines = "\n".join(text[at : at + 64] for at in range(0, len(text), 64))
    return f"-----BEGIN DH PARAMETERS-----\n{lines}\n-----END DH PARAMETERS-----\n"


def java(number: int) -> bytes:
    """Whole bytes of the hex digits, and 00 in front where the top bit is set."""
    digits = f"{number:x}"
    raw = bytes.fromhex(digits if len(digits) % 2 == 0 else f"0{digits}")
    return b"\0" + raw if raw[0] >= 0x80 else raw


def dh_cases(prime: int) -> list[dict[str, Any]]:
    def exponent(who: str, number: int) -> int:
        return int.from_bytes(hashlib.sha256(f"ibkit vectors: {who} {number}".encode()).digest(), "big")

    client = exponent("client", 0)
    challenge = pow(2, client, prime)
    wanted = {
        "sign_byte": ("2048 bits: a 00 byte in front", lambda bits: bits == 2048),
        "no_sign_byte": ("2045 to 2047 bits: nothing in front", lambda bits: 2045 <= bits <= 2047),
        "odd_hex": ("511 hex digits: one 0 digit in front", lambda bits: 2041 <= bits <= 2044),
        "short": ("below 2040 bits: shorter than 256 bytes, never filled up", lambda bits: bits < 2040 and bits % 8),
        "short_sign_byte": ("2040 bits: short, and with a 00 byte", lambda bits: bits == 2040),
    }
    found: dict[str, dict[str, Any]] = {}
    number = 0
    while len(found) < len(wanted):
        server = exponent("server", number)
        number += 1
        shared = pow(challenge, server, prime)
        for name, (why, fits) in wanted.items():
            if name not in found and fits(shared.bit_length()):
                found[name] = dh_case(name, why, prime, client, server)
    return [found[name] for name in wanted]


def dh_case(name: str, why: str, prime: int, client: int, server: int) -> dict[str, Any]:
    challenge, response = pow(2, client, prime), pow(2, server, prime)
    shared = pow(response, client, prime)
    assert shared == pow(challenge, server, prime)
    token = hmac.new(java(shared), PLAIN_SECRET, hashlib.sha1).digest()
    unsigned = shared.to_bytes((shared.bit_length() + 7) // 8, "big")
    mistakes = {"sign byte left out": unsigned, "filled up to 256 bytes": shared.to_bytes(256, "big")}
    return {
        "name": name,
        "why": why,
        "client_private_hex": f"{client:x}",
        "server_private_hex": f"{server:x}",
        "diffie_hellman_challenge": f"{challenge:x}",
        "diffie_hellman_response": f"{response:x}",
        "shared_secret_hex": f"{shared:x}",
        "key_bytes_hex": java(shared).hex(),
        "live_session_token": b64(token),
        "live_session_token_signature": hmac.new(token, CONSUMER.encode(), hashlib.sha1).hexdigest(),
        "wrong_keys_give": {
            label: b64(hmac.new(raw, PLAIN_SECRET, hashlib.sha1).digest())
            for label, raw in mistakes.items()
            if raw != java(shared)
        },
    }


# --- OAuth 1.0a ----------------------------------------------------------------------------------------------------


def base_string(method: str, url: str, pairs: dict[str, str], prepend: str = "") -> str:
    listed = "&".join(f"{name}={pairs[name]}" for name in sorted(pairs))
    return f"{prepend}{method}&{quote_plus(url)}&{quote_plus(listed)}"


def header(pairs: dict[str, str], signature: str, *, realm_first: bool = True) -> str:
    shown = {**pairs, "oauth_signature": quote_plus(signature)}
    if not realm_first:
        shown["realm"] = REALM
    text = ", ".join(f'{name}="{shown[name]}"' for name in sorted(shown))
    return f'OAuth realm="{REALM}", {text}' if realm_first else f"OAuth {text}"


def token_call(name: str, more: dict[str, str], at: int, answer: dict[str, Any], prepend: str = "") -> dict[str, Any]:
    pairs = {
        "oauth_consumer_key": CONSUMER,
        "oauth_nonce": hashlib.sha256(name.encode()).hexdigest()[:32],
        "oauth_signature_method": "RSA-SHA256",
        "oauth_timestamp": str(at),
        **more,
    }
    url = f"{HOST}/v1/api/oauth/{name.partition('.')[0]}"
    text = base_string("POST", url, pairs, prepend)
    raw = private(OWNER / "private_signature.pem").sign(text.encode(), padding.PKCS1v15(), hashes.SHA256())
    return {
        "name": name,
        "method": "POST",
        "url": url,
        "oauth": pairs,
        "prepend": prepend,
        "base_string": text,
        "signature": b64(raw),
        "signature_in_header": quote_plus(b64(raw)),
        "authorization": header(pairs, b64(raw)),
        "authorization_realm_sorted": header(pairs, b64(raw), realm_first=False),
        "response": {"status": 200, "json": answer},
    }


def api_call(number: int, token: str, call: tuple[str, str, str, str, str | None, str]) -> dict[str, Any]:
    name, method, path, query, content_type, body = call
    pairs = {
        "oauth_consumer_key": CONSUMER,
        "oauth_nonce": hashlib.sha256(name.encode()).hexdigest()[:32],
        "oauth_signature_method": "HMAC-SHA256",
        "oauth_timestamp": str(NOW + number),
        "oauth_token": ACCESS_TOKEN,
    }
    url = f"{HOST}/v1/api{path}"
    asked = parse_qsl(query, keep_blank_values=True)
    form = parse_qsl(body) if content_type == "application/x-www-form-urlencoded" else []
    texts = {"bare": base_string(method, url, pairs)}
    if asked or form:
        texts["listed"] = base_string(method, url, {**pairs, **dict(asked), **dict(form)})
    if asked:
        texts["in_url"] = base_string(method, f"{url}?{query}", pairs)
        decoded = "&".join(f"{key}={value}" for key, value in asked)
        texts["in_url_decoded"] = base_string(method, f"{url}?{decoded}", pairs)

    def signed(text: str) -> dict[str, str]:
        signature = b64(hmac.new(base64.b64decode(token), text.encode(), hashlib.sha256).digest())
        return {"base_string": text, "signature": signature, "authorization": header(pairs, signature)}

    return {
        "name": name,
        "method": method,
        "url": url,
        "query_on_wire": query,
        "content_type": content_type,
        "body": body,
        "oauth": pairs,
        "signatures": {style: signed(text) for style, text in texts.items()},
    }


def sealed_secret(kept: dict[str, Any]) -> str:
    """Encryption is random, so the text once made is kept as long as it opens to the secret."""
    key = private(OWNER / "private_encryption.pem")
    text: str = kept.get("keys", {}).get("access_token_secret", "")
    if text and key.decrypt(base64.b64decode(text), padding.PKCS1v15()) == PLAIN_SECRET:
        return text
    return b64(key.public_key().encrypt(PLAIN_SECRET, padding.PKCS1v15()))


def oauth1a(kept: dict[str, Any]) -> dict[str, Any]:
    dhparam = (KEYS / "dhparam.pem").read_text()
    prime, generator = der_numbers(dhparam)
    cases = dh_cases(prime)
    secret = sealed_secret(kept)
    answers = {
        "request_token": {"oauth_token": REQUEST_TOKEN},
        "access_token": {"is_paper": True, "oauth_token": ACCESS_TOKEN, "oauth_token_secret": secret},
    }
    calls = [
        token_call("request_token", {"oauth_callback": "oob"}, NOW, answers["request_token"]),
        token_call(
            "access_token",
            {"oauth_token": REQUEST_TOKEN, "oauth_verifier": VERIFIER},
            NOW + 30,
            answers["access_token"],
        ),
    ]
    for number, case in enumerate(cases):
        at = NOW + 60 + number
        answer = {name: case[name] for name in ("diffie_hellman_response", "live_session_token_signature")}
        answer["live_session_token_expiration"] = (at + 86_400) * 1000
        more = {"oauth_token": ACCESS_TOKEN, "diffie_hellman_challenge": case["diffie_hellman_challenge"]}
        calls.append(token_call(f"live_session_token.{case['name']}", more, at, answer, PLAIN_SECRET.hex()))
    printed = "YBWbLw+9RYP2nWrPQHxHZkBb1aM="
    token = cases[0]["live_session_token"]
    return {
        "about": "OAuth 1.0a: throw-away keys of tests/keys, fixed exponents, nonces and timestamps",
        "credentials": {
            "consumer_key": CONSUMER,
            "realm": REALM,
            "request_token": REQUEST_TOKEN,
            "oauth_verifier": VERIFIER,
            "access_token": ACCESS_TOKEN,
            "access_token_secret_plain_hex": PLAIN_SECRET.hex(),
        },
        "keys": {
            **{f"private_{name}_pem": pkcs1(OWNER / f"private_{name}.pem") for name in ("signature", "encryption")},
            **{
                f"private_{name}_pkcs8_pem": pkcs8(OWNER / f"private_{name}.pem")
                for name in ("signature", "encryption")
            },
            **{
                f"public_{name}_pem": (OWNER / f"public_{name}.pem").read_text() for name in ("signature", "encryption")
            },
            "dhparam_pem": dhparam,
            "dhparam_pem_broken_negative_prime": careless_pem(prime),
            "dh_prime_hex": f"{prime:x}",
            "dh_generator": generator,
            "access_token_secret": secret,
        },
        "dh_cases": cases,
        "handshakes": calls,
        "printed_by_ibkr": {
            "consumer_key": "TESTCONS",
            "live_session_token": printed,
            "live_session_token_signature": hmac.new(base64.b64decode(printed), b"TESTCONS", hashlib.sha1).hexdigest(),
        },
        "rest_live_session_token": token,
        "rest_styles": STYLES,
        "rest": [api_call(number, token, call) for number, call in enumerate(CALLS)],
        "java_bytes": [
            {"n_hex": f"{n:x}", "bytes_hex": java(n).hex()}
            for n in (1, 0x7F, 0x80, 0xFF, 0x100, 0x7FFF, 0x8000, 0xFFFFFF, 0x1000000, prime, prime >> 1)
        ],
    }


# --- OAuth 2.0 -----------------------------------------------------------------------------------------------------


def base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def jws(key: Any, claims: dict[str, Any], *, kid: str = "main", alg: str = "RS256") -> dict[str, Any]:
    parts = [
        json.dumps(part, separators=(",", ":")).encode() for part in ({"alg": alg, "kid": kid, "typ": "JWT"}, claims)
    ]
    text = ".".join(base64url(part) for part in parts)
    if alg == "none":
        return {"claims": claims, "compact": f"{text}."}
    if alg == "HS256":
        return {
            "claims": claims,
            "compact": f"{text}.{base64url(hmac.new(key, text.encode(), hashlib.sha256).digest())}",
        }
    signature = key.sign(text.encode(), padding.PKCS1v15(), hashes.SHA256())
    return {"claims": claims, "compact": f"{text}.{base64url(signature)}"}


def oauth2() -> dict[str, Any]:
    client, server = private(OWNER / "private_oauth2.pem"), private(STRANGER / "private_oauth2.pem")
    who, user, address = "ibkit-vectors", "vectoruser", "198.51.100.20"
    url = f"{HOST}/oauth2/api/v1/token"
    claims = {"iss": who, "sub": who, "aud": "/token", "exp": NOW + 40, "iat": NOW - 10}
    full = {**claims, "aud": url, "exp": NOW + 60, "jti": "6d0f5b1e-0c1d-4f6b-9a55-0a5b3c7d9e11"}
    assertion, access = (
        jws(client, claims),
        jws(
            server,
            {"iss": "/token", "sub": who, "exp": NOW + 86_399, "iat": NOW, "scope": "sso-sessions.write"},
            kid="prod-server",
        ),
    )
    bearer = jws(b"vectors", {"sub": "WEB_API", "iss": "com.ib.sso", "iat": NOW * 1000}, alg="HS256")
    sso = jws(client, {"ip": address, "credential": user, "iss": who, "exp": NOW + 86_400, "iat": NOW})
    echo = jws(client, {"hello": "world", "iss": who, "exp": NOW + 60, "iat": NOW})
    form = {
        "grant_type": "client_credentials",
        "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
        "client_assertion": assertion["compact"],
        "scope": "sso-sessions.write",
    }
    head, _, signature = assertion["compact"].split(".")
    forged = base64url(json.dumps({**claims, "sub": "mallory", "iss": "mallory"}).encode())
    signed_call = {
        "method": "POST",
        "content_type": "application/jwt",
        "authorization": f"Bearer {access['compact']}",
    }
    return {
        "about": "OAuth 2.0: throw-away keys of tests/keys, fixed claims",
        "now": NOW,
        "client_id": who,
        "client_key_id": "main",
        "credential": user,
        "ip": address,
        "keys": {
            "client_private_pem": pkcs1(OWNER / "private_oauth2.pem"),
            "client_private_pkcs8_pem": pkcs8(OWNER / "private_oauth2.pem"),
            "client_public_pem": (OWNER / "public_oauth2.pem").read_text(),
            "server_public_pem": (STRANGER / "public_oauth2.pem").read_text(),
        },
        "assertion": assertion,
        "assertion_full_url_audience": jws(client, full),
        "token_request": {"method": "POST", "url": url, "content_type": "application/x-www-form-urlencoded",
                          "form": form, "body": urlencode(form)},
        "token_response": {"status": 200, "json": {"access_token": access["compact"], "token_type": "Bearer",
                                                   "scope": "sso-sessions.write", "expires_in": 86_399}},
        "access_token": access,
        "sso_request": {**signed_call, "url": f"{HOST}/gw/api/v1/sso-sessions", "jws": sso, "body": sso["compact"]},
        "sso_response": {"status": 200, "json": {"active": True, "access_token": bearer["compact"],
                                                 "token_type": "Bearer"}},
        "sso_bearer": bearer,
        "echo_request": {**signed_call, "url": f"{HOST}/gw/api/v1/echo/signed-jwt", "jws": echo,
                         "body": echo["compact"]},
        "must_be_refused": {
            "signed_by_another_key": jws(server, claims)["compact"],
            "unknown_kid": jws(client, claims, kid="nobody")["compact"],
            "expired": jws(client, {**claims, "exp": NOW - 1})["compact"],
            "issued_tomorrow": jws(client, {**claims, "iat": NOW + 86_400, "exp": NOW + 86_460})["compact"],
            "wrong_audience": jws(client, {**claims, "aud": "/sso-sessions"})["compact"],
            "wrong_subject": jws(client, {**claims, "sub": "somebody-else"})["compact"],
            "alg_none": jws(None, claims, alg="none")["compact"],
            "hmac_with_the_public_key": jws((OWNER / "public_oauth2.pem").read_bytes(), claims, alg="HS256")["compact"],
            "changed_claims": f"{head}.{forged}.{signature}",
            "cut": assertion["compact"][:-20],
        },
    }  # fmt: skip


def main(arguments: list[str]) -> int:
    changed = False
    first = HERE / "oauth1a.json"
    kept = json.loads(first.read_text()) if first.exists() else {}
    for path, document in ((first, oauth1a(kept)), (HERE / "oauth2.json", oauth2())):
        text = json.dumps(document, indent=1, ensure_ascii=False) + "\n"
        if path.exists() and path.read_text() == text:
            continue
        changed = True
        print(f"{path.name}: {'differs' if '--check' in arguments else 'written'}")
        if "--check" not in arguments:
            path.write_text(text)
    return int(changed and "--check" in arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
