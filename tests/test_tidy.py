"""House rules that no linter knows. Each message names the cure."""

import ast
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "src" / "meterhall"
MODULES = sorted(SOURCE.rglob("*.py"))

FUNCTION_LINES_MAX = 60
FILE_LINES_MAX = 500
NO_ROOM_NAMES = {"utils", "util", "helpers", "helper", "common", "misc", "base", "core", "manager"}


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.fixture(scope="module")
def trees() -> dict[Path, ast.Module]:
    return {path: ast.parse(path.read_text("utf-8")) for path in MODULES}


def functions(tree: ast.Module):
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def body_lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of a function without its docstring."""
    total = (node.end_lineno or 0) - node.lineno + 1
    first = node.body[0]
    if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
        total -= (first.end_lineno or 0) - first.lineno + 1
    return total


def test_a_function_fits_a_screen(trees):
    long = [
        f"{name_of(path)}:{node.lineno} {node.name} has {body_lines(node)} lines"
        for path, tree in trees.items()
        for node in functions(tree)
        if body_lines(node) > FUNCTION_LINES_MAX
    ]
    assert not long, f"split these (more than {FUNCTION_LINES_MAX} lines): {long}"


def test_a_file_is_one_room(trees):
    long = [name_of(path) for path in trees if len(path.read_text().splitlines()) > FILE_LINES_MAX]
    assert not long, f"give part of these a room of its own (over {FILE_LINES_MAX} lines): {long}"


def test_every_file_says_what_lives_in_it(trees):
    silent = [name_of(path) for path, tree in trees.items() if not ast.get_docstring(tree)]
    assert not silent, f"begin these with a docstring: {silent}"


def test_rooms_have_names():
    vague = [name_of(path) for path in MODULES if path.stem in NO_ROOM_NAMES]
    assert not vague, f"name these after what they hold: {vague}"


def test_a_tenant_is_made_in_one_place(trees):
    makers = {
        name_of(path)
        for path, tree in trees.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "Tenant"
    }
    assert makers <= {"src/meterhall/control/access.py"}, (
        f"a Tenant comes from control.access and nowhere else: {makers}"
    )


def test_python_patterns_never_meet_user_text(trees):
    users = {
        name_of(path)
        for path, tree in trees.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and isinstance(node.func.value, ast.Name)
        and node.func.value.id == "re"
        and node.func.attr
        in ("match", "fullmatch", "search", "sub", "split", "findall", "finditer")
    }
    assert not users, f"compile our own patterns once at the head of the file: {users}"


def test_nothing_is_left_for_later():
    words = ("FIX" + "ME", "XX" + "X", "TO" + "DO")
    left = [
        f"{name_of(path)}: {word}"
        for path in MODULES
        for word in words
        if word in path.read_text("utf-8").split()
    ]
    assert not left, f"do it, or file an issue: {left}"


def test_no_file_is_large():
    tracked = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True
    ).stdout
    large = [
        name
        for name in tracked.decode().split("\0")
        if name and (ROOT / name).is_file() and (ROOT / name).stat().st_size > 1 << 20
    ]
    assert not large, f"generate these instead of keeping them: {large}"
