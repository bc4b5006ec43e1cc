"""`python -m meterhall.compiled`: makes the machine code and keeps it, so that no service has to."""

import sys

from meterhall.compiled.loading import LOADER

reasons: list[str] = []
LOADER.report = reasons.append
LOADER.wait()
sys.exit("\n".join(reasons))
