"""The import table of docs/architecture.md, enforced: which room of the house may see which other."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "spotbatch"

MAY_IMPORT: dict[str, tuple[str, ...]] = {
    "batch": (),
    "pricing": ("batch.errors", "batch.attempt_outcome", "batch.attempt_record"),
    "policy": ("batch.errors", "pricing"),
    "runtime": (
        *("batch.environment", "batch.artifacts", "batch.attempt_record", "batch.array_indexes", "batch.errors"),
        *("batch.light_dataclass", "batch.light_json", "batch.light_types"),
        *("snapshots.protocol", "snapshots.processes"),
    ),
    "snapshots": (),
    "local": ("batch", "pricing", "policy", "controller.resources", "snapshots", "loopback"),
    "simulate": ("batch", "pricing", "policy"),
    "aws": ("batch", "pricing"),
    "controller": ("aws", "batch", "policy"),
    "runs": ("aws", "batch", "controller", "pricing", "local", "runtime.array_index", "runtime.errors"),
    "doctor": ("runs", "aws", "batch", "pricing"),
    "audit": ("local", "aws", "batch", "pricing"),
    "testing": ("rehearsal", "runs", "local", "aws", "batch"),
    "rehearsal": ("runs", "local", "aws", "batch", "policy", "pricing"),
    "deployment": ("aws", "batch", "pricing"),
    "web": ("runs", "doctor", "aws", "batch", "pricing", "loopback"),
    "infra": ("batch", "controller.resources", "policy", "pricing"),
    "cli": (
        *("batch", "pricing", "policy", "runtime", "local", "simulate", "aws"),
        *("controller", "runs", "doctor", "audit", "rehearsal", "deployment", "web", "snapshots"),
    ),
}
EVERYBODY: tuple[str, ...] = ("__version__", "wording")  # how times and counts are written: pure, standard library

# Libraries that cost seconds or weigh much, and the only rooms that may name them.
ONLY_THERE: dict[str, tuple[str, ...]] = {
    "aws_cdk": ("infra",),
    "constructs": ("infra",),
    "cdk_nag": ("infra",),
    "boto3": ("aws", "infra"),  # infra: the function in infra/look, which runs in Lambda alone
    "moto": ("local",),
    "starlette": ("web", "local"),
    "uvicorn": ("web", "local", "cli"),
    "obstore": ("runtime",),
}

PURE = ("batch", "pricing", "policy")
IMPURE_MODULES = {"random", "time", "socket", "subprocess", "sqlite3", "urllib", "http", "asyncio", "threading"}
PURE_CALLS = ("datetime.now", "datetime.utcnow", "date.today", "time.time", "random.random")


@cache
def tree_of(path: Path) -> ast.Module:
    """A file's syntax tree: many rules look at the same files."""
    return ast.parse(path.read_text(encoding="utf-8"))


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0]


def sources() -> Iterator[Path]:
    for room in MAY_IMPORT:
        yield from sorted((PACKAGE / room).rglob("*.py"))


