"""The docs are tested: reference pages equal what the code declares, and links resolve."""

import importlib.util
import re
from pathlib import Path

import pytest

from meterhall.app.cli import main

ROOT = Path(__file__).parent.parent
PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")


def load_generator():
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs/reference/generate.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


GENERATOR = load_generator()


@pytest.mark.parametrize("name", GENERATOR.PAGES)
def test_a_reference_page_is_what_the_code_declares(name):
    written = (ROOT / "docs/reference" / name).read_text("utf-8")
    assert written == GENERATOR.PAGES[name](), "run `make docs`"


def test_every_command_has_help():
    silent = [path for path, command in GENERATOR.commands(main, "meterhall") if not command.help]
    assert not silent


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_resolve(page):
    broken = [
        target
        for target in LINK.findall(page.read_text("utf-8"))
        if not target.startswith(("http://", "https://", "mailto:"))
        and not (page.parent / target).exists()
    ]
    assert not broken
