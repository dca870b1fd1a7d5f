"""Writes `docs/reference` from the code: `python -m portico.cli.reference [--check] [--directory DIR]`.

A tool of the project's own; it needs the edge's libraries, whose settings it describes.
"""

import inspect
import re
import sys
import types
import typing
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import click

import portico
from portico.cli.config.fields import Secret
from portico.cli.config.models import AgentKeys, EndpointKeys, Tunnel
from portico.cli.config.section import Key, Section
from portico.cli.flags import FLAGS, Flag
from portico.cli.main import portico as program
from portico.cli.markdown import prose as _prose
from portico.cli.markdown import table as _table
from portico.cli.reference_policy import page as _traffic_policy
from portico.model.errors import FIRST_OWN_NUMBER, all_codes
from portico.sdk.options import EndpointOptions, On, SessionOptions

_NOTE: Final = "<!-- Written by `make docs` from the code. Do not edit. -->"
_DEFAULT: Final = Path("docs/reference")


def pages() -> dict[str, str]:
    """Every page by its file name."""
    writers: dict[str, Callable[[], Iterable[str]]] = {
        "cli.md": _cli,
        "agent-config.md": _agent_config,
        "errors.md": _errors,
        "edge-settings.md": _edge_settings,
        "sdk.md": _sdk,
        "traffic-policy.md": _traffic_policy,
    }
    texts = {name: "\n".join([_NOTE, "", *writer()]) for name, writer in writers.items()}
    pages = {name: re.sub(r"\n{3,}", "\n\n", text).rstrip() + "\n" for name, text in texts.items()}
    return {**pages, "openapi.json": _openapi()}


def _openapi() -> str:
    from portico.api.openapi import text

    return text()


def _cli() -> Iterator[str]:
    yield from _prose(
        """
        # Command line

        Exit status: 0 done, 1 something failed (also a wrong setting of the edge), 2 a wrong command line. Errors go
        to standard error, each with its [code](errors.md).

        The authtoken is taken from `--authtoken`, else `PORTICO_AUTHTOKEN`, else `NGROK_AUTHTOKEN`, else the
        [configuration file](agent-config.md); the edge's address from `--connect-url`, else `PORTICO_CONNECT_URL`, else
        the file, else it is the edge of this machine; the authorities that may sign its certificate from
        `--connect-cas`, else `PORTICO_CONNECT_CAS`, else the file, else they are the system's.
        """
    )
    context = click.Context(program, info_name="portico")
    for name in program.list_commands(context):
        command = program.get_command(context, name)
        assert command is not None
        yield from _command(command, click.Context(command, info_name=name, parent=context))


def _command(command: click.Command, context: click.Context) -> Iterator[str]:
    yield f"## {context.command_path}"
    yield ""
    yield "```"
    yield f"{context.command_path} {' '.join(command.collect_usage_pieces(context))}"
    yield "```"
    yield ""
    yield from _help_text(command.help or "")
    if context.command_path == "portico edge":
        yield "The flags are the [settings of the edge](edge-settings.md)."
        yield ""
        return
    options = [parameter for parameter in command.params if isinstance(parameter, click.Option)]
    shown = [option for option in options if not option.hidden]
    if shown:
        yield from _table(("Flag", "Meaning"), ((_flag_cell(option), option.help or "") for option in shown))
    deprecated = [flag for flag in FLAGS if flag.instead and context.info_name in flag.kinds]
    if deprecated and any(option.hidden for option in options):
        yield "Deprecated by ngrok and still understood, with a warning:"
        yield from _table(("Flag", "Meaning", "Instead"), (_deprecated_row(flag) for flag in deprecated))
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None
            if not below.hidden:
                yield from _command(below, click.Context(below, info_name=name, parent=context))


def _flag_cell(option: click.Option) -> str:
    names = ", ".join(f"`{name}`" for name in sorted(option.opts, key=len))
    if isinstance(option.type, click.Choice):
        return f"{names} `{'|'.join(option.type.choices)}`"
    return names if option.is_flag else f"{names} `{option.metavar or 'TEXT'}`"


