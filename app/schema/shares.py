"""What a part of a period is of a whole one, by which licences are prorated."""

import strawberry

from app.schema.scalars import DecimalText, Period, decimal_text, described
from domain.proration import ProrationGranularity, Share

__all__ = ["ProrationGranularity", "TimeShare"]

described(
    ProrationGranularity,
    "How time is shared out when a licence is billed for part of a period.",
    SECOND="Exactly.",
    DAY="By whole days of the local calendar.",
)


@strawberry.type(description="How much of a whole period a part of it is.")
class TimeShare:
    """A share of time as it is shown."""

    part: Period = strawberry.field(description="The part of the period.")
    whole: Period = strawberry.field(description="The whole period.")
    granularity: ProrationGranularity = strawberry.field(
        description="Whether both are measured in seconds or in local days."
    )
    elapsed: DecimalText = strawberry.field(description="How many the part has.")
    total: DecimalText = strawberry.field(description="How many the whole period has.")

    @classmethod
    def of(cls, share: Share) -> "TimeShare":
        """The share as it is shown."""
        return cls(
            part=Period.of(share.part),
            whole=Period.of(share.whole),
            granularity=share.granularity,
            elapsed=decimal_text(share.elapsed),
            total=decimal_text(share.total),
        )
