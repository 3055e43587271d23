"""``python -m preceptor``."""

import sys

from preceptor.cli.main import main

sys.exit(main())
