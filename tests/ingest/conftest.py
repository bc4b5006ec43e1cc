"""Makes the doubles and encoders of the areas importable by name."""

import sys
from pathlib import Path

for area in ("ingest", "wire"):
    sys.path.insert(0, str(Path(__file__).parents[1] / area))
