"""All that can be asked of a job before work begins, and what its passes are handed."""

from tinyml.passes import Context
from tinyml.pipeline.chain import check_order
from tinyml.pipeline.exit_files import check_exit_data
from tinyml.pipeline.job import Job
from tinyml.pipeline.root import Root, load_root
from tinyml.pipeline.target_fit import check_target
from tinyml.progress import Progress, Silent
from tinyml.runtime.session import require_provider
from tinyml.training import ALONE, Processes, find_device


def prepare(job: Job, processes: Processes = ALONE) -> Root:
    """Return the root of the job after asking everything that can be asked before work begins.

    Raises:
        Refused: of the kind that fits.
    """
    job.check()
    root = load_root(job)
    check_order(job, root.compressed.architecture)
    context = context_of(job, root, Silent(), processes)
    check_exit_data(job, root.compressed.architecture)
    model = root.compressed
    for entry in job.recipe.passes:
        entry.settings.requires(model, context)
        if entry.settings.role == "exit":  # it brings new layers, in no time: what follows is asked of them, too
            model = entry.settings.apply(model, context)
    check_target(root.compressed.module, job.target)
    require_provider(job.target.provider)  # after the passes: a recipe that cannot suit the target is the better cure
    return root


def context_of(job: Job, root: Root, progress: Progress, processes: Processes) -> Context:
    """Return what the passes of the job are handed."""
    return Context(
        task=job.task,
        target=job.target,
        teacher=root.teacher,
        seed=job.seed,
        device=str(find_device(job.device)),
        threads=job.threads,
        progress=progress,
        processes=processes,
    )
