"""The demonstration: a sample portal database and a journey that backs it up and restores it."""
