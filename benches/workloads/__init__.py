"""The workloads that `peers.py` measures: one list, in the order of the table."""

from __future__ import annotations

from . import convnet, dense, elementwise, mixture, recurrent, scalar, tables, training, transformer
from .workload import Workload

WORKLOADS: dict[str, Workload] = {
    workload.name: workload
    for workload in (
        training.STEP,
        dense.MLP,
        transformer.TRANSFORMER,
        elementwise.GELU,
        elementwise.CROSS_ENTROPY,
        dense.PER_SAMPLE,
        dense.HVP,
        scalar.CHAIN,
        elementwise.LOGISTIC,
        convnet.CONVNET,
        recurrent.LSTM,
        tables.EMBEDDING,
        mixture.MIXTURE,
        mixture.MIXTURE_BROADCAST,
    )
}

__all__ = ["WORKLOADS", "Workload"]
