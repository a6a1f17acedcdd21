"""``python -m benchmarks``."""

import sys

from benchmarks.all import main

sys.exit(main())
