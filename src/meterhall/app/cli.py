"""The `meterhall` command: a group that imports a command's module only when it is asked for.

`meterhall query` must not wait for the store's libraries, nor `--help` for any of them.
"""

import importlib

import click

from meterhall import __version__

# Command to where it is defined, and the line that the list of commands shows.
_COMMANDS = {
    "quickstart": ("meterhall.app.serve_command:quickstart", "Serve with no configuration."),
    "serve": ("meterhall.app.serve_command:serve", "Serve from a configuration file."),
    "projects": ("meterhall.app.admin_commands:projects", "Projects: the tenants."),
    "keys": ("meterhall.app.admin_commands:keys", "Appkeys of a project."),
    "hosts": ("meterhall.app.admin_commands:hosts", "Hosts that collection runs on."),
    "agent": ("meterhall.app.agent_command:agent", "The host agent."),
    "query": ("meterhall.app.query_command:query", "Ask a running service a PromQL question."),
    "promqltest": ("meterhall.app.promqltest_command:promqltest", "Run Prometheus' test scripts."),
    "check-config": ("meterhall.app.serve_command:check_config", "Check a configuration file."),
    "db": ("meterhall.app.admin_commands:db", "The control database."),
    "tsdb": (
        "meterhall.app.tsdb_command:tsdb",
        "Look into a data directory, copy it, export and import.",
    ),
}


class LazyGroup(click.Group):
    """A group whose commands are named in `_COMMANDS` and imported at their first use."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names, in the order of the table."""
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command itself, imported."""
        if cmd_name not in _COMMANDS:
            return None
        module, _, attribute = _COMMANDS[cmd_name][0].partition(":")
        command = getattr(importlib.import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of `--help`, from the table alone."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in _COMMANDS.items()])


@click.group(cls=LazyGroup)
@click.version_option(__version__, prog_name="meterhall")
def main() -> None:
    """Meterhall: multi-tenant System Monitoring, self-hosted."""
