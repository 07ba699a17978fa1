"""A child of the daemon that is killed when its work is done: the command line, then SIGKILL."""

import os
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from backup.cli import main

try:
    main()
finally:
    os.kill(os.getpid(), signal.SIGKILL)
