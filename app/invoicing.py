"""Draft and issue invoices within the transaction of a group, as due work does."""

import hashlib
from datetime import datetime, timedelta

import msgspec

from app import commands
from app.commands import Done
from app.writer import Group
from domain.invoices import GRACE_DEFAULT, DraftInvoice, FinalizeInvoice, Invoice, Reason
from projections import current


def draft(
    group: Group,
    subscription_id: str,
    at: datetime,
    reason: Reason,
    key: str,
    *,
    grace: timedelta = GRACE_DEFAULT,
    actor: str | None = None,
) -> Done | None:
    """Draft what a subscription owes at an instant; None when that is nothing.

    A key that was used before answers what came of it then, whatever the grace period was.
    Raises `Rejected`.
    """
    command = DraftInvoice(subscription_id=subscription_id, at=at, reason=reason, grace=grace)
    done = commands.handle(group, command, key, _digest(subscription_id, at, reason), actor)
    drafted = current.get(group.views, Invoice, done.subject)
    return done if drafted is not None else None


def finalize(group: Group, invoice_id: str, key: str, *, actor: str | None = None) -> Done:
    """Issue a draft as it stands now; one that is issued stays as it is. Raises `Rejected`."""
    command = FinalizeInvoice(invoice_id=invoice_id)
    return commands.handle(group, command, key, _digest(invoice_id), actor)


def _digest(*content: object) -> bytes:
    """What makes two orders the same."""
    return hashlib.blake2b(msgspec.msgpack.encode(content), digest_size=16).digest()
