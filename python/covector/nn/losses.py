"""Losses: measures of the distance between predictions and targets.

Each takes ``reduction``: ``"none"`` for the losses of the single elements or examples, ``"mean"`` or
``"sum"`` for a scalar.
"""

from covector._covector import nn as native

__all__ = [
    "binary_cross_entropy",
    "cosine_similarity_loss",
    "cross_entropy",
    "gaussian_nll_loss",
    "hinge_loss",
    "huber_loss",
    "kl_div_loss",
    "l1_loss",
    "log_cosh_loss",
    "margin_ranking_loss",
    "mse_loss",
    "nll_loss",
    "smooth_l1_loss",
    "triplet_loss",
]

binary_cross_entropy = native.binary_cross_entropy
cosine_similarity_loss = native.cosine_similarity_loss
cross_entropy = native.cross_entropy
gaussian_nll_loss = native.gaussian_nll_loss
hinge_loss = native.hinge_loss
huber_loss = native.huber_loss
kl_div_loss = native.kl_div_loss
l1_loss = native.l1_loss
log_cosh_loss = native.log_cosh_loss
margin_ranking_loss = native.margin_ranking_loss
mse_loss = native.mse_loss
nll_loss = native.nll_loss
smooth_l1_loss = native.smooth_l1_loss
triplet_loss = native.triplet_loss
