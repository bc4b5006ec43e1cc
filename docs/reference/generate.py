"""Writes the reference pages beside it from what the code declares: settings, commands, self-metrics.

`make docs` runs it; `tests/test_docs.py` is red when a page differs from what it would write.
"""

from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import click

from meterhall.app.cli import main as command_group
from meterhall.app.config import Settings
from meterhall.telemetry.metrics import REGISTRY

FOLDER = Path(__file__).parent


def settings_page() -> str:
    lines = [
        "# Settings",
        "",
        "One TOML file for `meterhall serve --config FILE`; each key is also an environment variable,",
        "`METERHALL_<SECTION>_<KEY>`, which wins over the file and works for `quickstart` too.",
        "A secret may be given as `KEY_file`, the path of a file that holds it.",
        "`meterhall serve --print-config` shows the effective settings, `meterhall check-config FILE` checks a file.",
    ]
    for section in fields(Settings):
        lines += [
            "",
            f"## [{section.name}]",
            "",
            "| key | default | meaning |",
            "| --- | --- | --- |",
        ]
        for item in fields(section.default_factory):
            default = item.metadata["default"]
            shown = "" if default is None else f"`{default}`"
            lines.append(f"| `{item.name}` | {shown} | {item.metadata['meaning']} |")
    return "\n".join(lines) + "\n"


def commands_page() -> str:
    lines = ["# Commands", "", "What `--help` says, of every command."]
    for path, command in commands(command_group, "meterhall"):
        context = click.Context(command, info_name=path, terminal_width=100, max_content_width=100)
        lines += ["", f"## {path}", "", "```", command.get_help(context), "```"]
    return "\n".join(lines) + "\n"


def commands(group: click.Group, prefix: str) -> Iterator[tuple[str, click.Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        yield f"{prefix} {name}", command
        if isinstance(command, click.Group):
            yield from commands(command, f"{prefix} {name}")


def metrics_page() -> str:
    lines = [
        "# Self-metrics",
        "",
        "What the admin listener serves at `/metrics` about the service itself.",
        "",
        "| metric | type | meaning |",
        "| --- | --- | --- |",
    ]
    for family in sorted(REGISTRY.collect(), key=lambda family: family.name):
        name = family.name + ("_total" if family.type == "counter" else "")
        lines.append(f"| `{name}` | {family.type} | {family.documentation} |")
    return "\n".join(lines) + "\n"


PAGES = {
    "settings.md": settings_page,
    "commands.md": commands_page,
    "metrics.md": metrics_page,
}

if __name__ == "__main__":
    for file_name, page in PAGES.items():
        (FOLDER / file_name).write_text(page(), "utf-8")
