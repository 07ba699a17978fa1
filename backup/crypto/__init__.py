"""age files, bech32 keys and SSH signatures: bytes in, values out, no I/O of their own."""
