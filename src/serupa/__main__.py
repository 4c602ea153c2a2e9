"""``python -m serupa`` is the ``serupa`` command."""

from serupa.cli import main

main()
