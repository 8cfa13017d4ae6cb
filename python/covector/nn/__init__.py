"""Neural networks: modules, activation functions, losses and initialisers.

The mathematics is the native library's; the classes here hold parameters and say how they are put together.
"""

from covector.nn import init as init
from covector.nn import losses as losses
from covector.nn import utils as utils
from covector.nn.layers import *  # noqa: F403
from covector.nn.layers import Module as Module
from covector.nn.utils import value_and_grad as value_and_grad
