"""The desk at which Ray tasks ask whether to stop: an actor between them and the search."""

from __future__ import annotations

import asyncio

Question = tuple[int, int, int, float]  # ticket, number of the trial, step, value


class Desk:
    """Takes questions from tasks, hands them to the search, and its answers back.

    Nobody waits in it for anybody else: each question has a ticket of its own. A task that is lost
    while it waits leaves a question that is answered to nobody.
    """

    def __init__(self) -> None:
        self._questions: asyncio.Queue[Question] = asyncio.Queue()
        self._answers: dict[int, asyncio.Future[bool]] = {}
        self._tickets = 0

    async def ask(self, number: int, step: int, value: float) -> bool:
        """Say whether a trial is to stop at a step of its learning curve."""
        self._tickets += 1
        ticket = self._tickets
        self._answers[ticket] = asyncio.get_running_loop().create_future()
        await self._questions.put((ticket, number, step, value))
        return await self._answers[ticket]

    async def next(self) -> Question:
        """Return the next question, once there is one."""
        return await self._questions.get()

    async def answer(self, ticket: int, stop: bool) -> None:
        """Answer a question."""
        future = self._answers.pop(ticket)
        if not future.done():
            future.set_result(stop)
