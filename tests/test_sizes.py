"""Files, functions and folders stay of a size that is read at once."""

import ast
from pathlib import Path

ROOT = Path(__file__).parents[1]
TOPS = ("host", "train", "export")
LONGEST_FILE, LONGEST_FUNCTION, MOST_MODULES = 400, 60, 16  # lines, lines with signature and docstring, files


def files():
    return [path for top in TOPS for path in sorted((ROOT / top).rglob("*.py"))]


def test_every_file_is_shorter_than_four_hundred_lines():
    lengths = {str(path.relative_to(ROOT)): path.read_text(encoding="utf-8").count("\n") for path in files()}
    assert {name: lines for name, lines in lengths.items() if lines >= LONGEST_FILE} == {}


def test_every_function_is_shorter_than_sixty_lines():
    long = {}
    for path in files():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = node.end_lineno - node.lineno + 1
                if lines >= LONGEST_FUNCTION:
                    long[f"{path.relative_to(ROOT)}: {node.name}"] = lines
    assert long == {}


def test_no_folder_has_more_than_sixteen_modules():
    modules = [path.parent for path in files() if path.name != "__init__.py"]
    crowded = {str(folder.relative_to(ROOT)) for folder in modules if modules.count(folder) > MOST_MODULES}
    assert crowded == set()
