"""Signed checkpoints: at this time the ledger stood at this position, with this hash.

The chain shows that what is there fits together. That its end was cut off, or that all of it was
written anew, only something kept elsewhere can show: a line with the position, the hash and the
time, signed by a key of the ledger. Anybody can check one without Tallybook (`verifier.py`).
"""

import asyncio
import logging
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import (
    Ed25519PrivateKey,
    Ed25519PublicKey,
)

from app import stored
from app.clock import SystemClock
from app.store import Store
from domain.periods import format_instant

FILE = "checkpoints.jsonl"
PRIVATE_KEY = "checkpoint.key"
PUBLIC_KEY = "checkpoint.pub"

_TAG = "tallybook.checkpoint/1"
_log = logging.getLogger("tallybook.checkpoints")


class Checkpoint(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Where a ledger stood at a time; hash, public key and signature are in hexadecimal."""

    ledger_id: str
    position: int
    hash: str
    at: str
    public_key: str
    signature: str

    @property
    def signed(self) -> bytes:
        """The bytes under the signature: a tag and the parts, each on a line of its own."""
        return _message(self.ledger_id, self.position, self.hash, self.at)

    def line(self) -> bytes:
        """The checkpoint as a line of JSON."""
        return msgspec.json.encode(self) + b"\n"


def _message(*parts: object) -> bytes:
    return "".join(f"{part}\n" for part in (_TAG, *parts)).encode()


def take(store: Store, directory: Path, now: datetime) -> Checkpoint:
    """Sign where the ledger stands, with its own key, which is made at the first use."""
    key = _private_key(directory)
    position, hash = store.head()
    parts = (stored.ledger_id(store), position, hash.hex(), format_instant(now))
    return Checkpoint(
        ledger_id=parts[0],
        position=parts[1],
        hash=parts[2],
        at=parts[3],
        public_key=key.public_key().public_bytes_raw().hex(),
        signature=key.sign(_message(*parts)).hex(),
    )


def wrong(checkpoint: Checkpoint, public_key: bytes | None) -> str | None:
    """Why a checkpoint proves nothing; None when its signature is good.

    Without a key that is known otherwise, the one that it names itself is taken.
    """
    try:
        named, signature = map(bytes.fromhex, (checkpoint.public_key, checkpoint.signature))
        if public_key not in (None, named):
            return f"the checkpoint of {checkpoint.at} is signed by another key"
        Ed25519PublicKey.from_public_bytes(named).verify(signature, checkpoint.signed)
    except (ValueError, InvalidSignature):
        return f"the signature of the checkpoint of {checkpoint.at} is not good"
    return None


# --------------------------------------------------------------------------------------- files


def read(path: Path) -> list[Checkpoint]:
    """The checkpoints in a file, one a line; none when there is no file.

    Raises `ValueError` for a line that is no checkpoint.
    """
    if not path.exists():
        return []
    return list(_parsed(path, path.read_bytes().splitlines()))


def _parsed(path: Path, lines: Sequence[bytes]) -> Iterator[Checkpoint]:
    for number, line in enumerate(lines, start=1):
        try:
            yield msgspec.json.decode(line, type=Checkpoint)
        except ValueError as error:
            raise ValueError(f"{path}: line {number} is no checkpoint: {error}") from error


def note(store: Store, directory: Path, now: datetime) -> Checkpoint | None:
    """Append a checkpoint to the ledger's file, unless the last one says the same already."""
    path = directory / FILE
    lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
    whole = [line for line in lines if line.endswith(b"\n")]
    if whole and next(_parsed(path, whole[-1:])).position == store.head()[0]:
        return None
    checkpoint = take(store, directory, now)
    with path.open("r+b" if lines else "ab") as file:
        file.seek(sum(map(len, whole)))
        file.truncate()  # a line that a crash cut short
        file.write(checkpoint.line())
        file.flush()
        os.fsync(file.fileno())
    return checkpoint


async def keep_noting(store: Store, directory: Path, every: timedelta) -> None:
    """Append a checkpoint now and after each such time, for as long as a server runs."""
    clock = SystemClock()
    while True:
        try:
            await asyncio.to_thread(note, store, directory, clock.now())
        except Exception:  # noqa: BLE001  # whatever it was, the next one may go well
            _log.exception("could not append a checkpoint to %s", directory / FILE)
        await asyncio.sleep(every.total_seconds())


def public_key(directory: Path) -> bytes | None:
    """The public key that lies beside a ledger, if there is one. Raises `ValueError`."""
    path = directory / PUBLIC_KEY
    return read_public_key(path) if path.exists() else None


def read_public_key(path: Path) -> bytes:
    """The public key in a file. Raises `ValueError` when it is none."""
    key = serialization.load_pem_public_key(path.read_bytes())
    if isinstance(key, Ed25519PublicKey):
        return key.public_bytes_raw()
    raise ValueError(f"{path} is no Ed25519 key")


def _private_key(directory: Path) -> Ed25519PrivateKey:
    """The ledger's own key; a new one, readable by its owner only, when there is none."""
    path = directory / PRIVATE_KEY
    if not path.exists():
        made = Ed25519PrivateKey.generate()
        _write_once(path, _private_pem(made))
    key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    if isinstance(key, Ed25519PrivateKey):
        if not (directory / PUBLIC_KEY).exists():
            _write_once(directory / PUBLIC_KEY, _public_pem(key))
        return key
    raise ValueError(f"{path} is no Ed25519 key")


def _write_once(path: Path, content: bytes) -> None:
    """Write a file, whole or not at all; one that somebody wrote meanwhile stays."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.name)  # its mode is 0600
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(handle)
        with suppress(FileExistsError):
            path.hardlink_to(name)
    finally:
        Path(name).unlink()


def _private_pem(key: Ed25519PrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def _public_pem(key: Ed25519PrivateKey) -> bytes:
    return key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
