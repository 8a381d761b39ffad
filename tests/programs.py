"""What somebody's own program finds where it runs: its environment, and a simulator in the place of IBKR."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ibkit.bootstrap import Edges
from ibkit.settings import Settings
from ibkit.sim.serving.inprocess import CLOUD_URL, GATEWAY_URL, Simulator

__all__ = ["edges_of", "environ_of"]


def environ_of(simulator: Simulator, home: Path, method: str = "oauth1a", *, user: int = 0) -> dict[str, str]:
    keys = simulator.users[user]
    for path in (keys.signature_key, keys.encryption_key, keys.oauth2_key):
        path.chmod(0o600)
    environ = {"HOME": str(home), "IBKR_AUTH_METHOD": method}
    if method == "gateway":
        return environ | {"IBKR_API_ENDPOINT": GATEWAY_URL}
    if method == "oauth2":
        return environ | {
            "IBKR_BASE_URL": CLOUD_URL,
            "IBKR_CLIENT_ID": keys.client_id,
            "IBKR_CLIENT_KEY_ID": keys.client_key_id,
            "IBKR_PRIVATE_KEY_PATH": str(keys.oauth2_key),
            "IBKR_CREDENTIAL": keys.user.username,
            "IBKR_ALLOWED_IP": "127.0.0.1",
        }
    return environ | {
        "IBKR_BASE_URL": CLOUD_URL,
        "IB_CONSUMER_KEY": keys.consumer_key,
        "IB_ACCESS_TOKEN": keys.access_token,
        "IB_ACCESS_TOKEN_SECRET": keys.access_token_secret,
        "IB_SIGNATURE_KEY_PATH": str(keys.signature_key),
        "IB_ENCRYPTION_KEY_PATH": str(keys.encryption_key),
        "IB_DH_PARAM_PATH": str(keys.dhparam),
    }


def edges_of(simulator: Simulator) -> Edges:
    def transport(settings: Settings) -> Any:
        return simulator.transport("gateway" if settings.method.value == "gateway" else "cloud")

    return Edges(transport=transport, clock=simulator.clock, keep_alive=False)
