"""A command group that lists its commands in whole sentences, and names the nearest to one that it does not have."""

from typing import Final

import click

_WHOLE: Final = 1_000
"""More characters than a sentence of help has."""


class Group(click.Group):
    """`click.Group` with a better answer to a slip of the finger."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does, naming the nearest command where there is none of that name."""
        names = self.list_commands(ctx)
        if args and args[0] not in names and not args[0].startswith("-"):
            import difflib

            near = difflib.get_close_matches(args[0], names, n=1, cutoff=0.5)
            ctx.fail(f"there is no command {args[0]!r}{f'; did you mean {near[0]}?' if near else ''}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Each with its first sentence in as many lines as that takes; click cuts it where the line ends."""
        commands = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        with formatter.section("Commands"):
            formatter.write_dl(
                [(name, one.get_short_help_str(_WHOLE)) for name, one in commands if one and not one.hidden]
            )
