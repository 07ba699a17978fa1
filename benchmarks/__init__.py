"""Us and the peers side by side: how long, how much memory, how many bytes. See README.md."""
