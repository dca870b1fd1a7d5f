"""`portico policy`: what is wrong with a traffic policy, and what it would do to a request."""

import json
import re
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from portico.cli.failures import FAILED
from portico.cli.groups import Group
from portico.model.errors import CONFIG_MISSING, OPTION_INVALID, POLICY_EXTRA_MISSING, POLICY_INVALID, PorticoError
from portico.yaml_source import read_text

if TYPE_CHECKING:
    from portico.policy.document import Policy
    from portico.policy.explain import Explanation, Ran
    from portico.policy.problems import Problem
    from portico.policy.request import Visit

_METHOD: Final = re.compile(r"[A-Z][A-Z-]*")
_COLOURS: Final = {"error": "red", "warning": "yellow", "note": "blue"}
_format = click.option(
    "--format", "form", type=click.Choice(["text", "json"]), default="text", help="How to print what was found."
)


@click.group(cls=Group)
def policy() -> None:
    """Check and explain traffic policies.

    The language is in `docs/guides/traffic-policy.md`, every action in `docs/reference/traffic-policy.md`.
    """


@policy.command()
@click.argument("file", metavar="FILE")
@_format
def check(file: str, form: str) -> int:
    """Tell everything that is wrong with a traffic policy, with line and column; FILE may be `-`.

    Exits with 1 if there are errors. Warnings are about rules that will not do what they seem to; notes are advice.
    """
    name, checked, problems = _checked(file)
    failed = any(problem.severity == "error" for problem in problems)
    refused = "" if failed else _refused(checked)
    if form == "json":
        shown = [_as_json(problem) for problem in problems]
        click.echo(json.dumps({"file": name, "valid": not failed, "problems": shown, "refused": refused}, indent=2))
    else:
        for problem in problems:
            severity = click.style(problem.severity, fg=_COLOURS[problem.severity])
            click.echo(f"{name}:{problem.mark}: {severity}: {problem}")
        click.echo(_summary(name, problems))
        if refused:
            click.echo(f"edges of this release refuse it: {refused}")
    return FAILED if failed else 0


@policy.command()
@click.argument("file", metavar="FILE")
@click.option("--request", "request", required=True, metavar="'[METHOD] URL'", help="The request to explain.")
@click.option("--method", metavar="METHOD", help="Its method, if not in --request.")
@click.option("-H", "--header", "headers", multiple=True, metavar="NAME:VALUE", help="A header of it.")
@click.option("--client-ip", default="192.0.2.1", metavar="ADDRESS", help="Where it comes from.")
@click.option("--body", metavar="TEXT", help="Its body.")
@click.option("--response", "status", type=click.IntRange(100, 599), default=200, metavar="STATUS", help="The answer.")
@click.option("--response-header", "answered", multiple=True, metavar="NAME:VALUE", help="A header of the answer.")
@click.option("--json", "facts", metavar="FILE", help='More variables, as JSON: {"conn": {"tls": {"sni": "…"}}}.')
@_format
def explain(file: str, form: str, **parameters: Any) -> int:
    """Tell which rules would fire for a request, what they do, and what the visitor would get; FILE may be `-`.

    Nothing is sent anywhere: what only the world outside knows (a key server, a counter, a person) is assumed, and said
    to be. Secrets are never shown.

    \b
    portico policy explain policy.yml --request 'GET https://app.example.com/admin' -H 'Accept: text/html'
    """
    from portico.policy.explain import explain as explained

    name, checked, problems = _checked(file)
    wrong = [problem for problem in problems if problem.severity == "error"]
    if wrong:
        raise PorticoError(POLICY_INVALID, "\n".join(f"{name}:{problem.mark}: {problem}" for problem in wrong))
    found = explained(checked, _visit(**parameters))
    if form == "json":
        click.echo(json.dumps(_explained(found), indent=2, default=str, ensure_ascii=False))
        return 0
    for ran in found.rules:
        _show(ran)
    click.echo(f"{'assuming this, ' if found.assumed else ''}{found}")
    if found.ending and found.ending.body:
        click.echo(textwrap.indent(found.ending.body, "  "))
    return 0


def _checked(file: str) -> "tuple[str, Policy, list[Problem]]":
    text = sys.stdin.read() if file == "-" else _read(Path(file).expanduser())
    from portico.policy.check import check_policy

    try:
        return "standard input" if file == "-" else file, *check_policy(text)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "cel_expr_python":
            raise
        raise PorticoError(POLICY_EXTRA_MISSING, "expressions need the package cel-expr-python") from None


