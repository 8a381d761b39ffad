"""IBKR's questions over HTTP: those that wait for a person, and a person's answer. Each answer is in the audit log."""

from __future__ import annotations

from typing import TYPE_CHECKING

from litestar import Response, get, post
from litestar.handlers import HTTPRouteHandler

from ibkit.service.orders import Answer
from ibkit.service.people import may_order, may_read
from ibkit.service.question_documents import AnswerForm, QuestionAnswered, question_list
from ibkit.service.reading import read_struct
from ibkit.service.requests import AnyRequest
from ibkit.service.responses import response

if TYPE_CHECKING:
    from ibkit.service.app import Service

__all__ = ["question_routes"]


def question_routes(service: Service) -> list[HTTPRouteHandler]:
    questions = service.questions

    @get("/api/questions")
    async def waiting(request: AnyRequest) -> Response[bytes]:
        who = await service.asked.who(request, counted=False)  # from memory, every few seconds
        may_read(who)
        return response(Answer(200, question_list(questions.seen_by(who), service.settings.trading.auto_confirm)))

    @post("/api/questions/{question_id:str}/answer", status_code=200)
    async def answer(request: AnyRequest) -> Response[bytes]:
        who = await service.asked.who(request)
        service.order_rates.take(who.user_id)
        form = read_struct(AnswerForm, await service.asked.body(request))
        found = questions.theirs(who, str(request.path_params["question_id"]))
        now = service.people.users.clock.now()
        may_order(who, found.intent.planned.environment, now=now, lessens=not form.answer)
        questions.answer(found, yes=form.answer, who=who)
        told = QuestionAnswered(id=found.question_id, order_id=found.intent.intent_id, answer=form.answer)
        return response(Answer(200, told))

    return [waiting, answer]
