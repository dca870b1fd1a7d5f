"""Traffic policies that somebody sends: everything that is wrong is told at once, each thing with its line."""

from portico.model.errors import POLICY_INVALID, PorticoError


def check_policy_text(text: str, where: str) -> None:
    """Check the policy of a cloud endpoint, behind which no upstream stands.

    Raises PorticoError: POLICY_INVALID with all its problems, or NOT_SERVED for what this edge does not carry out.
    """
    # Imported here: its 150 ms of CPU time are for the first policy, not for every start.
    from portico.policy.check import check_policy, errors
    from portico.policy.served import served_policy

    policy, problems = check_policy(text)
    if wrong := errors(problems):
        lines = tuple(f"{problem.mark}: {problem}" for problem in wrong)
        message = "\n".join(f"{where}: {line}" for line in lines)
        raise PorticoError(POLICY_INVALID, message, problems=lines)
    served_policy(text)
    if not any(action.config.ends() for action in policy.actions()):
        raise PorticoError(
            POLICY_INVALID,
            f"{where}: it never ends a request, and no upstream stands behind a cloud endpoint",
            fix="Let a rule answer or forward: custom-response, redirect, deny, forward-internal, close-connection.",
        )
