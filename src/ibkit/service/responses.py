"""An answer of ours as the framework sends it."""

from __future__ import annotations

from litestar import Response

from ibkit.service.orders import Answer
from ibkit.service.problems import encode

__all__ = ["response"]


def response(answer: Answer) -> Response[bytes]:
    return Response(
        encode(answer.body), status_code=answer.status, headers=dict(answer.headers), media_type="application/json"
    )
