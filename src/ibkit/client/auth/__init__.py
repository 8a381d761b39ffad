"""Signing in: three methods behind one protocol, none of which does I/O."""

from __future__ import annotations

from ibkit.client.auth.grant import Auth, Grant, Random

__all__ = ["Auth", "Grant", "Random"]
