"""The layers, one module of the package per kind."""

from covector.nn.layers.activations import *  # noqa: F403
from covector.nn.layers.base import Module as Module
from covector.nn.layers.containers import Sequential as Sequential
from covector.nn.layers.dropout import Dropout as Dropout
from covector.nn.layers.embedding import Embedding as Embedding
from covector.nn.layers.linear import Identity as Identity
from covector.nn.layers.linear import Linear as Linear
from covector.nn.layers.normalization import LayerNorm as LayerNorm
from covector.nn.layers.normalization import RMSNorm as RMSNorm