def _read(path: Path, what: str = "the traffic policy") -> str:
    try:
        return read_text(path, POLICY_INVALID)
    except PorticoError as error:
        fix = f"Check the path of {what}." if error.code is CONFIG_MISSING else None
        raise PorticoError(error.code, error.message, fix=fix) from None


def _refused(checked: "Policy") -> str:
    """Why no edge of this release takes the policy; empty where edges do."""
    from portico.translate.policy.trial import refuse_what_cannot_compile

    try:
        refuse_what_cannot_compile(checked)
    except PorticoError as error:
        return error.message
    return ""


def _summary(name: str, problems: "Sequence[Problem]") -> str:
    counts = [(sum(problem.severity == kind for problem in problems), kind) for kind in _COLOURS]
    said = ", ".join(f"{count} {kind}{'s' if count > 1 else ''}" for count, kind in counts if count)
    if counts[0][0]:
        return f"{name} is no valid traffic policy: {said} ({POLICY_INVALID})"
    return f"{name} is a valid traffic policy{f': {said}' if said else ''}"


def _as_json(problem: "Problem") -> dict[str, Any]:
    return {
        "severity": problem.severity,
        "line": problem.mark.line,
        "column": problem.mark.column,
        "place": problem.place,
        "message": problem.text,
    }


def _visit(
    request: str,
    method: str | None,
    headers: Sequence[str],
    answered: Sequence[str],
    facts: str | None,
    **others: Any,
) -> "Visit":
    from portico.policy.request import Visit, flat

    said, _, url = request.strip().rpartition(" ")
    if method and said and method.upper() != said.upper():
        raise PorticoError(OPTION_INVALID, "--method and --request name different methods")
    wanted = (method or said or "GET").upper()
    if not _METHOD.fullmatch(wanted):
        raise PorticoError(OPTION_INVALID, "--request is a method and a URL, such as 'GET https://host/path'")
    return Visit(
        url=url,
        method=wanted,
        headers=[_pair(header) for header in headers],
        response_headers=[_pair(header) for header in answered],
        facts=flat(_facts(facts)) if facts else {},
        **others,
    )


def _pair(header: str) -> tuple[str, str]:
    name, colon, value = header.partition(":")
    if not colon or not name.strip():
        raise PorticoError(OPTION_INVALID, "a header is written NAME:VALUE")
    return name.strip(), value.strip()


def _facts(file: str) -> dict[str, Any]:
    try:
        facts = json.loads(_read(Path(file).expanduser(), "the variables (--json)"))
    except (ValueError, RecursionError):
        facts = None
    if not isinstance(facts, dict):
        raise PorticoError(OPTION_INVALID, f"{file} is no JSON object of variables")
    return facts


def _show(ran: "Ran") -> None:
    title = click.style(ran.place, bold=True) + (f"  {ran.name}" if ran.name else "")
    click.echo(f"{title}: {_verdict(ran)}")
    for asked in ran.asked:
        value = f"fails: {asked.failed}" if asked.failed else str(asked.value).lower()
        click.echo(f"  {value}  {click.style(asked.text, dim=True)}")
    for done in ran.done:
        click.echo(f"  {click.style(done.type, fg='cyan')}: {done.effect.text}")
        for key, value in done.config.items():
            shown = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
            click.echo(textwrap.indent(f"{key}: {shown}", "    "))
    click.echo("")


def _verdict(ran: "Ran") -> str:
    if ran.fires:
        return "fires"
    if ran.refused:
        return "refuses the request, because an expression failed"
    return "not known, assumed not to fire" if ran.unknown else "does not fire"


def _explained(found: "Explanation") -> dict[str, Any]:
    ending = found.ending
    rules = [
        {
            "place": ran.place,
            "name": ran.name,
            "phase": ran.phase,
            "fires": ran.fires,
            "refused": ran.refused,
            "expressions": [asdict(asked) for asked in ran.asked],
            "actions": [
                {
                    "type": done.type,
                    "place": done.place,
                    "config": done.config,
                    "effect": done.effect.text,
                    "assumed": done.effect.assumed,
                }
                for done in ran.done
            ],
        }
        for ran in found.rules
    ]
    end = None
    if ending is not None:
        end = {
            "kind": ending.kind,
            "status": ending.status,
            "headers": dict(ending.headers),
            "body": ending.body,
            "to": ending.to,
        }
    return {
        "rules": rules,
        "outcome": str(found),
        "status": found.status,
        "ending": end,
        "upstream_url": found.upstream_url,
        "assumed": found.assumed,
    }
