"""Property tests draw the same examples in each run, whatever ran before them."""

import importlib.util
import sys

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st


def drawn():
    """Each number of a property test's examples, in order."""
    numbers = []

    @settings(max_examples=300, phases=[Phase.generate])
    @given(st.integers(), st.floats(), st.text(max_size=5))
    def law(whole, part, word):
        numbers.append(repr((whole, part, word)))

    law()
    return numbers


pytestmark = pytest.mark.skipif("config.option.hypothesis_profile == 'fresh'", reason="make fuzz draws fresh ones")


def test_a_property_test_draws_the_same_examples_again():
    first = drawn()
    assert len(set(first)) > 100
    assert drawn() == first


def test_the_numbers_in_modules_that_other_tests_load_change_no_example(tmp_path, monkeypatch):
    first = drawn()
    path = tmp_path / "numbers_of_a_module.py"
    path.write_text("NUMBERS = [" + ", ".join(f"{n}, {n}.25, 'word{n}'" for n in range(12345, 12445)) + "]")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, path.stem, module)
    spec.loader.exec_module(module)
    assert drawn() == first
