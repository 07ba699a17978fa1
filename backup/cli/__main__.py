"""`python -m backup.cli`: how the daemon starts its children, wherever the program is installed."""

from backup.cli import main

main()
