"""Allow `python -m embodied`."""

import sys

from embodied.cli.main import main

sys.exit(main())
