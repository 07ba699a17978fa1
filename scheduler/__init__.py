"""The daemon: it backs up, prunes, verifies and tests restores by schedule, months unattended."""
