"""The place of the daemon that backs up, prunes and tests restores by itself.

Nothing is built yet. Until it is, a systemd timer runs `strongroom backup`:
`docs/runbooks/first-backup.md` has the units.
"""
