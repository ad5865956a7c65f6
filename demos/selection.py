"""Filter expressions: a small part of Python's grammar, compiled to SQL, never executed.

    task == 'pick_place' and outcome in ['success', 'partial'] and factor.object == 'box'

Names are the catalog's columns, `factor.<name>`, `score.<metric>` and `hardware.<part>` (the
serial number that part had in the session). There are comparisons, `in`, `not in`, `and`, `or`,
`not`, numbers, strings, True, False, None and lists of them. Missing values equal None and nothing
else; a name alone fits where it has a value. Text is not compared with numbers.
"""

from __future__ import annotations

import ast
import hashlib
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from demos.catalog import COLUMNS
from demos.errors import BadExpression, StoreError, UnknownName

MAX_LENGTH = 4000
MAX_DEPTH = 50
_PREFIXES = {"factor": "factors", "score": "scores", "hardware": "hardware"}
_COMPARE: dict[type[ast.cmpop], str] = {
    ast.Eq: "is",
    ast.NotEq: "is not",
    ast.Lt: "<",
    ast.LtE: "<=",
    ast.Gt: ">",
    ast.GtE: ">=",
}
_HINT = (
    "compare columns with values, for example: task == 'pick_place' and duration_s > 5; "
    f"columns: {', '.join(COLUMNS)}, factor.<name>, score.<metric>, hardware.<part>"
)
Value = str | int | float | None


@dataclass(frozen=True, slots=True)
class Condition:
    """SQL of our own making with its values apart: nothing of the user's text is in `sql`."""

    sql: str
    values: tuple[Value, ...] = ()


def compile_where(text: str, known: Mapping[str, Collection[str]] | None = None) -> Condition:
    """Compile a filter expression; an empty one fits every episode.

    Raises BadExpression for anything but comparisons, UnknownName for a column there is not.
    `known` gives the names that occur per prefix (`factor`, `score`, `hardware`); where there are
    any, others are refused.
    """
    if not text.strip():
        return Condition("1")
    if len(text) > MAX_LENGTH:
        raise BadExpression(
            f"the expression has {len(text)} characters, at most {MAX_LENGTH} are read"
        ).with_hint("select in two steps, or by session")
    try:
        tree = ast.parse(text.strip(), mode="eval")
        return _Compiler(text, known or {}).condition(tree.body)
    except SyntaxError as error:
        place = f" at character {error.offset}" if error.offset else ""
        raise BadExpression(f"{text!r} is not an expression: {error.msg}{place}").with_hint(
            _HINT
        ) from error
    except (RecursionError, MemoryError, ValueError) as error:
        if isinstance(error, BadExpression):
            raise
        raise BadExpression(f"the expression cannot be read: {error}").with_hint(_HINT) from error


def column(name: str) -> str:
    """Return the SQL of one column by the name users give it. Raises UnknownName."""
    prefix, _, rest = name.partition(".")
    if rest and prefix in _PREFIXES:
        return _json(prefix, rest)
    if name in COLUMNS:
        return f'"{name}"'
    raise _unknown(name)


def _unknown(name: str, known: Mapping[str, Collection[str]] | None = None) -> UnknownName:
    """Offer the close columns, and the same name behind a prefix."""
    prefixed = [f"{prefix}.{name}" for prefix, names in (known or {}).items() if name in names]
    if prefixed:
        return UnknownName(f"no column called {name!r}").with_hint(f"write {prefixed[0]}")
    return UnknownName.among("column", name, COLUMNS)


def _json(prefix: str, key: str) -> str:
    if not re.fullmatch(r"\w+", key):
        raise UnknownName(f"{prefix}.{key} is not a name").with_hint(
            "names have letters, digits and underscores"
        )
    return f"json_extract({_PREFIXES[prefix]}, '$.{key}')"


def splits_of(groups: list[str], shares: dict[str, float]) -> list[str]:
    """Give each group a split by the hash of its name, largest shares first to fill.

    Raises StoreError where the shares do not sum to one.
    """
    if abs(sum(shares.values()) - 1.0) > 1e-6 or min(shares.values()) < 0:
        raise StoreError(f"the shares {shares} must be positive and sum to 1").with_hint(
            "for example --split train=0.8,val=0.2"
        )
    order = sorted(set(groups), key=lambda group: hashlib.sha256(group.encode()).hexdigest())
    sizes = {group: groups.count(group) for group in order} if len(order) < len(groups) else {}
    filled = dict.fromkeys(shares, 0.0)
    of_group: dict[str, str] = {}
    for group in order:
        lacking = {name: share * len(groups) - filled[name] for name, share in shares.items()}
        chosen = max(lacking, key=lambda name: lacking[name])
        of_group[group] = chosen
        filled[chosen] += sizes.get(group, 1)
    return [of_group[group] for group in groups]


