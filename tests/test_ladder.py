"""The order in which rooms import each other is the one that CONTRIBUTING.md draws."""

import ast
import functools
import re
from fnmatch import fnmatch
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TOPS = ("host", "train", "export")


def drawn(text):
    """The rungs of the drawing from the highest down, lists of ``host.live.`` (a folder), ``host.files`` and bars."""
    rungs, top = [], None
    for line in re.search(r"(?:^    (?:(?:export|train|host)/| ) .*\n)+", text, re.MULTILINE).group().splitlines():
        first, rest = line[4:14].strip(), line[14:]
        top = first.strip("/") or top
        names = re.split(r" {4,}", rest.strip())[0].split()
        rungs.append([name if name == "|" else f"{top}.{name.replace('/', '.')}" for name in names])
    return rungs


def modules(root=ROOT):
    """The file of each module by its dotted name below the package, packages themselves left out."""
    files = [path for top in TOPS for path in (root / top).rglob("*.py") if path.name != "__init__.py"]
    return {".".join(path.relative_to(root).with_suffix("").parts): path for path in files}


def imported(name, path, known):
    """The modules of the package that a module imports anywhere in it, absolute imports of the package included."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            assert not any(alias.name.split(".")[0] == "timbrel" for alias in node.names), f"{name} imports absolutely"
        if isinstance(node, ast.ImportFrom):
            base = name.split(".")[: -node.level] if node.level else []
            assert node.level or (node.module or "").split(".")[0] != "timbrel", f"{name} imports absolutely"
            target = [*base, *(node.module or "").split(".")] if node.module else base
            for alias in node.names if node.level else ():
                found = ".".join([*target, alias.name])
                yield found if found in known else ".".join(target)


def stands(name, there):
    """Return whether a rung names a module: the module itself, or its folder; a star matches any part of a name."""
    asked, parts = there.rstrip(".").split("."), name.split(".")
    deep = len(parts) > len(asked) if there.endswith(".") else len(parts) == len(asked)
    return deep and all(fnmatch(part, one) for one, part in zip(asked, parts, strict=False))


def rung_of(name, rungs):
    """The number of the rung on which a module stands, 0 the highest; None if it stands on none, or on two alike.

    Where several rungs name it, the one that names it most closely counts.
    """
    places = []
    for number, rung in enumerate(rungs):
        for there in (there for there in rung if stands(name, there)):
            parts = there.rstrip(".").split(".")
            places.append((len(parts) - parts.count("*"), len(parts), number))
    closest = [place for place in places if place[:2] == max(places)[:2]]
    return closest[0][2] if len(closest) == 1 else None


def side_of(name, rung):
    """The number of bars before a module on its rung."""
    return rung[: next(at for at, there in enumerate(rung) if stands(name, there))].count("|")


def faults(found, rungs):
    """What stands on no rung or on two, and what imports from a higher rung or across a bar: a line each."""
    for name in sorted(found):
        if rung_of(name, rungs) is None:
            yield f"{name} is not on the ladder once"
    place_of = functools.cache(lambda name: rung_of(name, rungs))
    for name, others in sorted(found.items()):
        for other in sorted(others):
            own, its = place_of(name), place_of(other)
            if own is not None and its is not None and its < own:
                yield f"{name} imports {other}, which stands higher"
            elif own is not None and own == its and side_of(name, rungs[own]) != side_of(other, rungs[own]):
                yield f"{name} imports {other}, which stands beside it"


def circle(found):
    """Modules that import each other in a circle; empty if there are none."""
    done = set()

    def walk(name, way):
        if name in way:
            return way[way.index(name) :]
        if name in done:
            return []
        rounds = (walk(other, [*way, name]) for other in sorted(found.get(name, ())))
        first = next((way for way in rounds if way), [])
        done.add(name)
        return first

    return next((way for way in (walk(name, []) for name in sorted(found)) if way), [])


@functools.cache
def house():
    """The modules of the package that each imports."""
    known = modules()
    return {name: {o for o in imported(name, path, known) if o in known} for name, path in known.items()}


RUNGS = drawn((ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"))


def test_every_import_points_down_the_ladder_and_every_module_stands_on_it():
    found = house()
    assert len(found) > 100
    assert list(faults(found, RUNGS)) == []


def test_no_modules_import_each_other_in_a_circle():
    assert circle(house()) == []


def test_one_module_loads_onnxruntime_because_it_turns_telemetry_off():
    loads = re.compile(r"^ *(?:import|from) onnxruntime\b", re.MULTILINE)
    found = {name for name, path in modules().items() if loads.search(path.read_text(encoding="utf-8"))}
    assert found == {"host.model.model"}


def test_engines_read_tables_of_a_preset_and_no_whole_one():
    engines = "host.engines."
    found = {other for name, others in house().items() if name.startswith(engines) for other in others}
    assert {name for name in found if name.startswith("host.preset.")} <= {"host.preset.preset"}


def test_what_the_ladder_names_exists():
    known = modules()
    for name in (name for rung in RUNGS for name in rung if name != "|"):
        assert any(stands(module, name) for module in known), name


@pytest.mark.parametrize(
    ("found", "line"),
    [
        (
            {"host.play.voices": {"host.live.terminal"}},
            "host.play.voices imports host.live.terminal, which stands higher",
        ),
        (
            {"train.loop": {"export.evaluate"}},
            "train.loop imports export.evaluate, which stands higher",
        ),
        (
            {"host.panel.server": {"host.live.bench"}},
            "host.panel.server imports host.live.bench, which stands beside it",
        ),
        ({"host.cellar": set()}, "host.cellar is not on the ladder once"),
    ],
)
def test_what_climbs_or_stands_nowhere_is_noticed(found, line):
    assert list(faults(found, RUNGS)) == [line]


def test_a_circle_is_noticed():
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c"]
