"""Which batches of the ledger hold usage records of a customer: looked for when somebody asks.

No table says so, because writing one would cost every batch a row for each customer in it.
"""

from itertools import islice

from projections import current, usage_blocks
from projections.history import ALL
from projections.tables import Views
from projections.usage_blocks import ROWS_PER_EVENT


def holding(
    views: Views,
    customer: current.Found,
    *,
    after: int = 0,
    before: int = ALL,
    limit: int,
    backwards: bool = False,
) -> list[int]:
    """Where the batches stand that hold records of a customer, also voided and waiting ones.

    `after` and `before` are positions, both exclusive; `backwards` gives the last ones first. The
    work is to look into the batches that are passed over until there are enough.
    """
    counted = usage_blocks.events_of(views, customer.position, after, before, backwards=backwards)
    found = {*islice(counted, None if limit < 0 else limit)}
    order, keys = "DESC" if backwards else "ASC", (customer.state.id, customer.state.external_id)
    for source, whose in (
        ("position AS at FROM usage_unmatched", "customer IN (?,?)"),
        (f"place/{ROWS_PER_EVENT} AS at FROM usage_voided", "customer IN (?,?)"),
        (f"place/{ROWS_PER_EVENT} AS at FROM usage_voided", "customer_ref=?"),
    ):
        rows = views.rows(
            f"SELECT DISTINCT at FROM (SELECT {source} WHERE {whose}) AS theirs"
            f" WHERE at>? AND at<? ORDER BY at {order} LIMIT ?",
            [*(keys if "," in whose else [customer.position]), after, before, limit],
        )
        found |= {position for (position,) in rows}
    ordered = sorted(found, reverse=backwards)
    return ordered if limit < 0 else ordered[:limit]
