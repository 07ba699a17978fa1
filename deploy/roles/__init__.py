"""What a host is made of: one module a part, each a pyinfra deploy on declared settings."""
