"""The layers, one module of the package per kind."""

from covector.nn.layers.activations import *  # noqa: F403
from covector.nn.layers.base import *  # noqa: F403
from covector.nn.layers.containers import *  # noqa: F403
from covector.nn.layers.convolution import *  # noqa: F403
from covector.nn.layers.dropout import *  # noqa: F403
from covector.nn.layers.embedding import *  # noqa: F403
from covector.nn.layers.linear import *  # noqa: F403
from covector.nn.layers.normalization import *  # noqa: F403
from covector.nn.layers.pooling import *  # noqa: F403
from covector.nn.layers.positional_encoding import *  # noqa: F403
from covector.nn.layers.recurrent import *  # noqa: F403
from covector.nn.layers.transformer import *  # noqa: F403
