"""A command group that names the nearest command when it is asked for one that it does not have."""

import click


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
