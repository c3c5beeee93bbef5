"""`python -m dreamgym`, the same as the `dreamgym` command."""

from dreamgym.cli import main

main()
