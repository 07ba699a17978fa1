"""A child of the soaked daemon: the command line, with a fault of the store now and then."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.faults.driver import run

run()
