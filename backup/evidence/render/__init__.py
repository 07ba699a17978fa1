"""What people read of the evidence: pages and tables, each a pure function of what was signed."""
