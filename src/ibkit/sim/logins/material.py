"""What a simulator keeps in its folder: key material made at first start, and the files that say how to reach it.

<dir>/keys/dhparam.pem, keys/<username>/…   as `users.py` reads them
<dir>/ca.pem, gateway.pem, cloud.pem        as `certificates.py` makes them
<dir>/env/<username>-<method>.env           ready for `ibkit --env-file`
<dir>/simulator.json                        written last, when both faces accept
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ibkit.sim.logins.users import DEFAULT_USERS, VENDOR, VENDOR_CALLBACK, VENDOR_CONSUMER_KEY, Directory, UserKeys
from ibkit.sim.serving.certificates import CA_FILE, write_private
from ibkit.wire.dh import DhParams, find_safe_prime, write_params_pem

__all__ = ["SIMULATOR_FILE", "ensure_keys", "remove_announcement", "write_announcement"]

SIMULATOR_FILE = "simulator.json"
_DH_BITS = 2048
_METHODS = ("gateway", "oauth1a", "oauth2")


def ensure_keys(folder: Path, say: Callable[[str], None], progress: Callable[[int], None] | None = None) -> None:
    """Make the keys and the Diffie-Hellman prime that are missing. The prime takes half a minute, once.

    progress: called with the number of candidates tested so far; what it raises ends the search.
    """
    folder.mkdir(parents=True, exist_ok=True)
    dhparam = folder / "dhparam.pem"
    if not dhparam.is_file():
        say("Looking for a 2048-bit safe prime (once for this folder, about half a minute)")
        prime = find_safe_prime(_DH_BITS, secrets.token_bytes, progress)
        _write_whole(dhparam, write_params_pem(DhParams(prime)))
    wanted = [(user.username, name) for user in DEFAULT_USERS for name in ("signature", "encryption", "oauth2")]
    wanted += [(VENDOR, name) for name in ("signature", "encryption")]
    missing = [(owner, name) for owner, name in wanted if not (folder / owner / f"public_{name}.pem").is_file()]
    if missing:
        say(f"Making {len(missing)} RSA key pairs")
    for owner, name in missing:
        _make_rsa_pair(folder / owner, name)


def _make_rsa_pair(folder: Path, name: str) -> None:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    folder.mkdir(parents=True, exist_ok=True)
    key = rsa.generate_private_key(65537, 2048)
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    write_private(folder / f"private_{name}.pem", pem)
    # Written last: its presence says that the pair is whole.
    _write_whole(folder / f"public_{name}.pem", public.decode())


def _write_whole(path: Path, text: str) -> None:
    fresh = path.with_name(f".{path.name}.new")
    fresh.write_text(text)
    fresh.replace(path)


def remove_announcement(folder: Path) -> None:
    """Nobody is to find the addresses of a simulator that is not there (any more, or yet)."""
    (folder / SIMULATOR_FILE).unlink(missing_ok=True)


def write_announcement(
    folder: Path, directory: Directory, *, gateway_url: str, cloud_url: str, control_url: str
) -> Path:
    """Write the settings files of every user, then `simulator.json`, which says that both faces accept."""
    urls = {"gateway": gateway_url, "cloud": cloud_url, "control": control_url}
    (folder / "env").mkdir(exist_ok=True)
    users = [_user(folder, keys, directory, urls) for keys in directory.credentials()]
    announcement = {
        "gateway_url": gateway_url,
        "cloud_url": cloud_url,
        "ca": CA_FILE,
        "control_url": control_url,
        "users": users,
        "third_party": _third_party(folder, directory, urls),
    }
    path = folder / SIMULATOR_FILE
    write_private(path, json.dumps(announcement, indent=2).encode() + b"\n")
    return path


def _user(folder: Path, keys: UserKeys, directory: Directory, urls: Mapping[str, str]) -> dict[str, Any]:
    user = keys.user
    env = {}
    for method in _METHODS:
        path = folder / "env" / f"{user.username}-{method}.env"
        write_private(path, _env_text(f"{user.username} over {method}", _settings(folder, keys, method, urls)))
        env[method] = _relative(path, folder)
    return {
        "username": user.username,
        "password": user.password,
        "accounts": [account.id for account in user.accounts],
        "oauth1a": {
            "consumer_key": keys.consumer_key,
            "access_token": keys.access_token,
            "access_token_secret": keys.access_token_secret,
            "dh_prime": f"{directory.dh.prime:x}",
            "dh_generator": directory.dh.generator,
            "encryption_key": _relative(keys.encryption_key, folder),
            "signature_key": _relative(keys.signature_key, folder),
            "dhparam": _relative(keys.dhparam, folder),
            "realm": keys.realm,
        },
        "oauth2": {
            "client_id": keys.client_id,
            "client_key_id": keys.client_key_id,
            "private_key": _relative(keys.oauth2_key, folder),
            "credential": user.username,
            "scope": keys.scope,
        },
        "env": env,
    }


def _third_party(folder: Path, directory: Directory, urls: Mapping[str, str]) -> dict[str, Any]:
    """An application that a user may authorise in three legs; it has no access token of its own."""
    signature, encryption = directory.key(VENDOR, "signature"), directory.key(VENDOR, "encryption")
    path = folder / "env" / f"{VENDOR}-oauth1a.env"
    settings = _common(urls) | _cloud(folder, urls) | {"IBKR_AUTH_METHOD": "oauth1a", "IBKR_ENV": "paper"}
    settings |= {
        "IB_CONSUMER_KEY": VENDOR_CONSUMER_KEY,
        "IB_SIGNATURE_KEY_PATH": str(signature),
        "IB_ENCRYPTION_KEY_PATH": str(encryption),
        "IB_DH_PARAM_PATH": str(directory.dhparam),
    }
    write_private(path, _env_text("a third party's application, before anybody authorised it", settings))
    return {
        "consumer_key": VENDOR_CONSUMER_KEY,
        "realm": "limited_poa",
        "callback": VENDOR_CALLBACK,
        "dh_prime": f"{directory.dh.prime:x}",
        "dh_generator": directory.dh.generator,
        "encryption_key": _relative(encryption, folder),
        "signature_key": _relative(signature, folder),
        "dhparam": _relative(directory.dhparam, folder),
        "authorize_url": f"{urls['cloud']}/authorize",
        "env": _relative(path, folder),
    }


def _common(urls: Mapping[str, str]) -> dict[str, str]:
    return {"APP_ENV": "test", "APP_CLOCK": urls["control"]}


def _cloud(folder: Path, urls: Mapping[str, str]) -> dict[str, str]:
    return {"IBKR_BASE_URL": urls["cloud"], "IBKR_BASE_CA": str((folder / CA_FILE).resolve())}


def _settings(folder: Path, keys: UserKeys, method: str, urls: Mapping[str, str]) -> dict[str, str]:
    """Variables of one user and method. Paths are absolute, so that the file works from any directory."""
    settings = {"IBKR_ENV": "paper" if keys.user.is_paper else "live", "IBKR_AUTH_METHOD": method} | _common(urls)
    if method == "gateway":
        ca = str((folder / CA_FILE).resolve())
        # The name that the gateway is expected to be logged in as: the scenario other-user is found out by it.
        expected = {"IBKR_CREDENTIAL": keys.user.username}
        return settings | {"IBKR_API_ENDPOINT": f"{urls['gateway']}/v1/api", "IBKR_GATEWAY_CA": ca} | expected
    settings |= _cloud(folder, urls)
    if method == "oauth1a":
        return settings | {
            "IB_CONSUMER_KEY": keys.consumer_key,
            "IB_ACCESS_TOKEN": keys.access_token,
            "IB_ACCESS_TOKEN_SECRET": keys.access_token_secret,
            "IB_SIGNATURE_KEY_PATH": str(keys.signature_key),
            "IB_ENCRYPTION_KEY_PATH": str(keys.encryption_key),
            "IB_DH_PARAM_PATH": str(keys.dhparam),
            "IB_REALM": keys.realm,
        }
    return settings | {
        "IBKR_CLIENT_ID": keys.client_id,
        "IBKR_CLIENT_KEY_ID": keys.client_key_id,
        "IBKR_PRIVATE_KEY_PATH": str(keys.oauth2_key),
        "IBKR_CREDENTIAL": keys.user.username,
        "IBKR_ALLOWED_IP": "127.0.0.1",
        "IBKR_SCOPE": keys.scope,
    }


def _env_text(title: str, settings: Mapping[str, str]) -> bytes:
    lines = [f"# ibkit simulator: {title}", *(f"{name}={_quoted(value)}" for name, value in settings.items())]
    return ("\n".join(lines) + "\n").encode()


def _quoted(value: str) -> str:
    return f'"{value}"' if any(char in value for char in " #'$") else value


def _relative(path: Path, folder: Path) -> str:
    return path.resolve().relative_to(folder.resolve()).as_posix()
