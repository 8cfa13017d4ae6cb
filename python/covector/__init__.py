"""Lazy arrays and composable function transforms, with MLX's names.

import covector.core as mx
import covector.nn as nn
import covector.optimizers as optim
import covector.utils as utils
"""

from covector._covector import __version__ as __version__
