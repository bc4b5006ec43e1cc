"""The `meterhall` command: a group that loads a subcommand's module only when it runs."""

import click

from meterhall import __version__


@click.group()
@click.version_option(__version__, prog_name="meterhall")
def main() -> None:
    """Meterhall: multi-tenant System Monitoring, self-hosted."""
