"""Schedules: learning rates as functions of the number of steps taken.

A schedule is any function from the step, a ``uint64`` scalar array, to a number or a scalar array; these are
the usual ones.
"""

from covector._covector import nn as native

__all__ = ["cosine_decay", "exponential_decay", "join_schedules", "linear_schedule", "step_decay"]

cosine_decay = native.cosine_decay
exponential_decay = native.exponential_decay
join_schedules = native.join_schedules
linear_schedule = native.linear_schedule
step_decay = native.step_decay
