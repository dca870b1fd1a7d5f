"""A checked expression as Lua: an expression over the runtime `P` and the visit `v`.

CEL's compiler has found the type of every node, so most operators become Lua's own. Where a type is known only when the
value is there, the runtime looks; where evaluation may fail beside `&&` and `||`, it catches. The compiler allows 32
levels of nesting and 16,384 characters, so Lua's own limits (200 levels, 65,536 constants) are never met.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from portico.model.errors import NOT_SERVED, PorticoError
from portico.policy import syntax
from portico.policy.expressions import Expression
from portico.policy.results import result_roots
from portico.policy.syntax import Tree, Unsigned
from portico.policy.variables import variables
from portico.translate.policy import loops
from portico.translate.policy.calls import called, type_named
from portico.translate.policy.lua import literal, quoted
from portico.translate.policy.operators import OPERATORS, SIMPLE, choice, conjunction
from portico.translate.policy.pieces import NotInLuaError, Piece, call, of_type
from portico.translate.policy.regular_expressions import RegexRefused, lua_program
from portico.translate.policy.time_zones import zone

_MOST_LOOPS = 8
_WHOLE = (1 << 53) - 1
_MESSAGE = ("content_encoding", "content_type", "content_type.raw", "content_type.parameters", "cookies", "headers")
_URL = ("path", "query", "query_params", "raw_path", "scheme", "uri")
_CERTAIN = frozenset(
    {
        *("vars", "time.now", "req.method", "req.host", "req.user_agent", "req.version", "res.status_code"),
        *(f"conn.{name}" for name in ("client_ip", "client_port", "server_ip", "server_port")),
        *(f"endpoint.{name}" for name in ("addr", "host", "port", "protocol", "url")),
        *(f"{of}.{name}" for of in ("req", "res") for name in (*_MESSAGE, "location", "trailers")),
        *(f"req.url.{name}" for name in _URL),
    }
)
"""Variables that have a value in every visit that asks for them (runtime/variables.lua); reading others may fail."""
_SIZED = frozenset({"string", "bytes", "list", "map", "dyn"})


def lua_of(expression: Expression) -> str:
    """The Lua text of its value. Raises NOT_SERVED for what Lua cannot compute as CEL does."""
    return piece_of(expression).text


def piece_of(expression: Expression) -> Piece:
    """The same with its type, and whether it may fail."""
    try:
        piece = _Compiler(expression.syntax.types).of(expression.syntax.tree)
    except (NotInLuaError, RegexRefused) as reason:
        raise PorticoError(NOT_SERVED, f"{expression.text[:60]}: {reason}") from None
    if any(isinstance(node, syntax.Loop) for node in expression.syntax.walk()):
        return replace(piece, text=f"P.op.bounded(P.op.begin(), {piece.text})", fails=True)
    return piece


@dataclass(frozen=True, slots=True)
class _Compiler:
    """Compiles nodes; `bound` are the names that loops around them bind, as Lua knows them, with their types."""

    types: dict[int, str]
    bound: tuple[tuple[str, Piece], ...] = ()

    def of(self, node: Tree) -> Piece:
        """The value of a node."""
        match node:
            case syntax.Literal():
                return self._literal(node)
            case syntax.Name():
                return self._name(node)
            case syntax.Call():
                return self._call(node)
            case _:
                return self._made(node)

    def _made(self, node: syntax.Select | syntax.Items | syntax.Entries | syntax.Loop) -> Piece:
        match node:
            case syntax.Select():
                return self._select(node)
            case syntax.Items():
                items = tuple(map(self.of, node.items))
                return Piece(_list(items), self._type(node), any(item.fails for item in items))
            case syntax.Entries():
                return self._entries(node)
            case syntax.Loop():
                return self._loop(node)

    def _type(self, node: Tree) -> str:
        return self.types.get(node.id, "dyn")

    def _literal(self, node: syntax.Literal) -> Piece:
        match node.value:
            case None:
                return Piece("P.null", "null")
            case bool():
                return Piece(literal(node.value), "bool", constant=node.value)
            case bytes():
                return Piece(f"P.bytes({quoted(node.value)})", "bytes")
            case int():
                if abs(node.value) > _WHOLE:
                    raise NotInLuaError(f"{node.value} is no less than 2^53; whole numbers end before that here")
                kind = "uint" if isinstance(node.value, Unsigned) else "int"
                return Piece(literal(int(node.value)), kind, constant=node.value)
            case float():
                return Piece(_double(node.value), "double", constant=node.value)
        return Piece(literal(node.value), "string", constant=node.value)

    def _name(self, node: syntax.Name) -> Piece:
        if node.name in (names := dict(self.bound)):
            return names[node.name]
        if node.name in variables() or node.name in result_roots():
            return Piece(f"v:get({literal(node.name)})", self._type(node), node.name not in _CERTAIN)
        return type_named(node.name)

    def _select(self, node: syntax.Select) -> Piece:
        operand = self.of(node.operand)
        name = literal(node.field)
        if not node.test:
            return Piece(f"P.op.field({operand.text}, {name})", self._type(node), fails=True)
        if operand.kind == "map":
            return Piece(f"(({operand.text}).values[{name}] ~= nil)", "bool", operand.fails)
        return Piece(f"P.op.has({operand.text}, {name})", "bool", fails=True)

    def _entries(self, node: syntax.Entries) -> Piece:
        if node.message:
            raise NotInLuaError(f"{node.message} is a message; expressions of policies have none")
        keys = [self.of(key) for key, _ in node.entries]
        values = [self.of(value) for _, value in node.entries]
        text = f"P.Map.of({_table(keys)}, {_table(values)}, {len(keys)})"
        return Piece(text, self._type(node), bool(keys))

    def _call(self, node: syntax.Call) -> Piece:
        type_ = self._type(node)
        match node:
            case syntax.Call(function="_&&_" | "_||_"):
                return conjunction(
                    [self.of(side) for side in _chain(node, node.function)], every=node.function == "_&&_"
                )
            case syntax.Call(function="_?_:_", arguments=(condition, one, other)):
                return choice(self.of(condition), self.of(one), self.of(other), type_)
        nodes = (*((node.target,) if node.target else ()), *node.arguments)
        pieces = tuple(map(self.of, nodes))
        if node.function in OPERATORS:
            return self._operator(node.function, pieces, type_)
        pieces = tuple(map(self._charged, pieces))
        match node.function, nodes:
            case "matches", (_, syntax.Literal(value=str(pattern))):
                return self._matches(pieces[0], _program(pattern))
            case "matches", _:
                return self._matches(
                    pieces[0], call("P.regex.dynamic", (of_type(pieces[1], "string"),), "dyn", fails=True)
                )
            case _, (_, syntax.Literal(value=str(name))) if node.function.startswith("get") and node.target:
                pieces = (pieces[0], zone(name))
        return self._charged(called(node.function, pieces, type_))

    def _operator(self, name: str, pieces: tuple[Piece, ...], type_: str) -> Piece:
        deep = name == "@in" or (name in ("_==_", "_!=_") and not any(piece.kind in SIMPLE for piece in pieces))
        if deep:
            pieces = tuple(self._charged(piece) if name != "@in" or piece.kind != "map" else piece for piece in pieces)
        found = OPERATORS[name](pieces, type_)
        return self._charged(found) if name == "_+_" else found

    def _matches(self, whole: Piece, program: Piece) -> Piece:
        return call("P.regex.matches", (program, of_type(whole, "string")), "bool")

    def _charged(self, piece: Piece) -> Piece:
        """In a loop, what is read and made counts."""
        if not self.bound or piece.constant is not None or piece.kind not in _SIZED:
            return piece
        return replace(piece, text=f"P.op.charge({piece.text})")

    def _loop(self, node: syntax.Loop) -> Piece:
        if len(self.bound) >= _MOST_LOOPS:
            raise NotInLuaError(f"loops are nested more than {_MOST_LOOPS} deep")
        range_ = self.of(node.range)
        name = f"x{len(self.bound) + 1}"
        inner = replace(self, bound=(*self.bound, (node.variable, Piece(name, loops.item_type(range_.type)))))
        return loops.compiled(node, range_, name, inner.of, self._type(node))


def _program(pattern: str) -> Piece:
    """A regular expression, compiled once."""
    key, source = literal(f"matches {pattern}"), literal(lua_program(pattern))
    return Piece(f"(P.known[{key}] or P.learn({key}, {source}))", "dyn")


def _chain(node: Tree, function: str) -> Iterator[Tree]:
    """The sides of `a && b && c`, however they are paired."""
    match node:
        case syntax.Call() if node.function == function:
            for side in node.arguments:
                yield from _chain(side, function)
        case _:
            yield node


def _table(pieces: list[Piece]) -> str:
    return f"{{{', '.join(piece.text for piece in pieces)}}}"


def _list(items: tuple[Piece, ...]) -> str:
    return f"P.List.new({_table(list(items))}, {len(items)})"


def _double(value: float) -> str:
    if value != value or value in (float("inf"), float("-inf")):  # noqa: PLR0124  (NaN)
        return f"({value!r})".replace("inf", "1/0").replace("nan", "0/0")
    return literal(value)
