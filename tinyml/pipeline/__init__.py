"""The main job: a checkpoint in, a verified artifact and a report out."""

from tinyml.pipeline.compress import compress
from tinyml.pipeline.job import Job
from tinyml.pipeline.outcome import Outcome
from tinyml.pipeline.reverify import verify_subject
from tinyml.pipeline.root import Root, load_root

__all__ = ["Job", "Outcome", "Root", "compress", "load_root", "verify_subject"]
