"""Check an exported ledger against a signed checkpoint, without Tallybook.

    python verifier.py log.jsonl checkpoint.json [--public-key checkpoint.pub]

This file stands alone: copy it, read it, or write another one by the rule in docs/decisions.md. It
needs Python 3.11 and the `cryptography` package. `log.jsonl` has an object on each line; those with
a `state` are events. It answers yes or no, with the first bad position, and exits with 0 or 1.
"""

import argparse
import base64
import hashlib
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key


class Bad(Exception):
    """Something is not as it was written; the message says what, and where."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Answer yes or no, and return the exit code."""
    parser = argparse.ArgumentParser(description="Check an exported ledger.")
    parser.add_argument("log", type=Path, help="the exported log, JSON Lines")
    parser.add_argument("checkpoint", type=Path, help="checkpoints, one on each line")
    parser.add_argument("--public-key", type=Path, help="the key to trust, as PEM")
    parsed = parser.parse_args(arguments)
    try:
        sys.stdout.write(f"yes: {verified(parsed.log, parsed.checkpoint, parsed.public_key)}\n")
        return 0
    except Bad as bad:
        sys.stdout.write(f"no: {bad}\n")
        return 1


def verified(log: Path, checkpoint: Path, public_key: Path | None) -> str:
    """What was found to be good. Raises `Bad`."""
    trusted = _key(public_key) if public_key else None
    lines = checkpoint.read_text(encoding="utf-8").splitlines()
    signed = sorted((_signed(line, trusted) for line in lines), key=lambda one: one["position"])
    if not signed:
        raise Bad(f"there is no checkpoint in {checkpoint}")
    wanted = {one["position"] for one in signed}
    position, head, heads = 0, bytes(32), {0: bytes(32).hex()}
    ledger, named = "", 1
    for event in _events(log):
        position += 1
        head = _hash(event, position, head)
        if position == 1 or event["topic"].startswith("ledger.forked/"):
            ledger, named = event["stream"], position  # a fork begins as the ledger it was made of
        if position in wanted:
            heads[position] = head.hex()
    if any(one["ledgerId"] != ledger for one in signed):
        raise Bad(f"position {named}: this is {ledger}, the checkpoint is of another ledger")
    for one in signed:
        at = one["position"]
        if at not in heads:
            raise Bad(f"position {position + 1}: the log ends before {at}, which was signed")
        if heads[at] != one["hash"]:
            raise Bad(f"position {at}: another hash was signed at {one['at']}")
    by = "the given key" if trusted else f"key {signed[-1]['publicKey']}, which you have to trust"
    return f"{position} events, head {head.hex()}; {len(signed)} checkpoints, signed by {by}"


def _events(log: Path) -> Iterator[dict[str, Any]]:
    """The events in the log. Raises `Bad` for a line that is none of its lines."""
    with log.open("rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                found = json.loads(line)
            except ValueError:
                raise Bad(f"line {number} of {log} is no JSON") from None
            if not isinstance(found, dict):
                raise Bad(f"line {number} of {log} is no object")
            if found.get("after"):
                raise Bad(f"the log begins after position {found['after']}, it must begin at 1")
            if "state" in found:
                yield found


def _hash(event: dict[str, Any], position: int, before: bytes) -> bytes:
    """The hash of an event after the one before it; it must be the one that stands beside it."""
    try:
        parts = (
            event["stream"].encode(),
            event["version"].to_bytes(8, "big"),
            event["topic"].encode(),
            base64.b64decode(event["state"], validate=True),
        )
        said = (event["position"], event["hash"])
    except (KeyError, ValueError, TypeError, AttributeError, OverflowError) as error:
        raise Bad(f"position {position}: the event cannot be read: {error}") from None
    digest = hashlib.sha256(b"tallybook.event/1" + before)
    for part in parts:
        digest.update(len(part).to_bytes(8, "big") + part)
    if said[0] != position:
        raise Bad(f"position {position} is missing: {said[0]} follows")
    if said[1] != digest.hexdigest():
        raise Bad(f"position {position}: the event does not hash to what stands beside it")
    return digest.digest()


def _signed(line: str, trusted: bytes | None) -> dict[str, Any]:
    """A checkpoint whose signature is good. Raises `Bad`."""
    at = ""
    try:
        found: dict[str, Any] = json.loads(line)
        at = found["at"]
        parts = (found["ledgerId"], found["position"], found["hash"], at)
        key, signature = bytes.fromhex(found["publicKey"]), bytes.fromhex(found["signature"])
        message = "".join(f"{part}\n" for part in ("tallybook.checkpoint/1", *parts))
        Ed25519PublicKey.from_public_bytes(key).verify(signature, message.encode())
    except (KeyError, ValueError, TypeError) as error:
        raise Bad(f"this is no checkpoint: {line[:200]} ({error})") from None
    except InvalidSignature:
        raise Bad(f"the signature of the checkpoint of {at} is not good") from None
    if trusted not in (None, key):
        raise Bad(f"the checkpoint of {at} is signed by another key")
    return found


def _key(path: Path) -> bytes:
    """The public key in a PEM file."""
    key = load_pem_public_key(path.read_bytes())
    if isinstance(key, Ed25519PublicKey):
        return key.public_bytes_raw()
    raise Bad(f"{path} is no Ed25519 key")


if __name__ == "__main__":
    sys.exit(main())
