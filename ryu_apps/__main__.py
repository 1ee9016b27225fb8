"""`python -m ryu_apps` is `lockstitch`."""

from ryu_apps.cli import main

main()
