"""Neural networks: modules, activation functions, losses and initialisers.

The native library does the mathematics. The classes here hold parameters and combine them.
"""

from covector.nn import init as init
from covector.nn import losses as losses
from covector.nn import utils as utils
from covector.nn.layers import *  # noqa: F403
from covector.nn.layers import Module as Module
from covector.nn.utils import value_and_grad as value_and_grad
