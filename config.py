"""What pyinfra reads first: its version, and that one failed host ends the run."""

REQUIRE_PYINFRA_VERSION = ">=3.10,<4"
FAIL_PERCENT = 0
