"""What a language model's answer used, as usage records: one for each kind of token.

This file stands alone, like `client.py`: copy it. Each function takes an answer as the provider's
package returns it, or as JSON, and returns the arguments of `Client.record` for each record:

    for record in openai_usage(response, "acme"):
        client.record(**record)

Kinds never overlap, so their sum is all that was used, and each can have its own price. Ids follow
from the id of the answer and the kind: an answer that is sent twice counts once.

| `type` | What it counts |
|---|---|
| `input` | what was read, but for the next three |
| `cached_input` | what was read from a cache |
| `cache_write`, `cache_write_1h` | what was put into a cache; Anthropic has one for an hour |
| `output` | what was written, but for the next one |
| `reasoning` | what OpenAI's models thought, billed like output |
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

EVENT_NAME = "llm_tokens"

Record = dict[str, Any]
"""The arguments of `Client.record`."""


def openai_usage(
    response: object,
    customer: str,
    *,
    event_name: str = EVENT_NAME,
    id: str | None = None,
    timestamp: datetime | None = None,
) -> list[Record]:
    """What a chat completion, a response or an embedding of OpenAI used, at its own time.

    Raises `ValueError` without usage (a stream needs `include_usage`) or without an id.

    >>> answer = {"id": "chatcmpl-1", "model": "gpt", "created": 1767225600, "usage": {
    ...     "completion_tokens": 5,
    ...     "prompt_tokens": 10, "prompt_tokens_details": {"cached_tokens": 4}}}
    >>> [(one["id"], one["value"]) for one in openai_usage(answer, "acme")]
    [('chatcmpl-1:input', 6), ('chatcmpl-1:cached_input', 4), ('chatcmpl-1:output', 5)]
    """
    usage = _usage(response)
    read = _count(usage, "input_tokens") or _count(usage, "prompt_tokens")
    written = _count(usage, "output_tokens") or _count(usage, "completion_tokens")
    of_read = _get(usage, "input_tokens_details") or _get(usage, "prompt_tokens_details")
    of_written = _get(usage, "output_tokens_details") or _get(usage, "completion_tokens_details")
    cached, kept = _count(of_read, "cached_tokens"), _count(of_read, "cache_write_tokens")
    reasoning = _count(of_written, "reasoning_tokens")
    counts = {
        "input": read - cached - kept,
        "cached_input": cached,
        "cache_write": kept,
        "output": written - reasoning,
        "reasoning": reasoning,
    }
    created = _get(response, "created") or _get(response, "created_at")
    if timestamp is None and created is not None:
        timestamp = datetime.fromtimestamp(int(created), UTC)
    return _records(response, counts, customer, event_name, id, timestamp)


def anthropic_usage(
    message: object,
    customer: str,
    *,
    event_name: str = EVENT_NAME,
    id: str | None = None,
    timestamp: datetime | None = None,
) -> list[Record]:
    """What a message of Anthropic used; it has no time of its own, so give one, or it is now.

    Raises `ValueError` without usage or without an id.

    >>> message = {"id": "msg_1", "model": "claude", "usage": {"input_tokens": 10,
    ...     "cache_read_input_tokens": 4, "cache_creation_input_tokens": 0, "output_tokens": 5}}
    >>> [(one["id"], one["value"]) for one in anthropic_usage(message, "acme")]
    [('msg_1:input', 10), ('msg_1:cached_input', 4), ('msg_1:output', 5)]
    """
    usage = _usage(message)
    kept = _count(usage, "cache_creation_input_tokens")
    kept_1h = _count(_get(usage, "cache_creation"), "ephemeral_1h_input_tokens")
    counts = {
        "input": _count(usage, "input_tokens"),
        "cached_input": _count(usage, "cache_read_input_tokens"),
        "cache_write": kept - kept_1h,
        "cache_write_1h": kept_1h,
        "output": _count(usage, "output_tokens"),
    }
    return _records(message, counts, customer, event_name, id, timestamp)


def _records(
    answer: object,
    counts: Mapping[str, int],
    customer: str,
    event_name: str,
    id: str | None,
    timestamp: datetime | None,
) -> list[Record]:
    """A record for each kind of token that there is any of."""
    id = _get(answer, "id") if id is None else id
    if not id:
        raise ValueError("the answer has no id; give one that is the same when it is sent again")
    wrong = [kind for kind, count in counts.items() if count < 0]
    if wrong:
        raise ValueError(f"the usage of {id} has less {wrong[0]} than its details add up to")
    model = str(_get(answer, "model") or "unknown")
    return [
        {
            "id": f"{id}:{kind}",
            "event_name": event_name,
            "customer": customer,
            "value": count,
            "properties": {"model": model, "type": kind},
            "timestamp": timestamp,
        }
        for kind, count in counts.items()
        if count
    ]


def _usage(answer: object) -> object:
    usage = _get(answer, "usage")
    if usage is None:
        raise ValueError("the answer says nothing about usage")
    return usage


def _get(thing: object, name: str) -> Any:
    """A key of a mapping or an attribute of an object; None when it is not there."""
    return thing.get(name) if isinstance(thing, Mapping) else getattr(thing, name, None)


def _count(thing: object, name: str) -> int:
    """How many tokens; none when it is not said. Raises `ValueError` for what is no count."""
    count = _get(thing, name)
    if count is None:
        return 0
    if not isinstance(count, int) or isinstance(count, bool) or count < 0:
        raise ValueError(f"{name} must be a whole number of tokens, not {count!r}")
    return count
