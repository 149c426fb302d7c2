"""Count how many small faults in the program the fast tests notice.

A fault (a mutant) is one change in one place: `<` becomes `<=`, `and` becomes `or`, a number grows
by one, a `raise` or a call is left out, a condition is negated, None is returned. Each mutant goes
into a copy of the checkout, where the tests of tests/unit that reach its line run. A mutant that no
test fails for has survived: a test is missing, or the line does nothing.

    python -m tests.mutation.mutate --count 150 --seed 1
    python -m tests.mutation.mutate --only certgrinderd/policy.py --count 0   # all of a file

Ends with status 0 when the tests kill at least --least per cent of the mutants.
"""

from __future__ import annotations

import argparse
import ast
import copy
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue

from coverage import CoverageData

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = (
    "certgrinderd/policy.py",
    *("certgrinderd/commandline", "certgrinderd/pki", "certgrinderd/revocation"),
    *("certgrinderd/issuance", "certgrinderd/settings", "certgrinderd/setup"),
    *("certgrinderd/system", "certgrinderd/store", "certgrinderd/checks"),
)
COPIED = ("certgrinderd", "tests", "hooks", "docs", "build", "ansible", "contrib", ".ci", "bench")
# Longer than any set of the fast tests takes: a mutant that never ends is killed by that.
SECONDS = 120

COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
}
ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
}


@dataclass(frozen=True)
class Mutant:
    """One change in one place.

    Attributes:
        path: The file, from the root of the checkout.
        line: Its line.
        what: What was changed, for people.
        source: The file with the change.
    """

    path: str
    line: int
    what: str
    source: str


@dataclass(frozen=True)
class Place:
    """Where a file can be changed: the number of a node in ast.walk(), and which of its changes."""

    path: str
    node: int
    change: int


def places_in(path: str) -> Iterator[Place]:
    """Return all places of a file that can be changed, but those that never run."""
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    parents = _parents(tree)
    for number, node in enumerate(ast.walk(tree)):
        if not _never_runs(node, parents):
            yield from (Place(path, number, kind) for kind, _ in enumerate(_changes(node)))


def mutant_at(place: Place) -> Mutant:
    """Make the change."""
    tree = ast.parse((ROOT / place.path).read_text(encoding="utf-8"))
    node = list(ast.walk(tree))[place.node]
    line = getattr(node, "lineno", 0)
    what, new = list(_changes(node))[place.change]
    _replace(_parents(tree)[node], node, new)
    return Mutant(place.path, line, what, ast.unparse(ast.fix_missing_locations(tree)))


def _parents(tree: ast.AST) -> dict[ast.AST, ast.AST]:
    return {child: each for each in ast.walk(tree) for child in ast.iter_child_nodes(each)}


def _never_runs(node: ast.AST, parents: dict[ast.AST, ast.AST]) -> bool:
    """Whether it is in a type or in `if TYPE_CHECKING`."""
    child = node
    while child in parents:
        parent = parents[child]
        if child in (getattr(parent, "annotation", None), getattr(parent, "returns", None)):
            return True
        if isinstance(parent, ast.If) and "TYPE_CHECKING" in ast.unparse(parent.test):
            return True
        child = parent
    return False


def _replace(parent: ast.AST, old: ast.AST, new: ast.AST) -> None:
    for name, value in ast.iter_fields(parent):
        if value is old:
            setattr(parent, name, new)
        elif isinstance(value, list) and any(each is old for each in value):
            value[:] = [new if each is old else each for each in value]


def _changes(node: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    """Return what can be changed at a node: a description, and the node to put in its place."""
    if isinstance(node, ast.expr):
        for expression in _changed_expressions(node):
            yield f"{ast.unparse(node)} -> {ast.unparse(expression)}", expression
    elif isinstance(node, ast.Return) and node.value is not None:
        if not isinstance(node.value, ast.Constant):
            yield f"{ast.unparse(node)} -> return None", ast.Return(ast.Constant(None))
    elif isinstance(node, ast.Raise) or _is_call_for_its_effect(node):
        yield f"left out: {ast.unparse(node)}", ast.Pass()


def _changed_expressions(node: ast.expr) -> Iterator[ast.expr]:
    changed = copy.deepcopy(node)
    if isinstance(changed, ast.Compare) and type(changed.ops[0]) in COMPARISONS:
        changed.ops[0] = COMPARISONS[type(changed.ops[0])]()
        yield changed
    elif isinstance(changed, ast.BoolOp):
        changed.op = ast.Or() if isinstance(changed.op, ast.And) else ast.And()
        yield changed
    elif isinstance(changed, ast.BinOp) and type(changed.op) in ARITHMETIC:
        if not _is_text(changed):
            changed.op = ARITHMETIC[type(changed.op)]()
            yield changed
    elif isinstance(changed, ast.UnaryOp) and isinstance(changed.op, ast.Not):
        yield changed.operand
    elif isinstance(changed, ast.Constant) and isinstance(changed.value, bool):
        yield ast.Constant(not changed.value)
    elif isinstance(changed, ast.Constant) and isinstance(changed.value, int):
        yield ast.Constant(changed.value + 1)


def _is_call_for_its_effect(node: ast.AST) -> bool:
    """Whether it is a call whose result nobody takes, and no line of the log either."""
    if not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)):
        return False
    return not ast.unparse(node).startswith(("logger.debug(", "logger.info("))


