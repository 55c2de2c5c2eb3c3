"""Verification: does the file that ships agree with the model that was trained, here and on other CPUs?"""

from tinyml.verification.check import Check, Verification
from tinyml.verification.verify import verify_file

__all__ = ["Check", "Verification", "verify_file"]
