"""What comes late: usage that is recorded or corrected when its billing period is issued already.

Source: RULES, "Invoices".
"""

from enum import StrEnum


class LateUsage(StrEnum):
    """What becomes of usage that comes late: it is billed after all, or reported only."""

    ADJUST = "ADJUST"
    REPORT = "REPORT"
