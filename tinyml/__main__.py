"""`python -m tinyml` is the command line."""

import sys

from tinyml.cli import main

sys.exit(main())
