"""What a cluster runs for you: one build, with the driver on the cluster.

ray job submit --working-dir . -- python jobs/build.py configs/builds/web.yaml --on configs/cluster.yaml

Takes the arguments of `corpusmill build`, with its exit codes: 0 done, 1 failed, 2 wrong config.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the submitted folder, where corpusmill is not installed

from pipeline.cli import main

if __name__ == "__main__":
    main(["build", *sys.argv[1:]])
