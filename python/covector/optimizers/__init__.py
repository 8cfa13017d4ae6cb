"""Optimizers and learning-rate schedules."""

from covector.optimizers.optimizers import SGD as SGD
from covector.optimizers.optimizers import AdaDelta as AdaDelta
from covector.optimizers.optimizers import Adagrad as Adagrad
from covector.optimizers.optimizers import Adam as Adam
from covector.optimizers.optimizers import Adamax as Adamax
from covector.optimizers.optimizers import AdamW as AdamW
from covector.optimizers.optimizers import Lion as Lion
from covector.optimizers.optimizers import Optimizer as Optimizer
from covector.optimizers.optimizers import RMSprop as RMSprop
from covector.optimizers.optimizers import clip_grad_norm as clip_grad_norm
from covector.optimizers.schedulers import cosine_decay as cosine_decay
from covector.optimizers.schedulers import exponential_decay as exponential_decay
from covector.optimizers.schedulers import join_schedules as join_schedules
from covector.optimizers.schedulers import linear_schedule as linear_schedule
from covector.optimizers.schedulers import step_decay as step_decay
