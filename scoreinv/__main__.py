"""`python -m scoreinv` is the `scoreinv` command."""

from scoreinv.cli import main

main()
