"""A request whose body is there already, as the application behind the door receives it."""

from starlette.types import Message, Receive


class Whole:
    """What an application receives: the whole body, then what happens to the connection.

    Whoever knows that it is whole need not wait for it: it is `body`.
    """

    __slots__ = ("_given", "_receive", "body")

    def __init__(self, body: bytes, receive: Receive) -> None:
        self.body = body
        self._receive = receive
        self._given = False

    async def __call__(self) -> Message:
        """The next message."""
        if self._given:
            return await self._receive()
        self._given = True
        return {"type": "http.request", "body": self.body, "more_body": False}


async def body_of(receive: Receive) -> bytes:
    """The body, which has been read already and comes in one piece."""
    if isinstance(receive, Whole):
        return receive.body
    message = await receive()
    body: bytes = message["body"]
    assert not message["more_body"], "bodies are read before they come here"
    return body
