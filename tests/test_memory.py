"""Memory: of the driver whatever the number of shards, of a worker whatever the size of the file."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARK = Path(__file__).parents[1] / "benchmarks" / "memory.py"

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")]


def measured(*options):
    command = [sys.executable, str(BENCHMARK), "--json", *options]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])


def test_a_hundred_thousand_shards_and_a_gigabyte_in_one_row_group_stay_small():
    found = measured("--shards", "10000", "100000")
    over = {label: figures["over_mb"] for label, figures in found.items()}
    assert over["driver, 100,000 shards"] <= 50
    assert over["worker, narrow, 1 GB in one row group"] <= 300
    assert over["worker, text, 1 GB in one row group"] <= 300


def test_huge_documents_are_encoded_and_packed_in_a_gigabyte_and_small_enough_ones_by_the_slow_engine_in_two():
    huge, large = measured("--tokens", "20"), measured("--tokens", "8")
    assert max(huge["fastokens, 8 documents"].values()) <= 1024
    assert max(large["tokenizers, 2 documents"].values()) <= 2048
