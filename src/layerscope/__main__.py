"""`python -m layerscope`: the command line, where the script `layerscope` is not on the path."""

import sys

from .cli import main

sys.exit(main())
