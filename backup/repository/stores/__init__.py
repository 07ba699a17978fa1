"""Where objects lie: one small contract, one suite, a module per kind of store."""
