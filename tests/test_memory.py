"""Memory: of the driver whatever the number of shards, of a worker whatever the size of the file."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARK = Path(__file__).parents[1] / "benchmarks" / "memory.py"

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")]


def test_a_hundred_thousand_shards_and_a_gigabyte_in_one_row_group_stay_small():
    command = [sys.executable, str(BENCHMARK), "--json", "--shards", "10000", "100000"]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    over = {label: figures["over_mb"] for label, figures in json.loads(lines[-1]).items()}
    assert over["driver, 100,000 shards"] <= 50
    assert over["worker, narrow, 1 GB in one row group"] <= 300
    assert over["worker, text, 1 GB in one row group"] <= 300
