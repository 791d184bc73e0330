"""Where a ledger and its views are: a path of files, or a schema in a PostgreSQL database."""

import re
from pathlib import Path
from typing import TypeAlias, TypeVar, final

import msgspec

DEFAULT_SCHEMA = "tallybook"
_ADDRESS = re.compile(r"postgres(?:ql)?://(?:[^@/]*@)?(?P<server>[^/]*)(?P<database>.*)")
_SCHEMA = re.compile(r"[a-z][a-z0-9_]{0,39}")


class Unreachable(ConnectionError):
    """The database does not answer just now."""


class Unwritten(Unreachable):
    """The database went away before anything was written: it may be tried again."""


@final
class Place(msgspec.Struct, frozen=True):
    """A schema in a PostgreSQL database."""

    url: str
    schema: str
    log: str = ""
    """The schema of the ledger that this one was folded from; none for the ledger's own."""

    @classmethod
    def of(cls, address: str) -> "Place":
        """The place that an address names; its `schema=` says in which schema the ledger is.

        Raises `ValueError` for an address that is none.

        >>> Place.of("postgresql://me@db/bills?schema=acme&sslmode=require")
        the schema acme of db/bills
        >>> Place.of("postgresql://me:secret@/bills")
        the schema tallybook of localhost/bills
        """
        url, _, query = address.partition("?")
        if not _ADDRESS.fullmatch(url):
            raise ValueError("a database is named postgresql://user@host/name?schema=ledger")
        given = [part.partition("=") for part in query.split("&") if part]
        names = [value for name, _, value in given if name == "schema"] or [DEFAULT_SCHEMA]
        if len(names) > 1 or not _SCHEMA.fullmatch(names[0]):
            raise ValueError("schema= takes a letter, then up to 39 of a to z, 0 to 9 and _")
        rest = "&".join("".join(one) for one in given if one[0] != "schema")
        return cls(f"{url}?{rest}" if rest else url, names[0])

    def beside(self, what: str) -> "Place":
        """The schema beside this one that holds something else of the same ledger."""
        return Place(self.url, f"{self.schema}_{what}", self.log or self.schema)

    @property
    def turn(self) -> str:
        """The lock of whoever writes here."""
        return f"tallybook {self.schema}"

    def __repr__(self) -> str:
        # Read by people and written to logs, so without a password.
        found = _ADDRESS.fullmatch(self.url.partition("?")[0])
        server, database = (found["server"], found["database"]) if found else ("", "")
        return f"the schema {self.schema} of {server or 'localhost'}{database}"

    __str__ = __repr__


W = TypeVar("W", Path, Place)
Where: TypeAlias = Path | Place
"""Where the views of a ledger are."""