def _deprecated_row(flag: Flag) -> tuple[str, str, str]:
    return (f"`{flag.name}`", flag.help, re.sub(r"(--[a-z-]+)", r"`\1`", flag.instead))


def _help_text(text: str) -> Iterator[str]:
    """click's help text as Markdown; a paragraph after `\\b` keeps its lines."""
    for paragraph in inspect.cleandoc(text).split("\n\n"):
        lines = paragraph.splitlines()
        verbatim = bool(lines) and lines[0] == "\b"
        yield from ["```", *lines[1:], "```"] if verbatim else lines
        yield ""


def _agent_config() -> Iterator[str]:
    yield from _prose(
        """
        # The agent's configuration file

        YAML. Where: `~/.config/portico/portico.yml` (Linux; `XDG_CONFIG_HOME` counts), `~/Library/Application
        Support/portico/portico.yml` (macOS), `%LocalAppData%\\portico\\portico.yml` (Windows), or the files named with
        `--config`: of several the later one wins; mappings are merged key by key, lists replaced.

        Unknown keys are refused, with the line and the nearest valid key. `portico config check` tells everything that
        is wrong at once; `portico config upgrade` turns version 2 into version 3.
        """
    )
    yield from _EXAMPLES
    yield ""
    yield from _prose(
        """
        ## agent

        In version 2 these keys stand at the top of the file; `connect_url` is called `server_addr` there, and
        `connect_cas` is called `root_cas`. Durations are written like `10s` or `1m30s`.
        """
    )
    yield from _keys(AgentKeys)
    yield from _prose(
        """
        `connect_interface` and `dns_resolver_ips` are understood and refused: this agent does not offer
        them.

        ## endpoints

        Version 3. A URL may leave out its host (`tls://`: a random name) or its scheme (`app.example.com`: https).
        """
    )
    yield from _keys(EndpointKeys)
    yield "## tunnels"
    yield ""
    yield "Version 2, and tolerated in version 3. The keys are those of the flags of `portico http`, `tls` and `tcp`."
    yield from _keys(Tunnel)


_EXAMPLES: Final = """\
```yaml
version: 3
agent:
  authtoken: "…"
  connect_url: edge.example.com:443
endpoints:
  - name: web
    url: https://app.example.com
    upstream:
      url: 8080
```

```yaml
version: 2
authtoken: "…"
server_addr: edge.example.com:443
tunnels:
  web:
    proto: http
    addr: 8080
    domain: app.example.com
```
""".splitlines()


def _keys(section: type[Section]) -> Iterator[str]:
    yield from _table(("Key", "Value", "Default", "Meaning"), _key_rows(section, ""))


def _key_rows(section: type[Section], prefix: str) -> Iterator[tuple[str, str, str, str]]:
    for name, key in section.known.items():
        if key.reader.section is None:
            yield f"`{prefix}{name}`", key.reader.words, _default_cell(key), key.about
        else:
            yield from _key_rows(key.reader.section, f"{prefix}{name}.")


def _default_cell(key: Key) -> str:
    if key.required:
        return "required"
    default = key.default
    if default is None or default in ((), "") or isinstance(default, Secret):
        return ""
    if isinstance(default, bool):
        return str(default).lower()
    return f"{default:g}s" if isinstance(default, float) else f"`{default}`"


def _errors() -> Iterator[str]:
    yield from _prose(
        f"""
        # Errors

        Each error has one number for ever. Below {FIRST_OWN_NUMBER} it means what ngrok's error of that number means,
        and ngrok's clients are told so (`ngrok-error-code`). The status is that of the page a visitor gets.
        """
    )
    yield from _table(
        ("Code", "What happened", "What to do", "Status"),
        ((f"`{code}`", code.title, code.fix, str(code.status or "")) for code in all_codes()),
    )