def _is_text(node: ast.BinOp) -> bool:
    sides = (node.left, node.right)
    return any(
        isinstance(side, ast.JoinedStr)
        or (isinstance(side, ast.Constant) and isinstance(side.value, (str, bytes)))
        for side in sides
    )


def tests_by_line(folder: Path) -> dict[str, dict[int, list[str]]]:
    """Run the fast tests once, and return which of them reach each line, by file.

    Raises:
        SystemExit: They fail as it is.
    """
    data_file = folder / "coverage"
    options = [
        "--cov=certgrinderd",
        "--cov-context=test",
        "--cov-report=",
        "-q",
        "-p",
        "no:randomly",
    ]
    done = _pytest(ROOT, [*options, "tests/unit"], {"COVERAGE_FILE": str(data_file)}, seconds=900)
    if done:
        raise SystemExit("the fast tests fail without any mutant")
    data = CoverageData(basename=str(data_file))
    data.read()
    found: dict[str, dict[int, list[str]]] = {}
    for name in data.measured_files():
        lines = {}
        for line, contexts in data.contexts_by_lineno(name).items():
            lines[line] = sorted({each.partition("|")[0] for each in contexts if each})
        found[str(Path(name).relative_to(ROOT))] = lines
    return found


def _pytest(
    root: Path, arguments: Sequence[str], environment: dict[str, str], *, seconds: int = SECONDS
) -> int:
    command = [sys.executable, "-B", "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider"]
    variables = {
        **os.environ,
        **environment,
        "PYTHONPATH": str(root),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    with subprocess.Popen(
        [*command, *arguments],
        cwd=root,
        env=variables,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as process:
        try:
            return process.wait(seconds)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, 9)
            return -9


def tests_for(mutant: Mutant, reached: dict[str, dict[int, list[str]]]) -> list[str]:
    """Return the tests that reach its line; what runs at import is reached by those of its file."""
    lines = reached.get(mutant.path, {})
    at_line = lines.get(mutant.line, [])
    return at_line or sorted({test for tests in lines.values() for test in tests})


def survives(mutant: Mutant, tests: Sequence[str], root: Path) -> bool:
    """Tell whether no test notices it, in a copy of the checkout."""
    if not tests:
        return True
    place = root / mutant.path
    original = place.read_text(encoding="utf-8")
    place.write_text(mutant.source, encoding="utf-8")
    try:
        return _pytest(root, tests, {}) == 0
    finally:
        place.write_text(original, encoding="utf-8")


def _copy(folder: Path) -> Path:
    folder.mkdir()
    for name in COPIED:
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for path in ROOT.iterdir():
        if path.is_file():
            shutil.copy2(path, folder / path.name)
    return folder


def _chosen(options: argparse.Namespace) -> list[Mutant]:
    names = options.only or PACKAGES
    paths = [
        str(path.relative_to(ROOT))
        for name in names
        if (ROOT / name).exists()
        for path in sorted((ROOT / name).rglob("*.py") if (ROOT / name).is_dir() else [ROOT / name])
    ]
    places = [place for path in paths for place in places_in(path)]
    if options.count:
        chance = random.Random(options.seed)  # noqa: S311 - which mutants, not a secret
        places = chance.sample(places, min(options.count, len(places)))
    return [mutant_at(place) for place in places]


def main() -> int:
    """Run the mutants, print the survivors, and say how many were killed."""
    parser = argparse.ArgumentParser(prog="mutate", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--count", type=int, default=150, help="how many, 0 for all (150)")
    parser.add_argument("--seed", type=int, default=0, help="which ones (0)")
    parser.add_argument("--least", type=float, default=95.0, help="per cent to be killed (95)")
    parser.add_argument("--only", action="append", help="a file or folder; may be repeated")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    chosen = _chosen(options)
    with tempfile.TemporaryDirectory(prefix="mutants.") as temporary:
        reached = tests_by_line(Path(temporary))
        copies: SimpleQueue[Path] = SimpleQueue()
        for number in range(options.jobs):
            copies.put(_copy(Path(temporary) / f"copy{number}"))

        def run(mutant: Mutant) -> bool:
            root = copies.get()
            try:
                return survives(mutant, tests_for(mutant, reached), root)
            finally:
                copies.put(root)

        survivors = 0
        with ThreadPoolExecutor(options.jobs) as pool:
            for mutant, alive in zip(chosen, pool.map(run, chosen), strict=True):
                if alive:
                    survivors += 1
                    print(f"survived: {mutant.path}:{mutant.line}: {mutant.what}", flush=True)  # noqa: T201
    killed = 100 * (len(chosen) - survivors) / len(chosen)
    print(f"{len(chosen)} mutants, {survivors} survived: {killed:.1f} % killed")  # noqa: T201
    return 0 if killed >= options.least else 1


if __name__ == "__main__":
    sys.exit(main())
