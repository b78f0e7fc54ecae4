"""The libraries that read the export formats, each in a folder of its own, and the readers of the guide run with them.

They are installed without what they depend on, and what their readers import is named here: their pins clash with each
other and with ours, and torch is that of the environment. A library that cannot be installed fails the test.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs/exports.md").read_text(encoding="utf-8")

PACKAGES = {
    "megatron": ["megatron-core==0.16.1"],
    "flat": [],
    "mds": [
        *("mosaicml-streaming==0.13.0", "brotli==1.2.1", "python-snappy==0.7.3", "cramjam==2.14.0", "zstd==1.5.7.2"),
        *("pillow==13.0.0", "xxhash==4.1.0", "catalogue==2.0.10"),
    ],
    "litdata": ["litdata==0.2.76", "lightning-utilities==0.15.3"],
    "huggingface": ["datasets==5.2.0", "dill==0.4.1", "multiprocess==0.70.19", "xxhash==4.1.0", "pandas==3.1.1"],
    "olmo": [
        *("ai2-olmo-core==3.0.0", "cached-path==1.8.10", "dataclass-extensions==0.5.0", "bettermap==1.3.1"),
        *("google-api-core==2.44.0", "google-auth==2.63.0", "google-cloud-storage==3.17.1", "google-cloud-core==2.8.0"),
        *("google-resumable-media==2.11.0", "google-crc32c==1.9.0", "googleapis-common-protos==1.76.0"),
        *("dill==0.4.1", "proto-plus==1.29.0", "pyasn1==0.6.5", "pyasn1-modules==0.4.2", "importlib_resources==7.1.0"),
    ],
    "datatrove": ["datatrove==0.10.1", "loguru==0.7.3", "humanize==4.17.0", "multiprocess==0.70.19", "dill==0.4.1"],
}
# The image data sets of `streaming`, imported with it, want these two names; a wheel of torchvision fits one build of
# torch only.
TORCHVISION = {
    "torchvision/__init__.py": "",
    "torchvision/datasets.py": "class VisionDataset: pass\n",
    "torchvision/transforms/__init__.py": "",
    "torchvision/transforms/functional.py": "to_tensor = None\n",
}


def installed(cache: Path, name: str) -> Path:
    """Return the folder with the library of an export, kept from one run of the tests to the next."""
    folder = cache / name
    done = folder / "done.json"
    if done.is_file() and json.loads(done.read_text()) == PACKAGES[name]:
        return folder
    if PACKAGES[name]:
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--only-binary", ":all:"]
        made = subprocess.run(
            [*command, "--upgrade", "--target", str(folder), *PACKAGES[name]], capture_output=True, text=True
        )
        assert made.returncode == 0, f"{name}: its library cannot be installed:\n{made.stderr}"
    for path, text in TORCHVISION.items() if name == "mds" else ():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    folder.mkdir(parents=True, exist_ok=True)
    done.write_text(json.dumps(PACKAGES[name]))
    return folder


def reader(name: str) -> str:
    """Return the lines of the guide that open an export."""
    (code,) = re.findall(rf"^{name} \([^\n]*\)\n\n```python\n(.*?)```", GUIDE, re.DOTALL | re.MULTILINE)
    return code


def run(library: Path, code: str, **values):
    """Return `found`, as JSON has it, after `code` has run in a process that has the library and `values`."""
    given = "\n".join(f"{name} = {value!r}" for name, value in values.items())
    script = f"{given}\n{code}\nimport json\nprint('\\n' + json.dumps(found))"
    environment = os.environ | {"PYTHONPATH": f"{library}{os.pathsep}{ROOT}", "HF_HUB_OFFLINE": "1"}
    environment |= {"PYTHONDONTWRITEBYTECODE": "1", "TMPDIR": str(Path(values["folder"]).parents[1])}
    command = [sys.executable, "-c", script]
    made = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=values["folder"])
    assert made.returncode == 0, made.stderr
    return json.loads(made.stdout.splitlines()[-1])