def _edge_settings() -> Iterator[str]:
    from portico.edge.settings import reference_rows

    yield "# Settings of the edge"
    yield ""
    yield "A flag goes before its variable, a variable before the key of the file named by `--config`."
    yield from _table(
        ("Key", "Flag", "Variable", "Value", "Default", "Meaning"),
        (
            (_code(row.key), _code(row.flag), _code(row.env), _code(row.type), row.default, row.description)
            for row in reference_rows()
        ),
    )


def _code(text: str | None) -> str:
    return f"`{text}`" if text else ""


def _sdk() -> Iterator[str]:
    yield "# Python SDK"
    yield ""
    for name in portico.__all__:
        value = getattr(portico, name)
        if inspect.isfunction(value) and value.__name__ == name:
            yield from _python_function(f"portico.{name}", value)
        elif inspect.isfunction(value):
            yield from (f"## portico.{name}", "", f"Another name of `portico.{value.__name__}`.", "")
        elif inspect.isclass(value):
            yield from (f"## portico.{name}", "", inspect.getdoc(value) or "", "")
            for method, function in inspect.getmembers(value, inspect.isfunction):
                if not method.startswith("_"):
                    yield from _python_function(f"{name}.{method}", function, level="###")
    yield "## Options of `forward` and `listen`"
    yield ""
    yield "How to reach the edge and who is asking:"
    yield from _table(("Option", "Value"), ((f"`{name}`", value) for name, value, _ in _options(SessionOptions)))
    yield "What the endpoint is:"
    rows = ((f"`{name}`", value, endpoints) for name, value, endpoints in _options(EndpointOptions))
    yield from _table(("Option", "Value", "For"), rows)


def _python_function(name: str, function: Callable[..., Any], level: str = "##") -> Iterator[str]:
    yield f"{level} {name}"
    yield ""
    yield "```python"
    yield f"{name}{_signature(function)}"
    yield "```"
    yield ""
    yield inspect.getdoc(function) or ""
    yield ""


def _signature(function: Callable[..., Any]) -> str:
    signature = inspect.signature(function)
    parameters = [parameter for parameter in signature.parameters.values() if parameter.name != "self"]
    text = str(signature.replace(parameters=parameters, return_annotation=inspect.Signature.empty))
    return re.sub(r"\b(?:typing|portico(?:\.\w+)*|collections\.abc)\.(?=\w)", "", text)


def _options(group: type) -> Iterator[tuple[str, str, str]]:
    for name, hint in typing.get_type_hints(group, include_extras=True).items():
        on = next((item for item in getattr(hint, "__metadata__", ()) if isinstance(item, On)), None)
        yield name, _words(hint), ", ".join(on.protocols) if on else "all"


_WORDS: Final = {
    "str": "text",
    "bool": "true or false",
    "int": "whole number",
    "float": "number",
}


def _words(annotation: Any) -> str:
    origin, parts = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return _words(parts[0])
    if origin is typing.Literal:
        return ", ".join(f"`{part}`" for part in parts if part)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(dict.fromkeys(_words(part) for part in parts if part is not type(None)))
    if origin in (tuple, typing.Sequence) or getattr(origin, "__name__", "") == "Sequence":
        return f"list: {_words(parts[0])}"
    if origin is dict or getattr(origin, "__name__", "") == "Mapping":
        return "mapping"
    return _WORDS.get(getattr(annotation, "__name__", ""), str(getattr(annotation, "__name__", annotation)))


def main(arguments: Sequence[str]) -> int:
    """Write the pages, or with `--check` tell which ones are not what the code says."""
    directory = Path(arguments[arguments.index("--directory") + 1]) if "--directory" in arguments else _DEFAULT
    written = pages()
    stale = [
        name
        for name, text in written.items()
        if not (directory / name).exists() or (directory / name).read_text("utf-8") != text
    ]
    if "--check" in arguments:
        for name in stale:
            click.echo(f"{directory / name} is not what the code says; run `make docs`", err=True)
        return 1 if stale else 0
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in written.items():
        (directory / name).write_text(text, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
