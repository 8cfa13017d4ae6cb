"""Plans of the workloads and of the examples are those on record: kernels, nodes and peak memory.

Where a change of the planner is meant, ``python python/tools/golden.py --write`` records it anew; the
difference is then part of the change.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TOOL = ROOT / "python" / "tools" / "golden.py"
sys.path.insert(0, str(TOOL.parent))
import golden  # noqa: E402

NAMES = sorted(path.stem for path in golden.FOLDER.glob("*.json"))


@pytest.fixture(scope="module")
def now():
    """All records of the installed package, from a process of its own: no other test's memory counts."""
    done = subprocess.run(
        [sys.executable, "-W", "error", str(TOOL), "--json"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_every_record_has_its_golden_file(now):
    assert sorted(now) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_the_plan_is_the_one_on_record(now, name):
    said = golden.differences(golden.recorded(name), now[name])
    assert not said, f"if this is meant, run python/tools/golden.py --write\n{said}"


@pytest.mark.parametrize("name", [name for name in NAMES if not name.startswith("example-")])
def test_a_known_structure_is_not_planned_again(now, name):
    assert [now[name][mode]["plans"]["later"] for mode in ("uncompiled", "compiled")] == [0, 0]
