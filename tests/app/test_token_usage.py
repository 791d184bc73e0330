"""Answers of language models become usage: every token in one record, each answer once."""

import json
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.client import Client
from app.token_usage import Record, anthropic_usage, openai_usage
from tests.app.sending import Counting, counting

__all__ = ["counting"]

CHAT = {
    "id": "chatcmpl-B9MBs8CjcvOU2jLn4n570S5qMJKcT",
    "object": "chat.completion",
    "created": 1741569952,
    "model": "gpt-5.6-2026-03-01",
    "choices": [
        {"index": 0, "message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}
    ],
    "usage": {
        "prompt_tokens": 2006,
        "completion_tokens": 300,
        "total_tokens": 2306,
        "prompt_tokens_details": {"cached_tokens": 1920, "cache_write_tokens": 64},
        "completion_tokens_details": {"reasoning_tokens": 120, "audio_tokens": None},
    },
    "service_tier": "default",
}
RESPONSE = {
    "id": "resp_67ccd2bed1ec8190b14f964abc0542670bb6a6b452d3795b",
    "object": "response",
    "created_at": 1741476542.0,
    "status": "completed",
    "model": "gpt-5.6",
    "output": [],
    "usage": {
        "input_tokens": 328,
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": 52,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 380,
    },
}
MESSAGE = {
    "id": "msg_013Zva2CMHLNnXjNJJKqJ2EF",
    "type": "message",
    "role": "assistant",
    "model": "claude-sonnet-4-5-20250929",
    "content": [{"type": "text", "text": "Hi"}],
    "stop_reason": "end_turn",
    "usage": {
        "input_tokens": 21,
        "cache_creation_input_tokens": 556,
        "cache_read_input_tokens": 188086,
        "cache_creation": {"ephemeral_5m_input_tokens": 456, "ephemeral_1h_input_tokens": 100},
        "output_tokens": 393,
        "output_tokens_details": {"thinking_tokens": 41},
        "server_tool_use": None,
        "service_tier": "standard",
    },
}
EMBEDDING = {
    "object": "list",
    "data": [],
    "model": "text-embedding-3-small",
    "usage": {"prompt_tokens": 8, "total_tokens": 8},
}


def as_object(answer: dict[str, Any]) -> Any:
    """The answer with attributes, like those of the providers' packages."""
    return json.loads(json.dumps(answer), object_hook=lambda pairs: SimpleNamespace(**pairs))


def by_kind(records: list[Record]) -> dict[str, int]:
    """How many tokens there are of each kind."""
    return {record["properties"]["type"]: record["value"] for record in records}


def test_a_chat_completion() -> None:
    records = openai_usage(CHAT, "acme")
    assert by_kind(records) == {
        "input": 22,
        "cached_input": 1920,
        "cache_write": 64,
        "output": 180,
        "reasoning": 120,
    }
    assert records[0] == {
        "id": "chatcmpl-B9MBs8CjcvOU2jLn4n570S5qMJKcT:input",
        "event_name": "llm_tokens",
        "customer": "acme",
        "value": 22,
        "properties": {"model": "gpt-5.6-2026-03-01", "type": "input"},
        "timestamp": datetime(2025, 3, 10, 1, 25, 52, tzinfo=UTC),
    }


def test_a_response() -> None:
    records = openai_usage(RESPONSE, "acme", event_name="tokens")
    assert by_kind(records) == {"input": 328, "output": 52}
    assert {record["event_name"] for record in records} == {"tokens"}
    assert {record["timestamp"].isoformat() for record in records} == {"2025-03-08T23:29:02+00:00"}


def test_a_message() -> None:
    records = anthropic_usage(MESSAGE, "acme")
    assert by_kind(records) == {
        "input": 21,
        "cached_input": 188086,
        "cache_write": 456,
        "cache_write_1h": 100,
        "output": 393,
    }
    assert {record["properties"]["model"] for record in records} == {"claude-sonnet-4-5-20250929"}
    assert {record["timestamp"] for record in records} == {None}


def test_an_embedding_needs_an_id_of_yours() -> None:
    with pytest.raises(ValueError, match="no id"):
        openai_usage(EMBEDDING, "acme")
    (record,) = openai_usage(EMBEDDING, "acme", id="document-7")
    assert (record["id"], record["value"]) == ("document-7:input", 8)


@pytest.mark.parametrize("answer", [CHAT, RESPONSE])
def test_objects_are_read_like_json(answer: dict[str, Any]) -> None:
    assert openai_usage(as_object(answer), "acme") == openai_usage(answer, "acme")
    assert anthropic_usage(as_object(MESSAGE), "acme") == anthropic_usage(MESSAGE, "acme")


@pytest.mark.parametrize(
    ("usage", "message"),
    [
        (None, "says nothing about usage"),
        ({"input_tokens": 1, "input_tokens_details": {"cached_tokens": 2}}, "less input"),
        ({"input_tokens": 1.5}, "whole number"),
        ({"output_tokens": -1}, "whole number"),
        ({"output_tokens": True}, "whole number"),
    ],
)
def test_usage_that_cannot_be_is_refused(usage: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        openai_usage({"id": "resp_1", "usage": usage}, "acme")


counts = st.integers(0, 10**9)


@given(counts, counts, counts, counts, counts)
def test_no_token_is_lost_or_doubled(
    read: int, cached: int, kept: int, kept_1h: int, written: int
) -> None:
    openai = {
        "prompt_tokens": read + cached + kept,
        "completion_tokens": written + kept_1h,
        "prompt_tokens_details": {"cached_tokens": cached, "cache_write_tokens": kept},
        "completion_tokens_details": {"reasoning_tokens": kept_1h},
    }
    anthropic = {
        "input_tokens": read,
        "cache_read_input_tokens": cached,
        "cache_creation_input_tokens": kept + kept_1h,
        "cache_creation": {"ephemeral_1h_input_tokens": kept_1h},
        "output_tokens": written,
    }
    for records in (
        openai_usage({"id": "a", "usage": openai}, "acme"),
        anthropic_usage({"id": "a", "usage": anthropic}, "acme"),
    ):
        assert (
            sum(record["value"] for record in records) == read + cached + kept + kept_1h + written
        )
        assert len({record["id"] for record in records}) == len(records)


def test_an_answer_that_is_sent_twice_counts_once(counting: Counting) -> None:
    name, customer = counting.customer()
    at = datetime(2026, 1, 1, tzinfo=UTC)
    for _ in range(2):  # a client each, as after a crash
        with Client(counting.url) as client:
            for record in (
                *openai_usage(CHAT, name, event_name="sent_tokens"),
                *openai_usage(RESPONSE, name, event_name="sent_tokens"),
                *anthropic_usage(MESSAGE, name, event_name="sent_tokens", timestamp=at),
            ):
                client.record(**record)
        assert not client.problems
    tokens = 2306 + 380 + 21 + 188086 + 556 + 393
    assert counting.counted(customer) == (12, str(tokens))


def test_a_message_that_is_sent_twice_without_its_time_counts_once(counting: Counting) -> None:
    name, customer = counting.customer()
    message = {**MESSAGE, "id": "msg_without_time"}
    for statuses in (set(), {"CONFLICT"}):
        with Client(counting.url) as client:
            for record in anthropic_usage(message, name, event_name="sent_tokens"):
                client.record(**record)
        assert {problem.status for problem in client.problems} == statuses
    assert counting.counted(customer) == (5, str(21 + 188086 + 556 + 393))
