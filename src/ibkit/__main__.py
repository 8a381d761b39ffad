"""`python -m ibkit`: the command, where its script is not on the path."""

from __future__ import annotations

from ibkit.cli import main

main()
