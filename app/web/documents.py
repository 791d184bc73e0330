"""Trusted documents: a client names what it asks instead of sending it, or may ask nothing else.

A document is named by the SHA-256 of its text, or by the id that a client's tool gave it when it
wrote a manifest. Documents of a manifest are trusted. Where a server allows it, it also remembers
what clients register by themselves: a name that is not known, and then the same with its text.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

import msgspec

from app.offers import Refused
from app.schema.guard import DOCUMENT_BYTES
from app.settings import PREFIX, Settings

REGISTERED_LIMIT = 1_000
"""How many documents that clients registered are remembered; those asked for last stay."""

_VARIABLE = f"{PREFIX}TRUSTED_MANIFEST"
_SHA256 = "sha256:"

# Clients know these two by their words, and then send the text. Not all of them read an answer of
# another status.
_NOT_FOUND = ("PERSISTED_QUERY_NOT_FOUND", "PersistedQueryNotFound", 200)
_NOT_SUPPORTED = ("PERSISTED_QUERY_NOT_SUPPORTED", "PersistedQueryNotSupported", 200)


class Documents:
    """The documents that a server knows by their names."""

    def __init__(
        self,
        mode: Literal["off", "allow", "only"] = "allow",
        manifest: Mapping[str, str] | None = None,
    ) -> None:
        self._mode = mode
        self._trusted: dict[str, str] = {}
        for id, text in (manifest or {}).items():
            self._trusted |= {id.removeprefix(_SHA256): text, digest(_bytes(text)): text}
        self._registered: OrderedDict[str, bytes] = OrderedDict()

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """What the settings ask for. Raises `ValueError` when that cannot be."""
        mode, path = settings.trusted_documents, settings.trusted_manifest
        if path is None and mode == "only":
            raise ValueError(f"{_VARIABLE}: nothing could be asked without any trusted document")
        return cls(mode, read_manifest(Path(path)) if path and mode != "off" else None)

    @property
    def closed(self) -> bool:
        """Whether only trusted documents are carried out."""
        return self._mode == "only"

    def text_of(
        self, text: str | None, id: str | None, extensions: Mapping[str, Any] | None
    ) -> str | None:
        """The text of the document that is asked for, by itself or by a name; None without both.

        Raises `Refused` for a name that is not known, and for what is not trusted.
        """
        persisted = (extensions or {}).get("persistedQuery")
        if self._mode == "off":
            if text is None and (persisted is not None or id is not None):
                raise _refused(*_NOT_SUPPORTED)
            return text
        name = _name(id, persisted)
        if text is None:
            return None if name is None else self._named(name)
        self._sent(text, name)
        return text

    def _named(self, name: str) -> str:
        """The text of the document with this name."""
        trusted = self._trusted.get(name)
        if trusted is not None:
            return trusted
        if self.closed:
            raise _not_trusted()
        registered = self._registered.get(name)
        if registered is None:
            raise _refused(*_NOT_FOUND)
        self._registered.move_to_end(name)
        return registered.decode("utf-8", "surrogatepass")

    def _sent(self, text: str, name: str | None) -> None:
        """Look at a document that came as text, and remember it when it came with its name."""
        if name is None and not self.closed:
            return  # whichever it is, it may be carried out, and need not be remembered
        content = _bytes(text)
        known_by = digest(content)
        if name is not None and name != known_by and self._trusted.get(name) != text:
            message = "the name of the document is not the SHA-256 of its text"
            raise _refused("PERSISTED_QUERY_MISMATCH", message)
        if known_by in self._trusted:
            return
        if self.closed:
            raise _not_trusted()
        if name is not None and len(content) <= DOCUMENT_BYTES:  # a longer one is refused later
            self._registered[known_by] = content
            self._registered.move_to_end(known_by)
            if len(self._registered) > REGISTERED_LIMIT:
                self._registered.popitem(last=False)


def digest(content: bytes) -> str:
    """The name that a document has by itself.

    >>> digest(b"{ ledger { name } }")[:16]
    '207725ebc74307a6'
    """
    return hashlib.sha256(content).hexdigest()


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _not_trusted() -> Refused:
    message = "this server carries out trusted documents only, and this is none of them"
    return _refused("DOCUMENT_NOT_TRUSTED", message)


def _name(id: str | None, persisted: object) -> str | None:
    """The name that a document was given, if any; the two ways of giving one may not differ."""
    names: set[str] = set()
    if id is not None:
        names.add(id.removeprefix(_SHA256))
    if persisted is not None:
        match persisted:
            case {"version": int(1), "sha256Hash": str(name)}:
                names.add(name)
            case _:
                message = "extensions.persistedQuery must hold version 1 and a sha256Hash"
                raise _refused("BAD_REQUEST", message)
    if len(names) > 1:
        raise _refused("BAD_REQUEST", "documentId and sha256Hash name two documents")
    return next(iter(names), None)


def _refused(code: str, message: str, status: int = 400) -> Refused:
    # An answer to a GET that asks for more must not be kept for those who ask the same.
    return Refused(status, code, message, {"cache-control": "no-store"})


# ------------------------------------------------------------------------------------ manifests


class _Operation(msgspec.Struct):
    id: str
    body: str


class _Manifest(msgspec.Struct):
    """As Apollo's tools write it."""

    format: Literal["apollo-persisted-query-manifest"]
    version: Literal[1]
    operations: list[_Operation]


def read_manifest(path: Path) -> dict[str, str]:
    """The documents of a manifest by their ids, or of every `*.json` in a directory.

    A manifest is an object of ids and texts, as Relay and GraphQL Code Generator write it, or one
    of Apollo's. Raises `ValueError` when it is none, or when two documents have one id.
    """
    files = sorted(path.glob("*.json")) if path.is_dir() else [path]
    found: dict[str, str] = {}
    for file in files:
        for id, text in _read(file):
            if found.setdefault(id, text) != text:
                raise ValueError(f"{_VARIABLE}: {file}: another document has the id {id}")
    if not found:
        raise ValueError(f"{_VARIABLE}: {path}: there are no documents in it")
    return found


def _read(file: Path) -> list[tuple[str, str]]:
    try:
        content = msgspec.json.decode(file.read_bytes())
        if isinstance(content, dict) and "operations" in content:
            manifest = msgspec.convert(content, _Manifest)
            return [(one.id, one.body) for one in manifest.operations]
        return list(msgspec.convert(content, dict[str, str]).items())
    except OSError as error:
        raise ValueError(f"{_VARIABLE}: {file}: {error.strerror}") from error
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"{_VARIABLE}: {file}: {error}") from error
