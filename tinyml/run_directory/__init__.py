"""The output directory of a run: atomic, locked, resumable, sealed."""

from tinyml.run_directory.directory import ResumeStore, RunDirectory

__all__ = ["ResumeStore", "RunDirectory"]
