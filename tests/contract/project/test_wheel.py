"""What is built is what was written: the wheel holds every file of the package, and works where it is installed."""

import os
import subprocess
import sys
import tarfile
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest

import spotbatch
from tests.root import ROOT


def ran(*command: str, folder: Path, **environ: str) -> "subprocess.CompletedProcess[str]":
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("SPOTBATCH_", "PYTHON"))}
    return subprocess.run(
        command, cwd=folder, env={**kept, **environ}, capture_output=True, text=True, timeout=300, check=False
    )


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project's own files in a folder of the product's name, as a clone often is."""
    copy = tmp_path_factory.mktemp("source") / "spotbatch"
    tracked = ran("git", "ls-files", "-z", folder=ROOT)
    if tracked.returncode != 0:
        pytest.skip("this is no git checkout, so nobody can say which files belong to the project")
    for name in tracked.stdout.split("\0"):
        if name and (ROOT / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            (copy / name).write_bytes((ROOT / name).read_bytes())
    return copy


@pytest.fixture(scope="module")
def built(clone: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sdist and the wheel, built from a copy: a build leaves folders beside its source.

    What builds is installed once, into a folder (`make dist` makes a new environment for each of the two).
    """
    out, tools = tmp_path_factory.mktemp("dist"), tmp_path_factory.mktemp("tools")
    needed = tomllib.loads((clone / "pyproject.toml").read_text())["build-system"]["requires"]
    pip = (sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile")
    done = ran(*pip, "--target", str(tools), *needed, folder=tools)
    assert done.returncode == 0, done.stderr[-3000:]
    build = (sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out))
    done = ran(*build, folder=clone, PYTHONPATH=str(tools))
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return out


def test_the_tests_run_in_a_clone_of_the_products_name(clone: Path) -> None:
    done = ran(
        sys.executable,
        *("-m", "pytest", "-q", "-p", "no:cacheprovider"),
        "tests/unit/cli/test_main.py::test_an_error_is_one_line_with_the_fix",
        folder=clone,
    )
    assert done.returncode == 0, done.stdout[-3000:]


def test_above_a_clone_of_the_products_name_the_product_is_imported(clone: Path) -> None:
    asked = (
        "import spotbatch, spotbatch.batch.job as job; print(spotbatch.__version__, spotbatch.__file__, job.__file__)"
    )
    done = ran(sys.executable, "-c", asked, folder=clone.parent)
    version, package, module = done.stdout.split()
    assert version == spotbatch.__version__
    assert (package, module) == (f"{clone}/spotbatch/__init__.py", f"{clone}/spotbatch/batch/job.py")


def test_twine_finds_nothing_wrong_with_either(built: Path) -> None:
    files = [str(each) for each in sorted(built.iterdir())]
    assert len(files) == 2
    done = ran(sys.executable, "-m", "twine", "check", "--strict", *files, folder=built)
    assert done.returncode == 0, done.stdout


def test_the_wheel_holds_every_file_of_the_package_and_nothing_else(built: Path) -> None:
    written = set(ran("git", "ls-files", "spotbatch", folder=ROOT).stdout.splitlines())
    with zipfile.ZipFile(next(built.glob("*.whl"))) as wheel:
        packed = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert packed == {name for name in written if (ROOT / name).is_file()}


def test_the_sdist_holds_what_the_wheel_is_built_from(built: Path) -> None:
    with tarfile.open(next(built.glob("*.tar.gz"))) as sdist:
        names = {name.partition("/")[2] for name in sdist.getnames()}
    assert {"pyproject.toml", "README.md", "LICENSE", "spotbatch/runtime/cli.py"} <= names


def installed(folder: Path, what: str) -> Path:
    """A new environment with that and what it needs; its Python. Our pip installs, which spares it one of its own."""
    venv.create(folder, with_pip=False)
    python = folder / "bin/python"
    pip = ("-m", "pip", "--python", str(python), "install", "--quiet", "--disable-pip-version-check", "--no-compile")
    done = ran(sys.executable, *pip, what, folder=folder)
    assert done.returncode == 0, done.stderr[-3000:]
    return python


@pytest.fixture(scope="module")
def clean(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new environment with the wheel and what it needs, as in a container; its folder of programs."""
    return installed(tmp_path_factory.mktemp("clean"), str(next(built.glob("*.whl")))).parent


def test_a_container_gets_the_runtime_and_one_library(clean: Path) -> None:
    asked = "import importlib.metadata as m; print(*(each.name for each in m.distributions()))"
    names = set(ran(str(clean / "python"), "-c", asked, folder=clean).stdout.split())
    assert names - {"typing_extensions"} == {"obstore", "spotbatch"}


def test_spotrun_works_alone(clean: Path, tmp_path: Path) -> None:
    store = {"SPOTBATCH_ARTIFACTS_URL": tmp_path.as_uri(), "SPOTBATCH_RUN_ID": "alone"}
    script = 'echo done > "$SPOTBATCH_OUTPUT_DIR/x"'
    done = ran(str(clean / "spotrun"), "--", "sh", "-c", script, folder=tmp_path, **store)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "runs/alone/job/output/x").read_text() == "done\n"


def test_the_command_line_says_what_it_lacks(clean: Path, tmp_path: Path) -> None:
    done = ran(str(clean / "spotbatch"), "--help", folder=tmp_path)
    assert done.returncode == 4
    assert done.stderr.startswith("error: the command line needs typer")
    assert "pip install 'spotbatch[cli]'" in done.stderr
    assert "Traceback" not in done.stderr


def test_with_the_command_line_alone_the_local_region_says_what_it_lacks(
    built: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("cli")
    installed(folder, f"{next(built.glob('*.whl'))}[cli]")
    assert ran(str(folder / "bin/spotbatch"), "--version", folder=folder).stdout.startswith("spotbatch ")
    done = ran(str(folder / "bin/spotbatch"), "local", "up", folder=folder, HOME=str(folder))
    assert done.returncode == 4
    assert done.stderr.strip() == (
        "error: the local region needs httptools, moto, uvicorn: pip install 'spotbatch[local]'"
    )
