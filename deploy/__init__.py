"""The place of the deploys that make a database server and a backup host with pyinfra.

Nothing is built yet. `docs/runbooks/first-backup.md` says how to set up both by hand.
"""
