"""Where a ledger and its views are: a path of files, or a schema in a PostgreSQL database."""

import re
from pathlib import Path
from typing import TypeAlias, TypeVar, final

import msgspec

DEFAULT_SCHEMA = "tallybook"
# What stands in an address is what PostgreSQL takes, with no sign that could be taken another way:
# otherwise it would repeat in its errors what may be a part of a password.
_SIGN = r"(?:[^\x00-\x20\x7f@/?#:%,\[\]]|%(?!00)[0-9A-Fa-f]{2})"
_HOST = rf"(?:\[[0-9A-Fa-f:.]+\]|{_SIGN}*)(?::[0-9]*)?"
_ADDRESS = re.compile(
    rf"postgres(?:ql)?://(?:(?P<user>(?:{_SIGN}|,)*)(?::(?:{_SIGN}|,)*)?@)?"
    rf"(?P<server>{_HOST}(?:,{_HOST})*)(?P<database>(?:/{_SIGN}*)?)"
)
_OPTION = re.compile(rf"[a-z_]+=(?:{_SIGN}|[@/:,\[\]])*")
LONGEST_SCHEMA = 40
"""So many characters a schema's name may have: others are called like it, with more behind."""
_SCHEMA = re.compile(rf"[a-z][a-z0-9_]{{0,{LONGEST_SCHEMA - 1}}}")
_ASKED = (
    "a database is named postgresql://user@host/name?schema=ledger; "
    "a sign in a name or a password that means something there is written as %40 and the like"
)


class Unreachable(ConnectionError):
    """The database does not answer just now."""


class Unwritten(Unreachable):
    """The database went away before anything was written: it may be tried again."""


@final
class Place(msgspec.Struct, frozen=True):
    """A schema in a PostgreSQL database. It is printed without its password."""

    url: str
    schema: str
    log: str = ""
    """The schema of the ledger that this one was folded from; none for the ledger's own."""

    @classmethod
    def of(cls, address: str) -> "Place":
        """The place that an address names; its `schema=` says in which schema the ledger is.

        Raises `ValueError` for an address that is none, and repeats nothing of it.

        >>> Place.of("postgresql://me@db/bills?schema=acme&sslmode=require")
        the schema acme of db/bills
        >>> Place.of("postgresql://me:secret@/bills")
        the schema tallybook of localhost/bills
        """
        url, _, query = address.partition("?")
        options = [part for part in query.split("&") if part]
        if not _ADDRESS.fullmatch(url) or not all(map(_OPTION.fullmatch, options)):
            raise ValueError(_ASKED)
        given = [part.partition("=") for part in options]
        names = [value for name, _, value in given if name == "schema"] or [DEFAULT_SCHEMA]
        rest = "&".join("".join(one) for one in given if one[0] != "schema")
        if len(names) > 1:
            raise ValueError("schema= is there twice")
        return cls(f"{url}?{rest}" if rest else url, _checked(names[0]))

    def beside(self, what: str) -> "Place":
        """The schema beside this one that holds something else of the same ledger."""
        return Place(self.url, f"{self.schema}_{what}", self.log or self.schema)

    @property
    def turn(self) -> str:
        """The lock of whoever writes here."""
        return f"tallybook {self.schema}"

    def in_schema(self, name: str) -> "Place":
        """Another schema of the same database. Raises `ValueError` for what can be no name."""
        return Place(self.url, _checked(name))

    @property
    def address(self) -> str:
        """The address that names this place, with its password if it has one.

        >>> Place.of("postgresql://me:secret@db/bills?sslmode=require").address
        'postgresql://me:secret@db/bills?sslmode=require&schema=tallybook'
        """
        return f"{self.url}{'&' if '?' in self.url else '?'}schema={self.schema}"

    @property
    def shown(self) -> str:
        """The address as anybody may read it, without a password and without options.

        >>> Place.of("postgresql://me:secret@db/bills?password=secret&schema=acme").shown
        'postgresql://me@db/bills?schema=acme'
        """
        user, server, database = self._parts()
        return f"postgresql://{user}{'@' if user else ''}{server}{database}?schema={self.schema}"

    def same_as(self, other: "Place") -> bool:
        """Whether both are called the same, whoever connects to them and by whatever password.

        >>> Place.of("postgresql://me:old@db/a").same_as(Place.of("postgresql://you:new@db/a"))
        True
        """
        return str(self) == str(other)

    def _parts(self) -> tuple[str, str, str]:
        """Who connects, to which server and database."""
        found = _ADDRESS.fullmatch(self.url.partition("?")[0])
        return (found["user"] or "", found["server"], found["database"]) if found else ("", "", "")

    def __repr__(self) -> str:
        # Read by people and written to logs, so without a password.
        _, server, database = self._parts()
        return f"the schema {self.schema} of {server or 'localhost'}{database}"

    __str__ = __repr__


def _checked(schema: str) -> str:
    """The name of a schema. Raises `ValueError` for what can be none."""
    if not _SCHEMA.fullmatch(schema):
        raise ValueError("schema= takes a letter, then up to 39 of a to z, 0 to 9 and _")
    return schema


W = TypeVar("W", Path, Place)
Where: TypeAlias = Path | Place
"""Where the views of a ledger are."""
