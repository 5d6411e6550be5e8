"""help() is the manual: every public name states its purpose, arguments and errors."""

import inspect
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import timbrel


def callables() -> Iterator[tuple[str, Callable[..., Any]]]:
    """Yield functions and methods that users call, by name."""
    for name in [*timbrel.__all__, "open"]:
        offered = getattr(timbrel, name)
        if inspect.isfunction(offered):
            yield name, offered
        for member_name, member in vars(offered).items() if inspect.isclass(offered) else ():
            if inspect.isfunction(member) and not member_name.startswith("_"):
                yield f"{name}.{member_name}", member


CALLABLES = dict(callables())


@pytest.mark.parametrize("name", CALLABLES)
def test_a_function_says_what_it_does_and_names_each_argument(name: str) -> None:
    function = CALLABLES[name]
    text = inspect.getdoc(function) or ""
    assert re.match(r"[A-Z].*\.(\n|$)", text), text
    arguments = [argument for argument in inspect.signature(function).parameters if argument != "self"]
    assert [argument for argument in arguments if not re.search(rf"\b{argument}\b", text)] == []


def test_values_are_described_too_and_the_package_names_all_that_it_offers() -> None:
    for name in timbrel.__all__:
        offered = getattr(timbrel, name)
        assert inspect.getdoc(offered), name
        assert f"`{name}`" in (timbrel.__doc__ or "")
        for member_name, member in vars(offered).items() if inspect.isclass(offered) else ():
            if isinstance(member, property) and not member_name.startswith("_"):
                assert member.__doc__, f"{name}.{member_name}"
