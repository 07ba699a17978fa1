"""The proof: the log of what was done, the verdict of a restore test, and reports. Pure."""
