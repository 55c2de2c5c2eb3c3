"""Lets the tests of this folder import attack_files, which pytest's importlib mode would not find."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent))
