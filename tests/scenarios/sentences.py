"""How a kind of step is added to the language of the stories: its sentence, and what it does."""

import re
from collections.abc import Callable

Step = Callable[..., None]


class Untold(Exception):
    """A step names something that the story has not told of."""


class Sentences:
    """Sentences that a step may be, each with what it does; used as a decorator."""

    def __init__(self) -> None:
        self.known: list[tuple[re.Pattern[str], Step]] = []

    def __call__(self, pattern: str) -> Callable[[Step], Step]:
        """What carries out the steps of this form: the story, the instant, then the groups."""

        def keep(step: Step) -> Step:
            self.known.append((re.compile(pattern), step))
            return step

        return keep
