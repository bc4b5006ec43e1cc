"""`meterhall promqltest FILE…`: runs scripts in Prometheus' test format against the embedded evaluator."""

from pathlib import Path

import click


@click.command("promqltest")
@click.argument(
    "files",
    nargs=-1,
    required=True,
    metavar="FILE…",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
)
def promqltest(files: tuple[Path, ...]) -> None:
    """Run scripts in Prometheus' test format against the embedded evaluator.

    Prints each failure as `FILE:LINE: got … want …` and ends with `N passed, M failed`; exits with 1 if any
    failed.
    """
    from meterhall.query.promqltest import run_script

    passed = failed = 0
    for path in files:
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise click.ClickException(f"{path}: not UTF-8: {error.reason}") from None
        report = run_script(text, str(path))
        passed += report.passed
        failed += len(report.failures)
        for line, message in report.failures:
            click.echo(f"{path}:{line}: {message}")
    click.echo(f"{passed} passed, {failed} failed")
    if failed:
        raise SystemExit(1)
