"""Fails if a test was skipped: in CI every lane has to run."""

import sys
import xml.etree.ElementTree as ET


def main(path: str) -> int:
    """Print each skipped test with its reason; return 1 if there was one, or no test at all."""
    cases = list(ET.parse(path).iter("testcase"))  # noqa: S314 - our own file
    skipped = [case for case in cases if case.find("skipped") is not None]
    for case in skipped:
        reason = case.find("skipped")
        message = "" if reason is None else reason.get("message", "")
        print(f"SKIPPED {case.get('classname')}::{case.get('name')}: {message}")  # noqa: T201
    failed = [case for case in cases if {child.tag for child in case} & {"failure", "error"}]
    passed = len(cases) - len(skipped) - len(failed)
    # The last line of a run, in the form that every reader of CI output knows.
    print(f"{passed} passed, {len(failed)} failed, {len(skipped)} skipped")  # noqa: T201
    return 1 if skipped or not cases else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
