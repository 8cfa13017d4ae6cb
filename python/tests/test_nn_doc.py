"""The examples in the documentation of modules, optimizers and schedules do what they show."""

import doctest
import importlib

import covector.nn as nn
import covector.optimizers as optim
import pytest

MODULES = [
    "covector.nn.init",
    "covector.nn.layers.base",
    "covector.nn.layers.containers",
    "covector.nn.utils",
    "covector.optimizers.optimizers",
]
# Functions of the native library are not found by looking for functions of a module.
FUNCTIONS = [
    optim.clip_grad_norm,
    optim.cosine_decay,
    optim.exponential_decay,
    optim.join_schedules,
    optim.linear_schedule,
    optim.step_decay,
]


@pytest.mark.parametrize("name", MODULES)
def test_examples_of_modules(name: str) -> None:
    assert doctest.testmod(importlib.import_module(name)).failed == 0


def test_some_modules_have_examples() -> None:
    found = doctest.DocTestFinder(exclude_empty=True).find(nn.utils, "covector.nn.utils")
    assert any(test.examples for test in found)


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda f: f.__name__)
def test_examples_of_functions(function: object) -> None:
    test = doctest.DocTestParser().get_doctest(function.__doc__ or "", {}, repr(function), None, 0)
    assert test.examples
    assert doctest.DocTestRunner().run(test).failed == 0
