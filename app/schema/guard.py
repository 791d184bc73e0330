"""What a document may ask for at most, looked at before anything else spends time on it.

Counted is what the document comes to when its fragments are written out. That may be millions of
fields in a few lines, so each fragment is looked at once and what it comes to is remembered.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from graphql import (
    DocumentNode,
    ExecutableDefinitionNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLError,
    InlineFragmentNode,
    OperationDefinitionNode,
    OperationType,
    SelectionSetNode,
    ValidationContext,
    ValidationRule,
)
from graphql.validation.validate import ValidationAbortedError

DOCUMENT_BYTES = 50_000
"""The longest document: the longest example here has 2,000 bytes, introspection about as many."""
TOKENS_LIMIT = 5_000
"""The most words and signs of a document; parsing takes as long as there are tokens."""
DEPTH_LIMIT = 15
"""How deep fields may lie: exactly as deep as the introspection that tools send goes."""
FIELDS_LIMIT = 1_000
"""The most fields; some of the rules after this one compare every field with every other."""
ALIASES_LIMIT = 50
"""The most renamed fields: by its aliases one document asks the same thing many times."""
REPEATS_LIMIT = 50
"""How often one field may be asked for in one place: each time is compared with each other one."""
DIRECTIVES_LIMIT = 50
"""The most directives; each is looked at where it stands, and few documents have any."""
MUTATIONS_LIMIT = 10
"""The most mutations of one operation: they wait for each other, each for its own commit."""
LARGEST = 2**31 - 1
"""The largest figure that an answer names; nested fragments come to hundreds of digits."""


class Counts(NamedTuple):
    """What a part of a document comes to, its fragments written out."""

    depth: int = 0
    fields: int = 0
    aliases: int = 0
    directives: int = 0
    roots: int = 0
    """The fields that lie beneath no other one."""

    def beneath(self, depth: int, inner: "Counts") -> "Counts":
        """With a fragment that is spread so many fields deep in here."""
        return Counts(
            depth=max(self.depth, depth + inner.depth),
            fields=self.fields + inner.fields,
            aliases=self.aliases + inner.aliases,
            directives=self.directives + inner.directives,
            roots=self.roots + (0 if depth else inner.roots),
        )


class Part(NamedTuple):
    """One definition by itself: its counts, and which fragments it spreads how many fields deep."""

    counts: Counts
    spreads: Sequence[tuple[str, int]]

    def with_twin(self, other: "Part") -> "Part":
        """With a definition of the same name."""
        return Part(self.counts.beneath(0, other.counts), [*self.spreads, *other.spreads])


def part(definition: ExecutableDefinitionNode) -> Part:
    """Look at one definition."""
    depth = fields = aliases = roots = 0
    directives = len(definition.directives or ())
    directives += sum(len(one.directives or ()) for one in definition.variable_definitions or ())
    spreads: list[tuple[str, int]] = []
    waiting = [(definition.selection_set, 0)]
    while waiting:
        selection_set, above = waiting.pop()
        for node in selection_set.selections:
            directives += len(node.directives or ())
            if isinstance(node, FragmentSpreadNode):
                spreads.append((node.name.value, above))
                continue
            below = above
            if isinstance(node, FieldNode):
                below += 1
                depth = max(depth, below)
                fields += 1
                aliases += node.alias is not None
                roots += above == 0
            if isinstance(node, FieldNode | InlineFragmentNode) and node.selection_set:
                waiting.append((node.selection_set, below))
    return Part(Counts(depth, fields, aliases, directives, roots), spreads)


class Counting:
    """Counts the definitions of one document, each fragment once."""

    def __init__(self, document: DocumentNode) -> None:
        self._document = document
        self._parts: dict[str, Part] = {}
        self._selections: dict[str, list[SelectionSetNode]] = {}
        self.circular = False
        for one in document.definitions:
            if isinstance(one, FragmentDefinitionNode):
                name, alone = one.name.value, part(one)
                twin = self._parts.get(name)  # not valid, but it is looked at all the same
                self._parts[name] = twin.with_twin(alone) if twin else alone
                self._selections.setdefault(name, []).append(one.selection_set)
        self._known: dict[str, Counts] = {}

    def total(self) -> tuple[Counts, int]:
        """What the whole document comes to, and the most mutations of an operation.

        Only one of its operations is carried out, but the rules look at all of them. Fragments that
        no operation spreads are looked at, too.
        """
        total = Counts()
        mutations = 0
        self._outermost: list[list[SelectionSetNode]] = []
        for one in self._document.definitions:
            if isinstance(one, OperationDefinitionNode):
                found = self._written_out(part(one))
                total = total.beneath(0, found)
                self._outermost.append([one.selection_set])
                if one.operation is OperationType.MUTATION:
                    mutations = max(mutations, found.roots)
        for name in self._parts:
            if name not in self._known:
                total = total.beneath(0, self._written_out(Part(Counts(), [(name, 0)])))
                self._outermost.append(self._selections[name])
        return total, mutations

    def _written_out(self, one: Part) -> Counts:
        """A definition with its fragments; whether they close a circle is noted.

        Fragments may lie deeper than calls may, so those that are not known yet wait in a list.
        """
        waiting = [name for name, _ in one.spreads]
        entered: set[str] = set()
        while waiting:
            name = waiting[-1]
            if name in self._known or name not in self._parts:
                waiting.pop()
                continue
            inner = dict.fromkeys(spread for spread, _ in self._parts[name].spreads)
            unknown = [one for one in inner if one in self._parts and one not in self._known]
            self.circular |= name in inner or any(one in entered for one in unknown)
            entered.add(name)
            if unknown and not self.circular:
                waiting += unknown
                continue
            self._known[name] = self._sum(self._parts[name])
            waiting.pop()
        return self._sum(one)

    def most_repeated(self) -> int:
        """How often a field is asked for in one place, at most. Only for what has no circles."""
        most, waiting = 0, list(self._outermost)
        while waiting:
            for fields in self._merged(waiting.pop()).values():
                most = max(most, len(fields))
                if inner := [one.selection_set for one in fields if one.selection_set]:
                    waiting.append(inner)
        return most

    def _merged(self, selections: list[SelectionSetNode]) -> dict[str, list[FieldNode]]:
        """The fields that stand in one place, by their names in the answer."""
        fields: dict[str, list[FieldNode]] = {}
        spread: set[str] = set()
        waiting = list(selections)
        while waiting:
            for node in waiting.pop().selections:
                if isinstance(node, FieldNode):
                    fields.setdefault((node.alias or node.name).value, []).append(node)
                elif isinstance(node, InlineFragmentNode):
                    waiting.append(node.selection_set)
                elif isinstance(node, FragmentSpreadNode) and node.name.value not in spread:
                    spread.add(node.name.value)
                    waiting += self._selections.get(node.name.value, ())
        return fields

    def _sum(self, one: Part) -> Counts:
        counts = one.counts
        for name, depth in one.spreads:
            counts = counts.beneath(depth, self._known.get(name, Counts()))
        return counts


class Guard(ValidationRule):
    """Refuses a document that asks for too much before any other rule has looked at it."""

    def __init__(self, context: ValidationContext) -> None:
        super().__init__(context)

    def enter_document(self, node: DocumentNode, *_: Any) -> None:
        """Count the document. Raises what ends the validation at once."""
        counting = Counting(node)
        counts, mutations = counting.total()
        if counting.circular:
            code = {"code": "GRAPHQL_VALIDATION_FAILED"}
            raise ValidationAbortedError("fragments spread each other in a circle", extensions=code)
        _hold("depth", counts.depth, DEPTH_LIMIT)
        _hold("fields", counts.fields, FIELDS_LIMIT)
        _hold("aliases", counts.aliases, ALIASES_LIMIT)
        _hold("directives", counts.directives, DIRECTIVES_LIMIT)
        _hold("mutations", mutations, MUTATIONS_LIMIT)
        _hold("repeats", counting.most_repeated(), REPEATS_LIMIT)


def _hold(what: str, found: int, limit: int) -> None:
    """Raises what ends the validation at once when a limit is exceeded."""
    if found > limit:
        error = too_much(what, limit, found)
        raise ValidationAbortedError(error.message, extensions=error.extensions)


SAYING: Mapping[str, str] = {
    "bytes": "the document has {found:,} bytes; at most {limit:,} are allowed",
    "depth": "the document is {found:,} fields deep; at most {limit:,} are allowed",
    "fields": "the document asks for {found:,} fields; at most {limit:,} are allowed",
    "aliases": "the document has {found:,} aliases; at most {limit:,} are allowed",
    "directives": "the document has {found:,} directives; at most {limit:,} are allowed",
    "repeats": "a field is asked for {found:,} times in one place; at most {limit:,} are allowed",
    "mutations": "the operation has {found:,} mutations; at most {limit:,} are allowed",
    "cost": "the operation would cost {found:,}; at most {limit:,} is allowed",
}
"""How each limit is named when it is exceeded."""


def too_much(what: str, limit: int, found: int) -> GraphQLError:
    """The error that names a limit and by how much it is exceeded."""
    found = min(found, LARGEST)
    extensions = {"code": "LIMIT_EXCEEDED", "limit": what, "allowed": limit, "found": found}
    return GraphQLError(SAYING[what].format(found=found, limit=limit), extensions=extensions)
