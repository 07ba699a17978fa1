"""The engine: everything that happens to one backup."""
