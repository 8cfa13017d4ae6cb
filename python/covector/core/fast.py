"""Building blocks of models, each as one function: norms, rotary positions, attention and cross-entropy."""

from covector import _covector

_native = _covector._fast

__all__ = ["cross_entropy", "layer_norm", "rms_norm", "rope", "scaled_dot_product_attention"]

cross_entropy = _native.cross_entropy
layer_norm = _native.layer_norm
rms_norm = _native.rms_norm
rope = _native.rope
scaled_dot_product_attention = _native.scaled_dot_product_attention
