"""How fast one key may ask: a bucket that empties as it is used and fills again with time.

A bucket holds what may be asked for at once, and is refilled evenly. What does not fit is refused
with the time after which it would, so that nobody has to guess.
"""

from dataclasses import dataclass, field
from time import monotonic

from app.keys import Key, Rates
from app.settings import Settings


@dataclass
class Bucket:
    """So many tokens at most, refilled at so many per second.

    >>> bucket = Bucket(maximum=2, rate=4, filled_at=0.0)
    >>> [bucket.take(1, now=0.0) for _ in range(3)]
    [0.0, 0.0, 0.25]
    >>> bucket.take(1, now=0.25)
    0.0
    """

    maximum: int
    rate: int
    filled_at: float = field(default_factory=monotonic)

    def __post_init__(self) -> None:
        self._tokens = float(self.maximum)

    def take(self, tokens: int, now: float | None = None) -> float:
        """Take tokens if they are there; otherwise take none, and say in how many seconds."""
        self._fill(monotonic() if now is None else now)
        if tokens <= self._tokens:
            self._tokens -= tokens
            return 0.0
        return (tokens - self._tokens) / self.rate

    def available(self, now: float | None = None) -> int:
        """How many whole tokens are there."""
        self._fill(monotonic() if now is None else now)
        return int(self._tokens)

    def _fill(self, now: float) -> None:
        passed = max(now - self.filled_at, 0.0)
        self._tokens = min(self._tokens + passed * self.rate, float(self.maximum))
        self.filled_at = now


@dataclass(frozen=True)
class Buckets:
    """The two buckets of a key: of requests, and of GraphQL cost."""

    requests: Bucket
    cost: Bucket


class Throttle:
    """The buckets of every key that asks, in this process."""

    def __init__(self, settings: Settings) -> None:
        self._default = Rates(
            requests=settings.key_requests,
            requests_burst=settings.key_requests_burst,
            cost=settings.key_cost,
            cost_burst=settings.key_cost_burst,
        )
        self._buckets: dict[str, Buckets] = {}

    def of(self, key: Key) -> Buckets:
        """The buckets of a key, full when it is new here. What a key allows never changes."""
        found = self._buckets.get(key.id)
        if found is None:
            found = self._buckets[key.id] = Buckets(
                Bucket(self._rate(key, "requests_burst"), self._rate(key, "requests")),
                Bucket(self._rate(key, "cost_burst"), self._rate(key, "cost")),
            )
        return found

    def _rate(self, key: Key, name: str) -> int:
        own: int | None = getattr(key.rates, name)
        default: int = getattr(self._default, name)
        return default if own is None else own
