"""What a child of the daemon is when only the daemon is measured: it ends at once, and well."""
