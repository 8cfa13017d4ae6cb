"""The layers, one module of the package per kind."""

from covector.nn.layers.activations import *  # noqa: F403
from covector.nn.layers.base import Module as Module
from covector.nn.layers.containers import Sequential as Sequential
from covector.nn.layers.convolution import Conv1d as Conv1d
from covector.nn.layers.convolution import Conv2d as Conv2d
from covector.nn.layers.convolution import Conv3d as Conv3d
from covector.nn.layers.convolution import ConvTranspose1d as ConvTranspose1d
from covector.nn.layers.convolution import ConvTranspose2d as ConvTranspose2d
from covector.nn.layers.convolution import ConvTranspose3d as ConvTranspose3d
from covector.nn.layers.dropout import Dropout as Dropout
from covector.nn.layers.embedding import Embedding as Embedding
from covector.nn.layers.linear import Identity as Identity
from covector.nn.layers.linear import Linear as Linear
from covector.nn.layers.normalization import LayerNorm as LayerNorm
from covector.nn.layers.normalization import RMSNorm as RMSNorm
from covector.nn.layers.pooling import AvgPool1d as AvgPool1d
from covector.nn.layers.pooling import AvgPool2d as AvgPool2d
from covector.nn.layers.pooling import AvgPool3d as AvgPool3d
from covector.nn.layers.pooling import MaxPool1d as MaxPool1d
from covector.nn.layers.pooling import MaxPool2d as MaxPool2d
from covector.nn.layers.pooling import MaxPool3d as MaxPool3d
from covector.nn.layers.positional_encoding import ALiBi as ALiBi
from covector.nn.layers.positional_encoding import RoPE as RoPE
from covector.nn.layers.positional_encoding import (
    SinusoidalPositionalEncoding as SinusoidalPositionalEncoding,
)
from covector.nn.layers.recurrent import GRU as GRU
from covector.nn.layers.recurrent import LSTM as LSTM
from covector.nn.layers.recurrent import RNN as RNN
from covector.nn.layers.transformer import MultiHeadAttention as MultiHeadAttention
from covector.nn.layers.transformer import Transformer as Transformer
from covector.nn.layers.transformer import TransformerDecoder as TransformerDecoder
from covector.nn.layers.transformer import TransformerDecoderLayer as TransformerDecoderLayer
from covector.nn.layers.transformer import TransformerEncoder as TransformerEncoder
from covector.nn.layers.transformer import TransformerEncoderLayer as TransformerEncoderLayer