@cache
def imported_names(path: Path) -> list[tuple[str, int]]:
    """Every module that a file names, eagerly or not, with its line; relative imports are made absolute."""
    found: list[tuple[str, int]] = []
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            found += [(alias.name, node.lineno) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: imports are absolute here"
            found += [(f"{node.module}.{alias.name}", node.lineno) for alias in node.names]
    return found


def is_within(name: str, allowed: str) -> bool:
    return name == allowed or name.startswith(f"{allowed}.")


def test_every_room_of_the_house_has_a_line_in_the_import_table() -> None:
    rooms = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert rooms <= set(MAY_IMPORT), f"rooms without a line: {sorted(rooms - set(MAY_IMPORT))}"


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_a_room_imports_only_what_its_line_allows(room: str) -> None:
    allowed = [f"spotbatch.{name}" for name in (room, *MAY_IMPORT[room], *EVERYBODY)]
    for path in sorted((PACKAGE / room).rglob("*.py")):
        for name, line in imported_names(path):
            if is_within(name, "spotbatch"):
                assert any(is_within(name, each) for each in allowed), f"{path.relative_to(ROOT)}:{line} imports {name}"


@pytest.mark.parametrize("library", ONLY_THERE)
def test_a_heavy_library_is_named_only_in_its_rooms(library: str) -> None:
    for path in sources():
        for name, line in imported_names(path):
            if is_within(name, library):
                assert room_of(path) in ONLY_THERE[library], f"{path.relative_to(ROOT)}:{line} imports {name}"


@pytest.mark.parametrize("room", PURE)
def test_a_pure_room_has_no_clock_no_chance_and_no_io(room: str) -> None:
    for path in sorted((PACKAGE / room).rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        for name, line in imported_names(path):
            assert name.partition(".")[0] not in IMPURE_MODULES, f"{path.relative_to(ROOT)}:{line} imports {name}"
        for call in PURE_CALLS:
            assert f"{call}(" not in text, f"{path.relative_to(ROOT)} calls {call}()"


def test_the_rulebook_needs_only_the_standard_library() -> None:
    import sys

    for path in sorted((PACKAGE / "batch").rglob("*.py")):
        for name, line in imported_names(path):
            top = name.partition(".")[0]
            assert top in sys.stdlib_module_names or top == "spotbatch", f"{path.name}:{line} imports {name}"


def test_every_module_says_in_its_docstring_what_lives_there() -> None:
    for path in sources():
        assert ast.get_docstring(tree_of(path)), f"{path.relative_to(ROOT)} has none"


# How AWS Batch and ECS word what happened. Code compares with these words, so they are spelt once.
WORDS_OF_AWS = (
    "Essential container",
    "Task failed to start",
    "Task stopped during",
    "Job attempt duration",
    "Dependent Job failed",
    "Array Child Job failed",
    "Job queue deleted",
    "Host EC2",
    "OutOfMemoryError",
    "CannotPull",
    "CannotStart",
    "CannotCreate",
    "CannotInspect",
    "DockerTimeout",
    "ResourceInitialization",
    "HostConfigError",
)


def texts_in_code(path: Path) -> Iterator[tuple[str, int]]:
    """Every string of a file, parts of f-strings too, with its line; docstrings are prose, and no code reads them."""
    tree = tree_of(path)
    prose = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in prose:
            yield node.value, node.lineno


def test_the_words_in_which_aws_gives_reasons_are_spelt_in_one_file() -> None:
    home = PACKAGE / "batch" / "status.py"
    assert all(any(word in text for text, _ in texts_in_code(home)) for word in WORDS_OF_AWS)
    for path in sorted({*sources(), *PACKAGE.glob("*.py")} - {home}):
        for text, line in texts_in_code(path):
            found = [word for word in WORDS_OF_AWS if word in text]
            assert not found, f"{path.relative_to(ROOT)}:{line} spells {found}: import it from batch/status.py"


def modules() -> dict[str, Path]:
    """Every module of the package by its dotted name."""
    return {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
        for path in sorted(PACKAGE.rglob("*.py"))
    }


def imported_at_run_time(node: ast.AST) -> Iterator[tuple[str, int]]:
    """What a file names when it runs, now or later: a lazy import counts, what only a type checker sees does not."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            for other in child.orelse:
                yield from imported_at_run_time(other)
        elif isinstance(child, ast.Import):
            yield from ((alias.name, child.lineno) for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            yield from ((f"{child.module}.{alias.name}", child.lineno) for alias in child.names)
        else:
            yield from imported_at_run_time(child)


def imports_between_files() -> dict[str, set[str]]:
    """Which file uses which. A name that a package hands on counts as an import of the package's own file."""
    known = modules()
    found: dict[str, set[str]] = {}
    for name, path in known.items():
        named = [each for each, _ in imported_at_run_time(tree_of(path))]
        used = {each if each in known else each.rpartition(".")[0] for each in named}
        found[name] = {each for each in used if each in known and each != name}
    return found


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Groups of files each of which reaches every other: whatever is left when files that use nothing left go."""
    users: dict[str, set[str]] = {name: set() for name in graph}
    for name, used in graph.items():
        for each in used:
            users[each].add(name)

    def reached(start: str, edges: dict[str, set[str]]) -> set[str]:
        seen, todo = {start}, [start]
        while todo:
            for each in edges[todo.pop()] - seen:
                seen.add(each)
                todo.append(each)
        return seen

    found, done = [], set()
    for name in graph:
        if name not in done:
            group = reached(name, graph) & reached(name, users)
            done |= group
            if len(group) > 1:
                found.append(sorted(group))
    return found


def test_no_file_imports_itself_through_others() -> None:
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == [["b", "c"]], "the search finds circles"
    assert circles(imports_between_files()) == []


def test_nobody_imports_what_another_file_keeps_for_itself() -> None:
    """A name that begins with an underscore belongs to its file, a file or folder of such a name to its room."""
    for path in sources():
        for name, line in imported_names(path):
            if not is_within(name, "spotbatch"):
                continue
            module, _, last = name.rpartition(".")
            own_room = name.split(".")[1] == room_of(path)
            is_dunder = last.startswith("__") and last.endswith("__")
            assert is_dunder or not last.startswith("_"), f"{path.relative_to(ROOT)}:{line} imports {name}"
            hidden = any(part.startswith("_") for part in module.split("."))
            assert own_room or not hidden, f"{path.relative_to(ROOT)}:{line} imports {name}"


# ---- the rooms below the command line take values and give values ----

SILENT = ("runs", "doctor", "rehearsal", "deployment")
COMMANDS = PACKAGE / "cli" / "commands"


@pytest.mark.parametrize("room", SILENT)
def test_a_room_below_the_command_line_does_not_print(room: str) -> None:
    """Progress goes through a callback or is yielded, so that a dashboard and a program can use the room too."""
    for path in sorted((PACKAGE / room).rglob("*.py")):
        where = path.relative_to(ROOT)
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.Call):
                assert ast.unparse(node.func) not in ("print", "input"), f"{where}:{node.lineno} talks to a terminal"
            if isinstance(node, ast.Attribute):
                written = ast.unparse(node)
                assert written not in ("sys.stdout", "sys.stderr"), f"{where}:{node.lineno} uses {written}"
        for name, line in imported_names(path):
            assert name.partition(".")[0] not in ("typer", "rich"), f"{where}:{line} imports {name}"


def test_the_client_does_not_print() -> None:
    text = (PACKAGE / "client.py").read_text(encoding="utf-8")
    assert not [word for word in ("print(", "sys.std", "rich") if word in text]


def test_every_file_of_the_commands_defines_a_command() -> None:
    for path in sorted(COMMANDS.glob("*.py")):
        if path.name == "__init__.py":  # the table of them
            continue
        tree = tree_of(path)
        commands = [
            node.name
            for node in tree.body
            if isinstance(node, ast.FunctionDef)
            and any(ast.unparse(each).startswith("app.command(") for each in node.decorator_list)
        ]
        assert commands, f"{path.relative_to(ROOT)} defines no command: it belongs elsewhere"


MOST_LINES = 70  # what fits a screen


def test_every_function_fits_a_screen() -> None:
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                assert lines <= MOST_LINES, f"{path.relative_to(ROOT)}:{node.lineno} {node.name} has {lines} lines"


# Nouns of the field that end as participles do.
NOUNS = {"coupling", "finding", "listing", "monitoring", "packing", "wording"}
PARTICIPLES = {"composed", "described", "fitted", "judged", "reported", "told"}


def test_files_are_named_after_things_and_not_by_participles() -> None:
    """`placing.py` or `judged.py` says nothing to whoever looks for a thing by its name; `running_attempt.py` does."""
    for path in sorted({*sources(), *PACKAGE.glob("*.py")}):
        last = path.stem.rpartition("_")[2]
        is_participle = (last.endswith("ing") and last not in NOUNS) or last in PARTICIPLES
        assert not is_participle, f"{path.relative_to(ROOT)}: name it after the thing"
