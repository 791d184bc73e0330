"""Proof that nothing was touched: verifying the ledger, and noting where it stands."""

import asyncio

import strawberry

from app import checkpoints, verification
from app.clock import SystemClock
from app.reading import FINDINGS_LIMIT
from app.schema.context import Info
from app.schema.fields import resolver
from app.schema.scalars import BigIntText, InstantText, big_int
from app.verification import Verification


@strawberry.type(description="Something that is not as it was written.")
class VerificationFinding:
    """A finding as it is shown."""

    position: BigIntText | None = strawberry.field(
        description="Where in the ledger; null when it is about no single fact."
    )
    code: str = strawberry.field(description="What kind of finding it is, such as CHAIN_BROKEN.")
    message: str = strawberry.field(description="What was found, for people.")


@strawberry.type(description="What reading the whole ledger again showed.")
class LedgerVerification:
    """A verification as it is shown."""

    ok: bool = strawberry.field(description="Whether everything is as it was written.")
    events: BigIntText = strawberry.field(description="How many facts were read.")
    head_hash: str = strawberry.field(
        description="The chain's hash at the last of them, in hexadecimal."
    )
    projections_equal: bool = strawberry.field(
        description="Whether all that is read from the facts is the same when it is made anew."
    )
    findings: list[VerificationFinding] = strawberry.field(
        description="What is not as it was written, in the ledger's order: the first "
        f"{FINDINGS_LIMIT} with the same code."
    )

    @classmethod
    def of(cls, found: Verification) -> "LedgerVerification":
        """The verification as it is shown."""
        return cls(
            ok=found.ok,
            events=big_int(found.events),
            head_hash=found.head_hash,
            projections_equal=found.projections_equal,
            findings=[
                VerificationFinding(
                    position=None if one.position is None else big_int(one.position),
                    code=one.code,
                    message=one.message,
                )
                for one in found.findings
            ],
        )


@strawberry.type(
    description="Where the ledger stands, signed by its own key: keep it elsewhere, and it shows "
    "that a ledger was cut short or written anew."
)
class LedgerCheckpoint:
    """A checkpoint as it is shown."""

    ledger_id: strawberry.ID = strawberry.field(description="Which ledger it is.")
    position: BigIntText = strawberry.field(description="The position of the newest fact.")
    hash: str = strawberry.field(description="The chain's hash there, in hexadecimal.")
    at: InstantText = strawberry.field(description="When it was signed, by the machine's clock.")
    public_key: str = strawberry.field(
        description="The Ed25519 key that it is signed by, in hexadecimal."
    )
    signature: str = strawberry.field(
        description="The signature over the lines tallybook.checkpoint/1, ledger id, position, "
        "hash and instant, in hexadecimal."
    )


async def checkpoint(info: Info) -> LedgerCheckpoint:
    """Sign where the ledger stands."""
    ledger, now = info.context.ledger, SystemClock().now()
    taken = await asyncio.to_thread(checkpoints.take, ledger.store, ledger.directory, now)
    return LedgerCheckpoint(
        ledger_id=strawberry.ID(taken.ledger_id),
        position=big_int(taken.position),
        hash=taken.hash,
        at=InstantText(taken.at),
        public_key=taken.public_key,
        signature=taken.signature,
    )


@strawberry.type
class VerificationQueries:
    """Verifying the ledger."""

    @resolver(
        description="Read the whole ledger again: the chain of hashes, identities, everything that "
        "is read from the facts, and every issued invoice. It takes long on a large ledger and "
        "stops nobody from writing; only one runs at a time."
    )
    async def ledger_verification(self, info: Info) -> LedgerVerification:
        found = await asyncio.to_thread(verification.verify_open, info.context.ledger)
        return LedgerVerification.of(found)
