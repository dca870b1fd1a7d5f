"""`all`, `exists`, `exists_one`, `map` and `filter` as calls of the runtime, whose bodies are functions of one item.

CEL's compiler has turned them into folds (https://github.com/google/cel-spec/blob/master/doc/langdef.md#macros); which
one a fold was is seen from its step.
"""

from collections.abc import Callable

from portico.policy.syntax import Call, Items, Loop, Name, Tree, below
from portico.translate.policy.pieces import NotInLuaError, Piece, of_type

Compile = Callable[[Tree], Piece]


def item_type(range_type: str) -> str:
    """The type of what a loop over such a range binds: of a map its keys."""
    kind, _, rest = range_type.partition("<")
    inner = rest.removesuffix(">")
    return inner if kind == "list" else inner.partition(",")[0] if kind == "map" else "dyn"


def _weight(tree: Tree) -> int:
    """What a turn costs beside what it reads: a call, or what may be caught, takes far longer than plain Lua."""
    heavy = isinstance(tree, Call) and (tree.function[0].isalpha() or tree.function in ("_&&_", "_||_", "_?_:_"))
    return (64 if heavy else 8) + sum(map(_weight, below(tree)))


def compiled(loop: Loop, range_: Piece, name: str, inner: Compile, type_: str) -> Piece:
    """The loop, where `inner` compiles what stands inside and `name` is what Lua calls the item."""
    uncertain = range_.fails or not range_.known

    def call(function: str, *bodies: Piece) -> Piece:
        parts = (range_.text, str(_weight(loop.step)), *(f"function({name}) return {body.text} end" for body in bodies))
        return Piece(f"{function}({', '.join(parts)})", type_, uncertain or any(body.fails for body in bodies))

    def truth(tree: Tree) -> Piece:
        return of_type(inner(tree), "bool")

    match loop.step:
        case Call(function="_&&_" | "_||_" as word, arguments=(Name(name=result), body)) if result == loop.accumulator:
            holds = truth(body)
            function = "P.op.all" if word == "_&&_" else "P.op.exists"
            return call(f"{function}_but_failed" if holds.fails else function, holds)
        case Call(function="_?_:_", arguments=(test, Call(function="_+_", arguments=(_, Items(items=(made,)))), _)):
            if made == Name(made.id, loop.variable):
                return call("P.op.filter", truth(test))
            return call("P.op.filter", truth(test), inner(made))
        case Call(function="_?_:_", arguments=(test, Call(function="_+_"), _)):
            return call("P.op.exists_one", truth(test))
        case Call(function="_+_", arguments=(Name(name=result), Items(items=(made,)))) if result == loop.accumulator:
            return call("P.op.each", inner(made))
    raise NotInLuaError("a loop of this form is not known")
