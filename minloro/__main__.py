"""`python -m minloro`."""

import sys

from minloro.cli import main

sys.exit(main())
