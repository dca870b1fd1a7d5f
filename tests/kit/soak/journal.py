"""What became of each transfer, which fault it met, and what that says of the edge. Pure; time is an argument."""

from collections import Counter, defaultdict
from dataclasses import dataclass, field

from kit.soak.plan import Wish


@dataclass
class Fault:
    """A fault and its consequences."""

    name: str
    endpoints: frozenset[str]
    """Those that may fail because of it."""
    began: float
    over: float | None = None
    """When they all served again."""


@dataclass(frozen=True)
class Outcome:
    """The end of a transfer."""

    wish: Wish
    endpoint: str
    began: float
    ended: float
    error: str = ""
    """Empty where it went as wished."""
    never_allowed: bool = False
    """Wrong bytes, or no end at all: no fault explains these."""


@dataclass
class Journal:
    """Of one soak."""

    outcomes: list[Outcome] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)

    def met(self, outcome: Outcome) -> list[Fault]:
        """The faults that may have touched a transfer."""
        return [
            fault
            for fault in self.faults
            if outcome.endpoint in fault.endpoints
            and fault.began <= outcome.ended
            and (fault.over is None or outcome.began <= fault.over)
        ]

    def violations(self) -> list[str]:
        """What must not be: transfers that failed with nothing to explain it, or in a way that nothing explains."""
        return [
            f"{outcome.endpoint}: {outcome.error} after {outcome.ended - outcome.began:.2f} s at {outcome.ended:.2f};"
            f" {outcome.wish}"
            for outcome in self.outcomes
            if outcome.never_allowed or (outcome.error and not self.met(outcome))
        ]

    def table(self) -> str:
        """A line a kind of fault: how often, seconds to serve again, transfers that met it, and what those saw."""
        seconds: dict[str, list[float]] = defaultdict(list)
        for fault in self.faults:
            seconds[fault.name].append((fault.over or fault.began) - fault.began)
        lines = [_HEAD]
        met = {id(outcome): {fault.name for fault in self._near(outcome)} for outcome in self.outcomes}
        for name in ("no fault", *sorted(seconds)):
            touched = [
                each for each in self.outcomes if (name in met[id(each)] if name in seconds else not met[id(each)])
            ]
            failed = Counter(each.error for each in touched if each.error)
            times = sorted(seconds.get(name, [0.0]))
            lines.append(
                f"{name:34} {len(seconds.get(name, ())):5} {times[len(times) // 2]:7.1f} {times[-1]:7.1f}"
                f" {len(touched):9} {sum(failed.values()):7}  {_listed(failed)}"
            )
        return "\n".join(lines)

    def _near(self, outcome: Outcome) -> list[Fault]:
        """The faults during a transfer, whether or not they may touch it."""
        return [
            fault
            for fault in self.faults
            if fault.began <= outcome.ended and (fault.over is None or outcome.began <= fault.over)
        ]

    def manners(self) -> str:
        """A line a manner and endpoint: transfers, failed ones, bytes."""
        groups: dict[tuple[str, str], list[Outcome]] = defaultdict(list)
        for outcome in self.outcomes:
            groups[outcome.endpoint, str(outcome.wish.manner)].append(outcome)
        return "\n".join(
            f"{endpoint:14} {manner:20} {len(group):7} {sum(bool(each.error) for each in group):6}"
            f" {sum(each.wish.up + each.wish.down for each in group) / 1e6:9.0f} MB"
            for (endpoint, manner), group in sorted(groups.items())
        )


_HEAD = f"{'during':34} {'times':>5} {'median':>7} {'longest':>7} {'transfers':>9} {'failed':>7}  what they saw"


def _listed(failed: "Counter[str]") -> str:
    return ", ".join(f"{count}x {error}" for error, count in failed.most_common(4))
