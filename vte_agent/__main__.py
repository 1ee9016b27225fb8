"""`python -m vte_agent`: the same as `vte-agent`."""

from vte_agent.cli import main

main()