class _Compiler:
    def __init__(self, text: str, known: Mapping[str, Collection[str]]) -> None:
        self.text, self.known = text, known

    def condition(self, node: ast.expr, depth: int = 0) -> Condition:
        if depth > MAX_DEPTH:
            raise BadExpression(f"the expression is nested deeper than {MAX_DEPTH}").with_hint(
                _HINT
            )
        match node:
            case ast.BoolOp(op=op, values=parts):
                conditions = [self.condition(part, depth + 1) for part in parts]
                joint = " and " if isinstance(op, ast.And) else " or "
                sql = joint.join(f"({condition.sql})" for condition in conditions)
                return Condition(sql, tuple(v for c in conditions for v in c.values))
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                inner = self.condition(operand, depth + 1)
                return Condition(f"not coalesce(({inner.sql}), 0)", inner.values)
            case ast.Compare():
                return self._comparison(node)
            case ast.Name() | ast.Attribute():
                return Condition(f"coalesce({self._column(node)}, 0) not in (0, '')")
            case _:
                raise self._refused(node)

    def _comparison(self, node: ast.Compare) -> Condition:
        sides = [node.left, *node.comparators]
        parts: list[Condition] = []
        for left, operator, right in zip(sides, node.ops, sides[1:], strict=False):
            if isinstance(operator, ast.In | ast.NotIn):
                parts.append(self._membership(left, operator, right))
                continue
            if type(operator) not in _COMPARE:
                raise self._refused(node)
            self._refuse_mixed(left, right)
            a, b = self._operand(left), self._operand(right)
            sql = f"{a.sql} {_COMPARE[type(operator)]} {b.sql}"
            parts.append(Condition(sql, a.values + b.values))
        return Condition(
            " and ".join(f"({part.sql})" for part in parts),
            tuple(value for part in parts for value in part.values),
        )

    def _membership(self, left: ast.expr, operator: ast.cmpop, right: ast.expr) -> Condition:
        needle = self._operand(left)
        if isinstance(right, ast.List | ast.Tuple | ast.Set):
            items = [self._constant(item) for item in right.elts]
            marks = ", ".join("?" * len(items))
            sql = f"coalesce({needle.sql} in ({marks}), 0)"
            condition = Condition(sql, (*needle.values, *items))
        elif isinstance(right, ast.Name | ast.Attribute):
            # 'wrench.left_wrist' in streams: a word in a list of words
            haystack = self._column(right)
            sql = f"instr(' ' || coalesce({haystack}, '') || ' ', ' ' || {needle.sql} || ' ') > 0"
            condition = Condition(sql, needle.values)
        else:
            raise self._refused(right)
        if isinstance(operator, ast.NotIn):
            return Condition(f"not ({condition.sql})", condition.values)
        return condition

    def _refuse_mixed(self, left: ast.expr, right: ast.expr) -> None:
        kinds = {self._kind(left), self._kind(right)}
        if kinds == {"text", "number"}:
            parts = [ast.get_source_segment(self.text.strip(), node) for node in (left, right)]
            raise BadExpression(f"{parts[0]} and {parts[1]} are text and a number").with_hint(
                "compare numbers with numbers, and text with text in quotes"
            )

    def _kind(self, node: ast.expr) -> str:
        """Say whether a side is text, a number, or may be either."""
        match node:
            case ast.Name(id=name) if name in COLUMNS:
                return "text" if COLUMNS[name].startswith("text") else "number"
            case ast.Attribute(value=ast.Name(id="score")):
                return "number"
            case ast.Attribute(value=ast.Name(id="hardware")):
                return "text"
            case ast.Constant(value=str()):
                return "text"
            case ast.Constant(value=bool() | int() | float()) | ast.UnaryOp():
                return "number"
        return ""

    def _operand(self, node: ast.expr) -> Condition:
        if isinstance(node, ast.Name | ast.Attribute):
            return Condition(self._column(node))
        return Condition("?", (self._constant(node),))

    def _column(self, node: ast.expr) -> str:
        match node:
            case ast.Name(id=name):
                if name not in COLUMNS:
                    raise _unknown(name, self.known)
                return column(name)
            case ast.Attribute(value=ast.Name(id=prefix), attr=key) if prefix in _PREFIXES:
                known = self.known.get(prefix, ())
                if known and key not in known:
                    raise UnknownName.among(prefix, key, known)
                return _json(prefix, key)
        raise self._refused(node)

    def _constant(self, node: ast.expr) -> Value:
        match node:
            case ast.Constant(value=bool() as truth):
                return int(truth)
            case ast.Constant(value=str() | int() | float() | None as value):
                return self._storable(value, node)
            case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as value)):
                return self._storable(-value, node)
        raise self._refused(node)

    def _storable(self, value: Value, node: ast.expr) -> Value:
        if isinstance(value, int) and not -(2**63) <= value < 2**63:
            raise self._refused(node)
        return value

    def _refused(self, node: ast.expr) -> BadExpression:
        part = ast.get_source_segment(self.text.strip(), node) or type(node).__name__
        return BadExpression(f"{part!r} is not allowed in a filter").with_hint(_HINT)
