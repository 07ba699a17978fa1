"""The edge to PostgreSQL: client tools, connections, snapshots, scratch clusters."""
