"""The rules of the house, as tests: who may import whom, how long modules and functions are, what is documented."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.stage import Params, Stage
from pipeline.stages import STAGES, find

PACKAGE = Path(__file__).parents[1] / "pipeline"
MODULES = sorted(PACKAGE.rglob("*.py"))
STAGE_PACKAGES = {"ingest", "dedup", "quality", "mixture", "tokens"}
KERNEL_IMPORTS = {"numpy", "numba", "pyarrow", "llvmlite"}
MAX_LINES = 400
MAX_FUNCTION_LINES = 60


def name_of(path):
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path):
    """Return the full name of everything a module imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: imports are absolute"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def below(names, *packages):
    """Return those of `names` that are one of the packages or lie in them."""
    return {name for name in names if any(name == p or name.startswith(f"{p}.") for p in packages)}


@pytest.fixture(params=MODULES, ids=name_of)
def module(request):
    return request.param


def test_only_the_cluster_runner_imports_ray():
    assert [name_of(path) for path in MODULES if below(imports(path), "ray")] == ["pipeline.execution.cluster"]


def test_kernels_import_arrays_and_nothing_of_ours():
    for path in (PACKAGE / "kernels").rglob("*.py"):
        allowed = KERNEL_IMPORTS | set(sys.stdlib_module_names)
        others = {name for name in imports(path) if name.split(".")[0] not in allowed}
        assert not others - below(others, "pipeline.kernels"), path


def test_stages_know_neither_where_they_run_nor_each_other():
    forbidden = [
        f"pipeline.{name}" for name in ("execution", "config", "builds", "plans", "cli", "recipe", "road", "api")
    ]
    for path in (path for path in MODULES if path.relative_to(PACKAGE).parts[0] in STAGE_PACKAGES):
        own = path.relative_to(PACKAGE).parts[0]
        others = [f"pipeline.{name}" for name in STAGE_PACKAGES - {own}]
        assert not below(imports(path), *forbidden, *others), path


def test_the_core_knows_no_stage():
    core = (
        "stage",
        "tasks",
        "store",
        "files",
        "shuffle",
        "parquet",
        "ledger",
        "schemas",
        "identity",
        "corpus",
        "errors",
    )
    for path in (PACKAGE / f"{name}.py" for name in core):
        assert not below(imports(path), *(f"pipeline.{name}" for name in STAGE_PACKAGES)), path
        assert not below(imports(path), "pipeline.config", "pipeline.plans", "pipeline.builds", "pipeline.cli"), path


def test_a_module_is_short_and_says_what_it_is(module):
    text = module.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= MAX_LINES
    assert ast.get_docstring(ast.parse(text)), "a module begins with its docstring"


def test_a_function_is_short(module):
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef):
            doc = ast.get_docstring(node, clean=False)
            length = (node.end_lineno or 0) - node.lineno + 1 - (doc.count("\n") + 1 if doc else 0)
            assert length <= MAX_FUNCTION_LINES, f"{node.name} has {length} lines"


def test_nothing_is_called_utils():
    assert [path for path in MODULES if path.stem in ("utils", "util", "helpers", "misc", "common")] == []


@pytest.mark.parametrize("name", STAGES)
def test_every_stage_is_registered_under_its_name_documented_and_frozen(name):
    stage = find(name, None, "test")
    assert isinstance(stage, Stage)
    assert stage.name == name
    assert stage.version >= 1
    assert (stage.run.__doc__ or "").strip(), "a stage's function says what it does"
    assert issubclass(stage.params, Params)
    assert stage.params is not Params
    assert stage.params.__doc__ != Params.__doc__
    assert (stage.params.__doc__ or "").strip(), "its params say what they decide"
    assert stage.params.model_config["frozen"]
    assert stage.params.model_config["extra"] == "forbid"
    assert not set(stage.inputs) & set(stage.optional)


def loaded_after(code, *modules):
    """Return which of `modules` a fresh interpreter has loaded after `code`."""
    code = f"{code}\nimport sys\nprint(*[m for m in {modules!r} if m in sys.modules])"
    command = [sys.executable, "-c", code]
    return subprocess.run(command, cwd=PACKAGE.parent, check=True, capture_output=True, text=True).stdout.split()


def test_importing_the_package_loads_nothing_heavy():
    heavy = ("numpy", "numba", "pyarrow", "ray", "tokenizers", "pydantic", "fastokens", "torch")
    assert loaded_after("import pipeline", *heavy) == []


LOCAL_RUN = """
from pathlib import Path
import tempfile
from tests.conftest import run_stage, write_documents
from tests.test_stage import NoParams, lengths, stage_of
from pipeline.execution import LocalRunner
with tempfile.TemporaryDirectory() as folder, LocalRunner(2) as runner:
    documents = write_documents(Path(folder) / "documents", [[("a text", "web")], [("another", "web")]])
    run_stage(Path(folder) / "out", stage_of(lengths), NoParams(), runner=runner, documents=documents)
"""


def test_a_local_run_never_imports_ray():
    assert loaded_after(LOCAL_RUN, "ray", "pipeline.execution.local") == ["pipeline.execution.local"]
