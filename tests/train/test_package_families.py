"""Families of installed packages: found by name, their parts loaded apart, their recipes beside timbrel's."""

import re
import sys

import pytest
from timbrel.export.families import FAMILIES as EXPORTED
from timbrel.export.families import family_named, name_for_users
from timbrel.host import extensions
from timbrel.host.errors import UserError
from timbrel.train.families import FAMILIES, RECIPES, family_names, is_known, package_versions
from timbrel.train.families.recipes import load_recipe, package_recipes

from ..packages import install, only_for_now
from ..toy_families import recipe_text

RECIPE = """
from typing import Literal
from timbrel.train.recipe import Recipe

class ToyRecipe(Recipe):
    family: Literal["toy"]
"""
TRAINING = """
from timbrel.train.families.family import Family

class ToyFamily(Family):
    previewed = False
    check = data = None
"""
EXPORT = """
from timbrel.export.families.family import ExportFamily

class ToyExport(ExportFamily):
    recipe, exported = "toy-small", False
    report = None
"""
TOML = recipe_text("toy", 64)
ENTRIES = {
    extensions.FAMILIES: {
        "toy.recipe": "toy_family.recipe:ToyRecipe",
        "toy.train": "toy_family.training:ToyFamily",
        "toy.export": "toy_family.export:ToyExport",
    }
}
MODULES = {
    "toy_family/__init__.py": "",
    "toy_family/recipe.py": RECIPE,
    "toy_family/training.py": TRAINING,
    "toy_family/export.py": EXPORT,
    "toy_family/toy-small.toml": TOML,
    "toy_family/base-toy.toml": TOML,
}


@pytest.fixture(autouse=True)
def site(tmp_path, monkeypatch):
    """A folder with one installed package."""
    with only_for_now(monkeypatch, tmp_path / "site") as folder:
        install(folder, "toy-family", ENTRIES, MODULES)
        yield folder


def loaded():
    return {name for name in sys.modules if name.startswith("toy_family.")}


def test_the_parts_of_a_family_are_loaded_apart():
    assert "toy" in family_names()
    assert is_known("toy")
    assert not loaded()
    assert RECIPES["toy"].__name__ == "ToyRecipe"
    assert loaded() == {"toy_family.recipe"}
    assert FAMILIES["toy"].previewed is False
    assert loaded() == {"toy_family.recipe", "toy_family.training"}
    assert EXPORTED["toy"].exported is False
    assert loaded() == {"toy_family.recipe", "toy_family.training", "toy_family.export"}


def test_a_package_s_recipes_stand_behind_timbrel_s(timbrel):
    listed = [line.split()[0] for line in timbrel("recipes").out.splitlines()]
    assert listed[-1] == "toy-small"
    assert listed.count("toy-small") == 1
    assert "base-toy" not in listed
    recipe = load_recipe("toy-small", ["training.steps=3"])
    assert (recipe.name, recipe.family, recipe.training.steps) == ("toy-small", "toy", 3)


def test_a_recipe_of_the_user_may_have_a_package_s_as_its_base(tmp_path):
    (tmp_path / "mine.toml").write_text('base = "toy-small"\n[training]\nseed = 7\n')
    assert load_recipe(str(tmp_path / "mine.toml")).training.seed == 7
    (tmp_path / "toy-small.toml").write_text(TOML.replace("seed = 1", "seed = 2\nkeep = 3"))  # the nearer one
    assert load_recipe(str(tmp_path / "mine.toml")).training.keep == 3


@pytest.mark.parametrize("family", ["toy_family", "toy_family.recipe:ToyRecipe", "toy.recipe", "gone"])
def test_a_recipe_s_family_is_no_module_package_or_part(tmp_path, family):
    (tmp_path / "sly.toml").write_text(TOML.replace('"toy"', f'"{family}"'))
    with pytest.raises(UserError, match=re.escape(f"family is unknown (got '{family}'); give chroma or ")) as raised:
        load_recipe(str(tmp_path / "sly.toml"))
    assert "install" not in str(raised.value)
    assert not loaded()


def test_timbrel_s_own_family_wins_over_a_package_s(site):
    install(site, "sly-family", {extensions.FAMILIES: {"clip.recipe": "toy_family.recipe:ToyRecipe"}}, {})
    RECIPES.pop("clip", None)
    assert RECIPES["clip"].__name__ == "ClipRecipe"
    assert package_versions("clip") == {}


