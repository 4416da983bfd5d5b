"""Who may import whom. Read from the source, so a broken rule is found without running anything."""

from __future__ import annotations

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FILES = sorted((ROOT / "opdkit").rglob("*.py"))
HYDRA = ("hydra", "omegaconf")

# Package (or module) of opdkit -> what nothing in it may import.
NEVER: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(
        ("functional", "heads", "tokenization", "data", "errors", "study"), (*HYDRA, "transformers", "logging")
    ),
    "objectives": ("opdkit.generation", "opdkit.teachers", "opdkit.tasks"),
    "generation": ("opdkit.objectives", "opdkit.teachers", "opdkit.tasks"),
    "teachers": ("opdkit.objectives", "opdkit.tasks"),
    "tasks": ("opdkit.objectives", "opdkit.generation", "opdkit.teachers"),
    **dict.fromkeys(("charts", "intervals", "jsonl", "tables", "reports"), ("torch",)),
    "console": ("torch",),
}
ONLY = {"transformers": ("models",), **dict.fromkeys(HYDRA, ("config", "cli"))}
"""Library -> the only packages of opdkit that may import it."""

UPSTREAM = (
    "data", "errors", "files", "hub", "functional", "heads", "objectives", "samplers", "masking", "models", "teachers",
    "generation", "text", "rewards", "tasks", "grading", "environments", "evaluation", "loggers", "reports", "console",
    "runs", "intervals", "charts", "tokenization", "jsonl", "tables", "untrusted", "extras", "world",
    "servers", "addresses", "retrying", "processes", "sandbox", "seeding", "memory", "stopwatch", "temporary",
)  # fmt: skip
DOWNSTREAM = ("opdkit.training", "opdkit.config", "opdkit.cli", "opdkit.api")
UNSAFE_CALLS = ("eval", "exec", "compile", "__import__")
INSIDE = [ROOT / "opdkit" / "sandbox" / f"{name}.py" for name in ("bootstrap", "examine")]
"""What starts a program, or assertions about one, in a sandbox: the files that run untrusted code."""
UNSAFE_MODULES = ("pickle", "dill", "cloudpickle", "marshal", "shelve")


def package(file: Path) -> str:
    return file.relative_to(ROOT / "opdkit").with_suffix("").parts[0]


def imports(file: Path, text: str | None = None) -> set[str]:
    """Modules that a file imports, also inside functions; relative imports made absolute."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8") if text is None else text)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = file.relative_to(ROOT).with_suffix("").parts[: -node.level]
                base = ".".join([*parts, base]).rstrip(".")
            found |= {base, *(f"{base}.{alias.name}" for alias in node.names)}
    return found


def named(modules: set[str], forbidden: tuple[str, ...]) -> list[str]:
    return sorted(m for m in modules if any(m == name or m.startswith(f"{name}.") for name in forbidden))


@pytest.mark.parametrize("file", FILES, ids=lambda f: str(f.relative_to(ROOT)))
def test_imports(file: Path) -> None:
    ours, modules = package(file), imports(file)
    assert named(modules, NEVER.get(ours, ())) == []
    for library, allowed in ONLY.items():
        if ours not in allowed:
            assert named(modules, (library,)) == []
    if ours in UPSTREAM:
        assert named(modules, DOWNSTREAM) == []
    if ours != "study" and file != ROOT / "opdkit" / "cli" / "study.py":
        assert named(modules, ("opdkit.study",)) == []


@pytest.mark.parametrize("file", FILES, ids=lambda f: str(f.relative_to(ROOT)))
def test_nothing_runs_untrusted_code(file: Path) -> None:
    assert named(imports(file), UNSAFE_MODULES) == []
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Call):
            continue
        if isinstance(node.func, ast.Name) and file not in INSIDE:
            assert node.func.id not in UNSAFE_CALLS, f"line {node.lineno}"
        if isinstance(node.func, ast.Attribute) and ast.unparse(node.func) == "torch.load":
            pytest.fail(f"line {node.lineno}: weights load from safetensors")


def test_instantiate_is_called_in_one_place() -> None:
    users = [f for f in FILES if "hydra.utils.instantiate" in imports(f)]
    assert [str(f.relative_to(ROOT)) for f in users] == ["opdkit/config/build.py"]


def test_a_forbidden_import_would_be_found() -> None:
    file = ROOT / "opdkit" / "functional" / "pretended.py"
    text = "def f():\n    from hydra import utils\n    from ..config import build\n    import hydrant\n"
    assert package(file) == "functional"
    assert named(imports(file, text), HYDRA) == ["hydra", "hydra.utils"]
    assert named(imports(file, text), ("opdkit.config",)) == ["opdkit.config", "opdkit.config.build"]


def module(file: Path) -> str:
    name = ".".join(file.relative_to(ROOT).with_suffix("").parts)
    return name.removesuffix(".__init__")


def circle(texts: dict[str, set[str]]) -> list[str]:
    """One circle of modules that import each other, inside functions and for types as well; [] for none."""
    graph = {name: {m for m in found if m in texts and m != name} for name, found in texts.items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def test_no_files_import_each_other_in_a_circle() -> None:
    # The package's own face looks its names up when they are asked for.
    graph = {module(file): imports(file) for file in FILES if module(file) != "opdkit"}
    for name, found in graph.items():
        # `from package import module` needs the package's face for its name alone.
        graph[name] = {m for m in found if not any(other.startswith(f"{m}.") for other in found if other in graph)}
    assert circle(graph) == []


def test_a_circle_would_be_found() -> None:
    assert set(circle({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": set()})) == {"a", "b", "c"}
