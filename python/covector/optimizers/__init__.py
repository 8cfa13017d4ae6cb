"""Optimizers and learning-rate schedules."""

from covector.optimizers.optimizers import *  # noqa: F403
from covector.optimizers.schedulers import *  # noqa: F403