def test_two_packages_with_one_family_are_refused_by_both_names(site, tmp_path):
    install(site, "other-family", {extensions.FAMILIES: {"toy.train": "toy_family.training:ToyFamily"}}, {})
    (tmp_path / "mine.toml").write_text(TOML)
    with pytest.raises(UserError, match="family 'toy' is of two installed packages, other-family and toy-family; "):
        load_recipe(str(tmp_path / "mine.toml"))


def test_two_packages_with_one_recipe_are_refused_by_both_files(site):
    parts = {"two.recipe": "other_family.recipe:ToyRecipe"}
    install(
        site,
        "other-family",
        {extensions.FAMILIES: parts},
        {file.replace("toy_family", "other_family"): text for file, text in MODULES.items()},
    )
    assert len(package_recipes()["toy-small"]) == 2
    with pytest.raises(UserError, match=r"recipe 'toy-small' is of two .*other_family\S+ and \S+toy_family\S+; give"):
        load_recipe("toy-small")


def test_a_family_without_a_part_is_refused_by_the_part(site):
    entries = {extensions.FAMILIES: {"toy.recipe": "toy_family.recipe:ToyRecipe"}}
    install(site, "toy-family", entries, MODULES, version="1.1")
    assert load_recipe("toy-small").family == "toy"
    with pytest.raises(UserError, match=r"family 'toy' has no entry 'toy\.train' in 'timbrel\.families'; correct"):
        FAMILIES["toy"]


@pytest.mark.parametrize(
    ("part", "module", "words"),
    [
        ("recipe", "import sys; sys.exit(0)", r"of package toy-family 1\.1 cannot be loaded: SystemExit: 0; install"),
        ("recipe", "ToyRecipe = 5", r"entry 'toy\.recipe' of an installed package is no class of Recipe; correct"),
        ("recipe", "class ToyRecipe: pass", r"entry 'toy\.recipe' of an installed package is no class of Recipe"),
        ("training", "def ToyFamily(): pass", r"entry 'toy\.train' of an installed package is no class of Family"),
        (
            "training",
            TRAINING + "    def __init__(self): raise RuntimeError('no')",
            "cannot be loaded: RuntimeError: no",
        ),
        ("export", "ToyExport = 5", r"entry 'toy\.export' of an installed package is no class of ExportFamily"),
        ("export", EXPORT + "    def __init__(self): exit()", "cannot be loaded: SystemExit: None"),
    ],
)
def test_a_part_that_exits_or_is_another_object_is_one_line(site, timbrel, part, module, words):
    install(site, "toy-family", ENTRIES, MODULES | {f"toy_family/{part}.py": module}, version="1.1")
    with pytest.raises(UserError, match=words) as caught:
        {"recipe": RECIPES, "training": FAMILIES, "export": EXPORTED}[part]["toy"]
    assert "\n" not in str(caught.value)
    ended = timbrel("recipes")
    assert "chroma-8 " in ended.out
    assert ended.status == (2 if part == "recipe" else 0)
    assert len(ended.err.splitlines()) == (part == "recipe")


def test_a_family_lets_its_package_run_in_this_process():
    package = extensions.find(extensions.FAMILIES, "toy")
    assert not extensions.may_run(package)
    load_recipe("toy-small")
    assert extensions.may_run(package)


def test_a_family_s_package_and_version_are_known_without_its_code():
    assert package_versions("toy") == {"toy-family": "1.0"}
    assert not loaded()


def test_make_takes_a_package_s_family_by_its_name(timbrel, tmp_path):
    import timbrel as package

    assert family_named("toy") == "toy"
    assert name_for_users("toy") == "toy"
    ended = timbrel("make", tmp_path / "no-sounds", "-o", tmp_path / "out", "--family", "toy")
    assert "no-sounds" in ended.err
    with pytest.raises(UserError, match="no-sounds does not exist"):
        package.make(tmp_path / "no-sounds", tmp_path / "out", family="toy")
    refused = timbrel("make", tmp_path / "no-sounds", "-o", tmp_path / "out", "--family", "gone")
    assert refused.status == 2
    assert "--family 'gone' is unknown; give auto, chroma, " in refused.err


def test_a_cluster_s_machine_with_another_version_trains_nothing(tmp_path):
    from timbrel import __version__
    from timbrel.export.study.runs import Training, _train_on_node

    training = Training(load_recipe("toy-small"), tmp_path / "corpus", tmp_path / "run")
    stopped, error = _train_on_node(training, "cpu", __version__, {"toy-family": "2.0"})
    assert not stopped
    assert "package toy-family is 1.0 here and 2.0 at the start; install the same version" in str(error)
