"""What `tinyml compress` and `tinyml demo` print when a run is done."""

from dataclasses import asdict

import click

from tinyml.cli.console import print_json, results
from tinyml.measure.measurement import to_json
from tinyml.pipeline import Outcome
from tinyml.report.comparison import compare_measurements
from tinyml.report.left_alone import by_reason, modules_text
from tinyml.report.tables import comparison_table, verification_table


def show_outcome(outcome: Outcome, *, as_json: bool) -> None:
    """Print the before/after table, the checks, what was left alone, and where the files are."""
    if as_json:
        print_json(
            {
                "path": str(outcome.path),
                "passed": outcome.verification.passed,
                "checks": [vars(check) for check in outcome.verification.checks],
                "left_alone": [asdict(item) for item in outcome.left_alone],
                "measurements": to_json(outcome.measurements),
            }
        )
        return
    console = results()
    console.print(comparison_table(compare_measurements(outcome.measurements)))
    console.print()
    console.print(verification_table(outcome.verification.checks))
    if outcome.left_alone:
        click.echo("\nleft alone, wholly or in part:")
    for why, names in by_reason(outcome.left_alone).items():
        click.echo(f"  {why.pass_name}: {modules_text(names)}: {why.reason}")
    click.echo(f"\nmodel:  {outcome.path / 'model.onnx'}\nreport: {outcome.path / 'report.html'}")
