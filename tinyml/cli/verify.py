"""`tinyml verify`: does a file agree with the model it was made from, and is its int8 right?"""

from pathlib import Path

import click

from tinyml.cli import options


@options.verb("tinyml verify runs/net-int8 --data card.yaml\ntinyml verify model.onnx --target x86-avx2")
@click.argument("subject", metavar="DIR|FILE.onnx", type=click.Path(path_type=Path))
@options.data()
@click.option("--target", metavar="TARGET", help="Demand what it needs.  [default: the run's; none for a file]")
@options.threads(text="Of onnxruntime, to run the file with; torch takes OMP_NUM_THREADS.")
@click.option(
    "--images", type=click.IntRange(min=1), default=1000, show_default=True, help="Test inputs to compare on, at most."
)
@options.as_json
def command(subject: Path, data: str | None, target: str | None, threads: int, images: int, as_json: bool) -> None:
    """Check hashes, structure, agreement with the trained model, and the portability of int8 arithmetic.

    A run directory brings its trained model; with --data it is compared on test inputs, spread evenly over the split,
    without on those kept in reference.npz. The accuracy that was sealed in it is held against the recipe's budget. Of
    a lone ONNX file only its structure and its int8 arithmetic can be checked.
    """
    from tinyml.cli.console import print_json, results
    from tinyml.data import load_task
    from tinyml.errors import GateMissed
    from tinyml.pipeline.reverify import verify_subject
    from tinyml.report.tables import verification_table
    from tinyml.target import load_target

    verification = verify_subject(
        subject,
        task=load_task(data) if data is not None else None,
        target=load_target(target) if target is not None else None,
        threads=threads,
        images=images,
    )
    if as_json:
        print_json(verification.to_json())
    else:
        results().print(verification_table(verification.checks))
    if verification.failed:
        raise GateMissed(f"'{subject}' failed: {', '.join(check.name for check in verification.failed)}")
