"""Every setting of a server, its default and what it means; the one reader of the environment."""

import os
from collections.abc import Mapping
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from app.logs import LEVELS, LogFormat
from projections.places import Place

PREFIX = "TALLYBOOK_"
MOST_GRACE = timedelta(days=30)
"""The longest time that late usage may be waited for."""

_HIDDEN = {"secret", "database", "webhook_url", "webhook_secret"}

MOST_BETWEEN_CHECKPOINTS = timedelta(days=30)
"""The longest time from one checkpoint to the next."""

Positive = Annotated[int, msgspec.Meta(ge=1)]
"""A number of which there is at least one."""


class Auth(StrEnum):
    """Who may ask: whoever has a key, or whoever reaches the server."""

    KEYS = "keys"
    OPEN = "open"


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """How a server runs. Each field is also an environment variable, `TALLYBOOK_` and its name."""

    host: str = "127.0.0.1"
    """Address to listen on."""
    port: int = 8000
    """Port to listen on."""
    data: Path = Path("tallybook-data")
    """Directory of the ledgers and of the keys that open them."""
    ledger: str = "main"
    """Which ledger of the data directory a command is about, and is served to who names none."""
    database: str | None = None
    """Where in PostgreSQL the first ledger is, and new ones are made: `postgresql://user@host/name`."""
    name: str = "main"
    """What a new ledger is called."""
    test_clock: str | None = None
    """Instant at which a new ledger's test clock stands; without it the system's clock is kept."""
    read_only: bool = False
    """Whether it only answers questions, beside the server that writes the same ledgers."""
    grace_period: str = "PT1H"
    """How long a draft with usage waits for late records: `PT0S` to `P30D`, as ISO 8601 has it."""
    checkpoint_period: str = "PT1H"
    """How often a signed checkpoint is noted beside the ledger; `PT0S` for never."""
    auth: Auth | None = None
    """`keys` or `open`; by default open on loopback until the first key is made, then keys."""
    secret: str | None = None
    """What keys are hashed under; by default the file `secret` in the data directory is."""
    key_requests: int = 10_000
    """Requests per second that a key may make in the long run; more are answered 429."""
    key_requests_burst: int = 20_000
    """Requests that a key may make at once."""
    key_cost: int = 20_000
    """GraphQL cost per second that a key may cause in the long run."""
    key_cost_burst: int = 100_000
    """GraphQL cost that a key may cause at once."""
    body_limit_bytes: int = 1_048_576
    """Largest GraphQL request body, and message of a websocket."""
    ingest_limit_bytes: int = 5_242_880
    """Largest body of a bulk usage request."""
    queue_limit: int = 1_000
    """Requests that may wait for the writer; more are answered 429."""
    live_limit: Positive = 1_000
    """Subscriptions at a time, and websockets; more are refused."""
    live_connection_limit: Positive = 100
    """Operations at a time on one websocket; more are refused."""
    live_init_seconds: Positive = 10
    """How long a new websocket may take to begin the GraphQL protocol."""
    live_ping_seconds: Positive = 20
    """How often who is told nothing is pinged, and how long a websocket may take to answer."""
    allowed_origins: str | None = None
    """Other origins whose pages may open websockets, as `https://app.example`, commas between."""
    log_format: LogFormat = LogFormat.TEXT
    """How log lines are written: `text` or `json`."""
    log_level: str = "info"
    """The least of what is logged: `debug`, `info`, `warning`, `error` or `critical`."""
    http: Literal["auto", "h11", "httptools"] = "auto"
    """Who reads requests: `httptools` where it is installed, or `h11`, which always is."""
    header_limit_bytes: Positive = 16_384
    """Largest request line and headers together."""
    header_deadline_seconds: Positive = 10
    """How long they may take to come, counted from the connection or from their first byte."""
    body_idle_seconds: Positive = 10
    """How long a body may pause."""
    body_deadline_seconds: Positive = 60
    """How long a whole body may take to come."""
    answer_deadline_seconds: Positive = 30
    """How long a client may take to take what it is answered."""
    keep_alive_seconds: Positive = 15
    """How long a connection may wait for its next request."""
    connections_limit: Positive = 500
    """Connections at a time; more are answered 503."""
    shutdown_seconds: Positive = 30
    """How long a server that is told to stop goes on with what it accepted."""
    trusted_documents: Literal["off", "allow", "only"] = "allow"
    """Whether documents may be named instead of sent: `off`, `allow`, or `only` trusted ones."""
    trusted_manifest: str | None = None
    """Manifest of trusted documents, or a directory of manifests; read at the start."""
    webhook_url: str | None = None
    """Where facts of the ledger are delivered to; without it nobody is told."""
    webhook_secret: str | None = None
    """What deliveries are signed with: `whsec_` and 24 to 64 random bytes in base64."""
    webhook_types: str = "invoice.*"
    """Which facts are delivered: types with commas between them, `invoice.*` for all of a kind."""

    def __repr__(self) -> str:
        """The settings without what is nobody else's business, for whoever prints them."""
        names = [name for name in self.__struct_fields__ if name not in _HIDDEN]
        return f"Settings({', '.join(f'{name}={getattr(self, name)!r}' for name in names)})"

    @property
    def place(self) -> Place | None:
        """Where in PostgreSQL the ledger is, if it is there. Raises `ValueError`."""
        return None if self.database is None else Place.of(self.database)

    @property
    def grace(self) -> timedelta:
        """The grace period. Raises `ValueError` for a text that is none."""
        return _duration("GRACE_PERIOD", self.grace_period, MOST_GRACE)

    @property
    def least_logged(self) -> str:
        """The log level. Raises `ValueError` for a text that is none."""
        level = self.log_level.lower()
        if level not in LEVELS:
            raise ValueError(f"{PREFIX}LOG_LEVEL: {level}: one of {', '.join(LEVELS)}")
        return level

    @property
    def between_checkpoints(self) -> timedelta:
        """The time between checkpoints, nothing for none. Raises `ValueError`."""
        return _duration("CHECKPOINT_PERIOD", self.checkpoint_period, MOST_BETWEEN_CHECKPOINTS)


def _duration(name: str, text: str, most: timedelta) -> timedelta:
    """The duration that a text is. Raises `ValueError` naming the variable."""
    try:
        duration = msgspec.convert(text, timedelta)
    except msgspec.ValidationError as error:
        raise ValueError(f"{PREFIX}{name}: {text}: {error}") from error
    if not timedelta() <= duration <= most:
        raise ValueError(f"{PREFIX}{name}: {text}: from PT0S to P{most.days}D")
    return duration


def from_environment(**given: object) -> Settings:
    """The settings: what was given, else the environment, else the default.

    Raises `ValueError` naming the variable whose text does not fit.
    """
    return settings_from(os.environ, **given)


def settings_from(environment: Mapping[str, str], **given: object) -> Settings:
    """The settings from an environment that the caller brings."""
    values: dict[str, object] = {}
    for field in msgspec.structs.fields(Settings):
        text = environment.get(PREFIX + field.name.upper())
        if given.get(field.name) is not None:
            values[field.name] = given[field.name]
        elif text:
            values[field.name] = _parse(field, text)
    return Settings(**values)  # type: ignore[arg-type]  # each value was made by its field's type


def _parse(field: msgspec.structs.FieldInfo, text: str) -> object:
    """The text as the field's type."""
    if field.type is Path:
        return Path(text)
    try:
        return msgspec.convert(text, field.type, strict=False)
    except msgspec.ValidationError as error:
        raise ValueError(f"{PREFIX}{field.name.upper()}: {error}") from error
