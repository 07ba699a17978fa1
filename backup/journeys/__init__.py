"""The verbs, one file each, to be read from top to bottom: gather, plan, act, report."""
