"""Imports run downwards only, and the rooms without I/O import nothing to do any with."""

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = frozenset({"pathing", "forecasting", "stitching", "ryu_apps", "vte_agent", "mininet_topos"})
OUTSIDE = frozenset({"tests", "benchmarks"})

# What each room may import of the project besides itself: packages, or single modules of them.
MAY_IMPORT = {
    "pathing": frozenset[str](),
    "forecasting": frozenset[str](),
    "stitching": frozenset({"pathing", "forecasting"}),
    "vte_agent": frozenset[str](),
    "ryu_apps": frozenset(
        {"stitching", "pathing", "forecasting", "vte_agent.protocol", "vte_agent.private_files"}
    ),
    "mininet_topos": PACKAGES - {"mininet_topos"},
}

# Clocks, sockets, threads and processes are arguments in these rooms, not imports.
WITHOUT_IO = ("pathing", "forecasting", "stitching")
IO = frozenset({"time", "socket", "threading", "asyncio", "os", "subprocess", "multiprocessing", "select"})

# The file readers of pathing take any path; what they open, they open by pathlib or gzip.
EXCEPTED = frozenset({("pathing/readers.py", "os")})


def imports(package: str) -> Iterator[tuple[str, str]]:
    """Every (file:line, module) that a package imports, wherever in a file the import stands."""
    for path in sorted((ROOT / package).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(), str(path))):
            where = f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 0)}"
            if isinstance(node, ast.Import):
                yield from ((where, alias.name) for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                base = node.module or ""
                if node.level:
                    parts = (*path.relative_to(ROOT).parts[: -node.level], *([base] if base else []))
                    base = ".".join(parts)
                # What is imported may be a module itself: from vte_agent import protocol.
                yield from ((where, f"{base}.{alias.name}") for alias in node.names)


def is_within(module: str, allowed: str) -> bool:
    return module == allowed or module.startswith(f"{allowed}.")


def test_every_package_has_its_rule() -> None:
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert packages - OUTSIDE == set(MAY_IMPORT)


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_a_package_imports_only_what_is_below_it(package: str) -> None:
    allowed = {package, *MAY_IMPORT[package]}
    wrong = [
        f"{where} imports {module}"
        for where, module in imports(package)
        if module.split(".")[0] in PACKAGES | OUTSIDE and not any(is_within(module, name) for name in allowed)
    ]
    assert not wrong


@pytest.mark.parametrize("package", WITHOUT_IO)
def test_a_package_without_io_imports_nothing_to_do_it_with(package: str) -> None:
    wrong = [
        f"{where} imports {module}"
        for where, module in imports(package)
        if (top := module.split(".")[0]) in IO and (where.split(":")[0], top) not in EXCEPTED
    ]
    assert not wrong


def at_import(nodes: list[ast.stmt]) -> Iterator[ast.ImportFrom]:
    """The imports of names that are carried out when a module is imported."""
    for node in nodes:
        if isinstance(node, ast.ImportFrom):
            yield node
        elif isinstance(node, ast.If | ast.Try) and "TYPE_CHECKING" not in ast.dump(node):
            yield from at_import([*node.body, *node.orelse])


def test_no_module_imports_itself_by_way_of_others() -> None:
    paths = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
        for package in PACKAGES
        for path in (ROOT / package).rglob("*.py")
    }
    imported: dict[str, set[str]] = {}
    for module, path in paths.items():
        named = {
            f"{node.module}.{alias.name}" if f"{node.module}.{alias.name}" in paths else str(node.module)
            for node in at_import(ast.parse(path.read_text(), str(path)).body)
            for alias in node.names
        }
        imported[module] = named & paths.keys()
    tuple(TopologicalSorter(imported).static_order())  # raises CycleError, which names them
