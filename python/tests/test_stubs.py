"""The type stubs say what the native module has."""

import subprocess
import sys
from pathlib import Path

import covector.core as mx

TOOL = Path(__file__).resolve().parents[1] / "tools" / "stubs.py"


def test_the_stubs_are_up_to_date():
    run = subprocess.run([sys.executable, TOOL, "--check"], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr


def test_every_function_says_what_it_does():
    for name in dir(mx):
        value = getattr(mx, name)
        if callable(value) and not name.startswith("_") and not isinstance(value, type):
            assert value.__doc__, name
            assert value.__doc__.strip()[0].isupper() or value.__doc__.startswith("`"), name
