"""`python -m tinyml` is the command line."""

import sys

from tinyml.cli import main

code = main()
# Under `-m`, CPython remembers a Ctrl-C that came inside any exec("..."), caught or not, and would die of SIGINT at its
# end instead of returning our 130; running another one makes it forget.
exec("")
sys.exit(code)
