"""`python -m layerscope.cli`."""

import sys

from . import main

sys.exit(main())
