"""What is wrong with a policy beyond its form: expressions, phases, what never runs, and what is never set."""

from collections.abc import Iterator, Mapping
from typing import Final

from portico.policy.actions import CustomResponse, ForwardInternal, RestrictIps, SetVars
from portico.policy.document import Action, Placed, Policy, Reading, Rule, read_policy
from portico.policy.expressions import Expression, Failed, Fault, check_expression, compile_expression, evaluate
from portico.policy.phases import Phase
from portico.policy.problems import Problem, Severity, did_you_mean
from portico.policy.syntax import Name, Select
from portico.policy.text import KeyPath

MAX_EXPRESSIONS: Final = 2_000
"""In one policy, interpolation included: what a policy may cost to read has a bound."""
_TRUTHS: Final = ("bool", "dyn")


def check_policy(policy: str | Mapping[str, object]) -> tuple[Policy, list[Problem]]:
    """The policy and everything that is wrong with it, by line. Never raises."""
    return check_reading(read_policy(policy))


def check_reading(reading: Reading) -> tuple[Policy, list[Problem]]:
    """The same of a policy that was read already."""
    _Check(reading).run()
    order = {severity: number for number, severity in enumerate(Severity)}
    unique = dict.fromkeys(reading.problems)
    return reading.policy, sorted(unique, key=lambda problem: (problem.mark, order[problem.severity]))


def errors(problems: list[Problem]) -> list[Problem]:
    """Those that refuse the policy."""
    return [problem for problem in problems if problem.severity is Severity.ERROR]


class _Check:
    """Walks a policy once, in the order in which it runs."""

    def __init__(self, reading: Reading) -> None:
        self._reading = reading
        self._set: set[str] = set()
        """Variables that a rule before this one may have set."""
        self._left = MAX_EXPRESSIONS

    def run(self) -> None:
        policy = self._reading.policy
        ended: Rule | None = None
        for phase in Phase:
            ended = self._phase(policy.rules(phase), ended)
        self._advise(policy)

    def _phase(self, rules: tuple[Rule, ...], ended: Rule | None) -> Rule | None:
        """Check them; the rule that always ends this phase and those behind it, if there is one."""
        responds = False
        for rule in rules:
            truth = self._truth(rule)
            if ended is not None:
                self._warn(rule.path, f"is never reached: {ended.place} always ends before it")
            elif truth is False:
                self._warn(rule.path, "never does anything: an expression of it is always false")
            stop = self._actions(rule)
            if ended is None and truth is True and stop is not None:
                ended = rule
                # Of these the rules of the response see what the visitor is to get.
                seen = isinstance(stop.config, ForwardInternal | CustomResponse)
                responds = rule.phase is Phase.HTTP_REQUEST and seen
        return None if responds else ended

    def _truth(self, rule: Rule) -> bool | None:
        """Whether its expressions are always true, or always false; None where it depends."""
        found = [self._expression_truth(rule, placed) for placed in rule.expressions]
        if any(truth is False for truth in found):
            return False
        return True if all(truth is True for truth in found) else None

    def _expression_truth(self, rule: Rule, placed: Placed) -> bool | None:
        expression = self._compiled(placed.text, placed.path, 0, rule.phase)
        if expression is None:
            return None
        if expression.type not in _TRUTHS:
            self._reading.problem(placed.path, f"is {expression.type}, but an expression of a rule must be bool")
            return None
        if not expression.constant:
            return None
        value = evaluate(expression, {})
        if isinstance(value, Failed):
            self._reading.problem(placed.path, f"always fails: {value.reason}")
        elif value is True:
            self._warn(placed.path, "is always true; without it the rule says the same", Severity.NOTE)
        elif value is False:
            self._warn(placed.path, "is always false")
        else:
            self._reading.problem(placed.path, "is no bool")
        return value if isinstance(value, bool) else None

    def _actions(self, rule: Rule) -> Action | None:
        """Check them; the one that ends the rule, if one always does."""
        ended: Action | None = None
        for action in rule.actions:
            if ended is not None:
                self._warn(action.path, f"is never reached: {ended.type} always ends before it")
            self._action(action)
            if ended is None and action.config.ends():
                ended = action
        return ended

    def _action(self, action: Action) -> None:
        config = (*action.path, "config")
        for path, text in action.config.expressions():
            retry = path == ("retry_condition",)
            at = self._reading.written((*config, *path))
            if text.startswith("${"):
                self._reading.problem(at, "is an expression itself; write it without ${}")
                continue
            found = self._compiled(text, at, 0, action.phase, retry=retry)
            if retry and found is not None and found.type not in _TRUTHS:
                self._reading.problem(at, f"is {found.type}, but must be bool")
        for path, template in action.config.templates():
            if isinstance(action.config, SetVars):
                assert isinstance(path[1], int)
                self._set.update(action.config.names()[: path[1]])
            for hole in template.holes:
                self._compiled(hole.text, self._reading.written((*config, *path)), hole.offset, action.phase)
        if isinstance(action.config, SetVars):
            self._set.update(action.config.names())
        if isinstance(action.config, RestrictIps) and action.config.lets_nobody_in():
            self._warn(action.path, "lets nobody in: who is not in `allow` is not let in")

    def _compiled(
        self, text: str, path: KeyPath, offset: int, phase: Phase, *, retry: bool = False
    ) -> Expression | None:
        self._left -= 1
        if self._left < 0:
            if self._left == -1:
                self._reading.problem((), f"the traffic policy has more than {MAX_EXPRESSIONS} expressions")
            return None
        found = compile_expression(text)
        faults: tuple[Fault, ...] = found if isinstance(found, tuple) else ()
        if isinstance(found, Expression):
            faults = (*check_expression(found, phase, retry=retry), *self._unset(found))
        for fault in faults:
            mark = self._reading.text.mark_in(path, offset + fault.offset)
            severity = Severity.ERROR if fault.fatal else Severity.WARNING
            self._reading.problem(path, fault.text, severity, mark)
        return found if isinstance(found, Expression) else None

    def _unset(self, expression: Expression) -> Iterator[Fault]:
        fields = [node for node in expression.syntax.walk() if isinstance(node, Select)]
        asked = {node.field for node in fields if node.test}
        for node in fields:
            if node.operand == Name(node.operand.id, "vars") and node.field not in self._set | asked:
                at = expression.syntax.positions.get(node.operand.id, 0)
                near = did_you_mean(node.field, self._set)
                yield Fault(at, f"no rule before this one sets vars.{node.field}{near}", fatal=False)

    def _warn(self, path: KeyPath, text: str, severity: Severity = Severity.WARNING) -> None:
        self._reading.problem(path, text, severity)

    def _advise(self, policy: Policy) -> None:
        rules = policy.on_http_request or policy.on_tcp_connect
        phase = Phase.HTTP_REQUEST if policy.on_http_request else Phase.TCP_CONNECT
        if not rules or any(not rule.expressions and self._ends(rule) for rule in rules):
            return
        if any(action.type == "terminate-tls" for action in policy.actions()) and len(list(policy.actions())) == 1:
            return
        text = "no rule always ends the request; a cloud endpoint's policy needs one that does, an agent's does not"
        self._reading.problem((phase.value,), text, Severity.NOTE)

    def _ends(self, rule: Rule) -> bool:
        return any(action.config.ends() for action in rule.actions)
