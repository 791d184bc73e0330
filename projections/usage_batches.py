"""Which batches of the ledger hold usage records of a customer: gathered when somebody asks.

No table says so, because writing one would cost every batch a row for each customer in it.
"""

from projections import current
from projections.tables import Views
from projections.usage_records import ROWS_PER_EVENT

_MATCHED = f"""WITH RECURSIVE hours (hour) AS (
    SELECT MIN(hour) FROM usage_records
    UNION ALL
    SELECT (SELECT MIN(hour) FROM usage_records WHERE hour>hours.hour) FROM hours
    WHERE hours.hour IS NOT NULL)
SELECT DISTINCT place/{ROWS_PER_EVENT} FROM hours CROSS JOIN usage_records AS records
    ON records.hour=hours.hour AND records.customer_ref=?"""
"""A look into each hour in which anybody used anything: the index has the customers beneath it."""


def holding(views: Views, customer: current.Found) -> list[int]:
    """Where the batches stand that hold records of a customer, in order.

    Voided ones too, and those that wait for their meter. The work is that of the customer's own
    records, and of the hours that there are.
    """
    keys = (customer.state.id, customer.state.external_id)
    voided = f"SELECT place/{ROWS_PER_EVENT} FROM usage_voided WHERE"
    rows = [
        *views.rows(_MATCHED, (customer.position,)),
        *views.rows("SELECT position FROM usage_unmatched WHERE customer IN (?,?)", keys),
        *views.rows(f"{voided} customer_ref=?", (customer.position,)),
        *views.rows(f"{voided} customer IN (?,?)", keys),
    ]
    return sorted({position for (position,) in rows})
