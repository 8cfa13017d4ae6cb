"""Arrays, the operations on them, and the transforms of functions.

Values are computed when they are needed, or by ``eval``. The names, signatures and element types are MLX's.
"""

from covector._covector import *  # noqa: F403
from covector.core import fast as fast
from covector.core import random as random
