"""What is remembered of documents that are asked again and again."""

from graphql import DocumentNode

REMEMBERED = 128
"""So many documents, as many as whoever parses them remembers."""


class Same:
    """A document that is the same only as itself.

    To compare what two documents say takes as long as they are. It is not needed: whoever parses
    them remembers them by their texts.
    """

    __slots__ = ("document",)

    def __init__(self, document: DocumentNode) -> None:
        self.document = document

    def __hash__(self) -> int:
        return id(self.document)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Same) and other.document is self.document
