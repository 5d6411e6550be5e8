"""Recipes hold the publication's numbers, and a mistake in one is said in a line that helps."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from timbrel.host.errors import UserError
from timbrel.train.families.chroma.recipe import ChromaFrames, ChromaLoss, ChromaNetwork, ChromaRecipe
from timbrel.train.families.recipes import load_recipe, shipped_recipes
from timbrel.train.recipe import TrainingSettings

# Colonel & Keene 2020, Tables I to V and section VI: (latents, bottleneck, appended to the input, skip).
PUBLISHED = {
    "chroma-8-lrelu-none": (8, "lrelu", "none", False),  # Table I
    "chroma-8-lrelu-difference": (8, "lrelu", "difference", False),
    "chroma-8-lrelu": (8, "lrelu", "chroma", False),
    "chroma-2-lrelu-noskip": (2, "lrelu", "chroma", False),  # Tables II and III
    "chroma-2-lrelu": (2, "lrelu", "chroma", True),
    "chroma-2-noskip": (2, "sigmoid", "chroma", False),
    "chroma-2": (2, "sigmoid", "chroma", True),
    "chroma-3-noskip": (3, "sigmoid", "chroma", False),  # Table IV
    "chroma-3": (3, "sigmoid", "chroma", True),
    "chroma-8": (8, "sigmoid", "chroma", True),  # Figure 1 and Table V
    "chroma-8-noskip": (8, "sigmoid", "chroma", False),
    "chroma-8-vae": (8, "sigmoid", "chroma", True),  # section VI
    "chroma-8-vae-noskip": (8, "sigmoid", "none", False),
}


def write(folder, name, text):
    (folder / f"{name}.toml").write_text(text, encoding="utf-8")
    return str(folder / f"{name}.toml")


def refused(name, *changes):
    """The one line that refuses a recipe."""
    with pytest.raises(UserError) as caught:
        load_recipe(name, changes)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# ---- what ships


def test_every_recipe_of_the_publication_ships_and_no_other_claims_to_be_one():
    assert {name for name in shipped_recipes() if name.startswith("chroma-")} == set(PUBLISHED)


@pytest.mark.parametrize("name", PUBLISHED)
def test_recipes_hold_the_numbers_of_the_publication(name):
    recipe = load_recipe(name)
    training, frames, network = recipe.training, recipe.frames, recipe.network
    assert (network.latents, network.bottleneck, network.augmentation, network.skip) == PUBLISHED[name]
    assert network.hidden == [1024, 512, 256, 128, 64, 32, 16]
    assert network.domain == "magnitude"
    assert network.variational == name.startswith("chroma-8-vae")
    assert (frames.sample_rate, frames.frame_length) == (44100, 4096)
    assert frames.hop_length / frames.frame_length == 1 - 0.75
    assert frames.octave is None
    assert frames.views == 1
    assert (training.epochs, training.steps, training.minutes) == (300, None, None)
    assert (training.batch_size, training.learning_rate, training.l2) == (200, 5e-4, 1e-7)
    assert training.schedule == "constant"
    weights = {key: value for key, value in recipe.loss.model_dump().items() if value}
    assert weights.pop("mean_square") == 1
    if network.variational:  # on the scale of a sum over the 2049 bins, beta is 1
        assert weights.pop("divergence") * 2049 == pytest.approx(1, abs=0.01)
    assert not weights


def test_ten_hours_of_sound_fit_the_rows_that_the_publications_recipes_keep():
    frames = load_recipe("chroma-8").frames
    assert frames.rows >= 10 * 3600 * frames.sample_rate / frames.hop_length


@pytest.mark.parametrize(("name", "latents"), [("tuned-8", 8), ("tuned-2", 2)])
def test_tuned_recipes_fold_and_are_trained_to_obey(name, latents):
    recipe = load_recipe(name)
    assert recipe.network.latents == latents
    assert recipe.frames.octave == "lowest"
    assert recipe.frames.views > 1
    assert recipe.loss.consistency > 0
    assert recipe.network.skip
    assert recipe.frames.rows * (recipe.frames.frame_length // 2 + 1) * 2 <= 1 << 30  # they stay in memory


def test_each_recipe_is_called_as_its_file_and_says_what_it_is():
    names = shipped_recipes()
    assert not [name for name in names if name.startswith("base")]
    described = {name: load_recipe(name) for name in names}
    assert all(recipe.name == name for name, recipe in described.items())
    texts = [recipe.description for recipe in described.values()]
    assert len(set(texts)) == len(texts)
    assert not [text for text in texts if len(text) > 100 or "\n" in text]


# ---- to TOML and back

_octaves = st.one_of(st.none(), st.just("lowest"), st.integers(1, 7))


@st.composite
def recipes(draw):
    """Any recipe that is allowed."""
    octave = draw(_octaves)
    length = 2 ** draw(st.integers(8, 15))
    budget = draw(st.sampled_from(["epochs", "steps", "minutes"]))
    amount = draw(st.floats(1e-3, 1e5) if budget == "minutes" else st.integers(1, 1_000_000))
    weights = st.floats(0, 1e6)
    return ChromaRecipe(
        name=draw(st.text(max_size=20)),
        description=draw(st.text(max_size=60)),
        family="chroma",
        training=TrainingSettings(
            **{budget: amount},
            batch_size=draw(st.integers(1, 65536)),
            learning_rate=draw(st.floats(1e-12, 1)),
            schedule=draw(st.sampled_from(["constant", "cosine"])),
            l2=draw(st.floats(0, 1)),
            seed=draw(st.integers(0, 2**31 - 1)),
        ),
        frames=ChromaFrames(
            sample_rate=draw(st.integers(6000, 192000)),
            frame_length=length,
            hop_length=draw(st.integers(16, length)),
            octave=octave,
            views=1 if octave is None else draw(st.integers(1, 12)),
            rows=draw(st.integers(1000, 50_000_000)),
        ),
        network=ChromaNetwork(
            latents=draw(st.integers(1, 64)),
            hidden=draw(st.lists(st.integers(1, 16384), min_size=1, max_size=16)),
            bottleneck=draw(st.sampled_from(["sigmoid", "lrelu"])),
            augmentation=draw(st.sampled_from(["none", "difference", "chroma"])),
            skip=draw(st.booleans()),
            variational=draw(st.booleans()),
            domain=draw(st.sampled_from(["magnitude", "root"])),
        ),
        loss=ChromaLoss(
            mean_square=draw(st.floats(1e-9, 1e6)),
            squares=draw(weights),
            root_squares=draw(weights),
            consistency=draw(weights),
            uniformity=draw(weights),
            divergence=draw(weights),
        ),
    )


@given(recipes())
def test_a_recipe_comes_back_from_its_toml_as_it_was(tmp_path_factory, recipe):
    path = write(tmp_path_factory.getbasetemp(), "again", recipe.to_toml())
    assert load_recipe(path) == recipe


@pytest.mark.parametrize("name", shipped_recipes())
def test_a_shipped_recipe_comes_back_without_its_base(tmp_path, name):
    recipe = load_recipe(name)
    text = recipe.to_toml()
    assert "base" not in text.split("description")[0]
    assert load_recipe(write(tmp_path, "effective", text)) == recipe


# ---- bases


def test_a_recipe_states_its_difference_from_a_shipped_one(tmp_path):
    recipe = load_recipe(write(tmp_path, "mine", 'base = "chroma-2"\ndescription = "mine"\nnetwork.latents = 4\n'))
    expected = load_recipe("chroma-2", ["network.latents=4"])
    assert recipe == expected.model_copy(update={"name": "mine", "description": "mine"})


def test_bases_chain_and_the_nearest_word_wins(tmp_path):
    write(tmp_path, "one", 'base = "chroma-8"\nnetwork.latents = 5\ntraining.seed = 1\n')
    write(tmp_path, "two", 'base = "one"\ntraining.seed = 2\n')
    recipe = load_recipe(write(tmp_path, "three", 'base = "two"\ndescription = "third"\ntraining.l2 = 0\n'))
    assert (recipe.network.latents, recipe.training.seed, recipe.training.l2) == (5, 2, 0)
    assert (recipe.name, recipe.description) == ("three", "third")


def test_another_budget_takes_the_place_of_the_bases(tmp_path):
    training = load_recipe(write(tmp_path, "mine", 'base = "chroma-8"\n[training]\nminutes = 2.5\n')).training
    assert (training.epochs, training.steps, training.minutes) == (None, None, 2.5)


@pytest.mark.parametrize("loop", [["mine"], ["mine", "b"], ["mine", "b", "c"]])
def test_a_loop_of_bases_is_refused(tmp_path, loop):
    for name, base in zip(loop, [*loop[1:], loop[0]], strict=True):
        write(tmp_path, name, f'base = "{base}"\n')
    assert "its own base" in refused(str(tmp_path / "mine.toml"))


def test_a_base_that_is_missing_is_named(tmp_path):
    text = refused(write(tmp_path, "mine", 'base = "chroma-9"\n'))
    assert "chroma-9.toml does not exist" in text
    assert re.search(r"did you mean 'chroma-[238]'", text)


# ---- --set


def test_set_takes_numbers_strings_booleans_and_lists():
    recipe = load_recipe(
        "chroma-8",
        [
            "training.epochs=5",
            "training.learning_rate=1e-4",
            "network.bottleneck=lrelu",
            'network.augmentation="none"',
            "network.skip=false",
            "network.hidden=[64, 32]",
            "description=two words",
        ],
    )
    assert (recipe.training.epochs, recipe.training.learning_rate) == (5, 1e-4)
    assert recipe.network == ChromaNetwork(
        latents=8,
        hidden=[64, 32],
        bottleneck="lrelu",
        augmentation="none",
        skip=False,
        variational=False,
        domain="magnitude",
    )
    assert recipe.description == "two words"


def test_a_budget_that_is_set_takes_the_place_of_the_recipes():
    training = load_recipe("chroma-8", ["training.steps=7"]).training
    assert (training.epochs, training.steps, training.minutes) == (None, 7, None)


def test_the_last_change_of_a_key_wins():
    assert load_recipe("chroma-8", ["training.seed=1", "training.seed=2"]).training.seed == 2


@pytest.mark.parametrize("change", ["training.epochs", "", "--resume"])
def test_a_change_without_a_value_is_refused(change):
    assert "must be key=value" in refused("chroma-8", change)


# ---- mistakes


@pytest.mark.parametrize(
    ("change", "key", "hint"),
    [
        ("trainig.epochs=5", "trainig", "did you mean 'training'"),
        ("training.epoch=5", "training.epoch", "did you mean 'epochs'"),
        ("training.learning-rate=1", "training.learning-rate", "did you mean 'learning_rate'"),
        ("network.latent=5", "network.latent", "did you mean 'latents'"),
        ("network.hiden=[5]", "network.hiden", "did you mean 'hidden'"),
        ("frames.hop=5", "frames.hop", "known: frame_length, hop_length"),
        ("loss.consistancy=1", "loss.consistancy", "did you mean 'consistency'"),
        ("seed=5", "seed", "known: description, family"),
        ("=5", "", "known: description, family"),
    ],
)
def test_an_unknown_key_is_refused_with_the_nearest_known_one(change, key, hint):
    text = refused("chroma-8", change)
    assert f"unknown key {key!r}; {hint}" in text


@pytest.mark.parametrize("octave", ["lowes", "8", "4.5", "true"])
def test_an_octave_that_is_none_is_answered_with_those_that_there_are(octave):
    assert "frames.octave: must be 1 to 7, or 'lowest', the corpus's own" in refused(
        "tuned-8", f"frames.octave={octave}"
    )


@pytest.mark.parametrize(
    "change",
    [
        "training.epochs=0",
        "training.epochs=1.5",
        "training.epochs=many",
        "training.steps=-1",
        "training.minutes=0",
        "training.minutes=nan",
        "training.minutes=inf",
        "training.batch_size=0",
        "training.batch_size=[200]",
        "training.learning_rate=0",
        "training.learning_rate=2",
        "training.learning_rate=-1e-4",
        "training.learning_rate=nan",
        "training.l2=-1",
        "training.seed=-1",
        "training.seed=2147483648",
        "training.schedule=linear",
        "frames.sample_rate=5999",
        "frames.frame_length=128",
        "frames.frame_length=65536",
        "frames.hop_length=15",
        "frames.octave=0",
        "frames.octave=8",
        "frames.views=13",
        "frames.rows=0",
        "training.patience=0",
        "training.patience=true",
        "training.patience=1.5",
        "training.seed=0-3",
        "training.seed=false",
        "training.seed=1\ntraining.steps=5",
        "training.minutes=true",
        "network.latents=0",
        "network.latents=65",
        "network.hidden=[]",
        "network.hidden=[0]",
        "network.hidden=64",
        "network.bottleneck=tanh",
        "network.augmentation=mfcc",
        "network.skip=perhaps",
        "network.domain=power",
        "loss.mean_square=-1",
        "loss.mean_square=inf",
        "loss.squares=nan",
        "family=cliff",
    ],
)
def test_a_value_out_of_range_is_refused_by_the_name_of_its_key(change):
    text = refused("chroma-8", change)
    assert text.startswith(f"recipe chroma-8: {change.partition('=')[0]}"), text
    assert "got " in text


KEYS = [
    f"{part}.{key}"
    for part, of in (("training", TrainingSettings), ("network", ChromaNetwork))
    for key in of.model_fields
]
VALUES = ["", "1979-05-27", "[[]]", "{a = 1}", '"""', "\\", "1e999", "0x10", "-0", "true", "[1, 'a']", "\n[x]\ny = 1"]


@given(
    st.lists(
        st.one_of(
            st.text(max_size=30),
            st.builds(
                "{}={}".format,
                st.one_of(st.sampled_from(KEYS), st.text(max_size=8)),
                st.one_of(st.sampled_from(VALUES), st.text(max_size=12), st.integers().map(str), st.floats().map(str)),
            ),
        ),
        max_size=3,
    )
)
def test_any_change_is_taken_or_refused_in_one_line(changes):
    try:
        recipe = load_recipe("chroma-8", changes)
    except UserError as error:
        refusal = str(error)
    else:
        refusal = "none"
        assert type(recipe).model_validate(recipe.model_dump()) == recipe
    assert len(refusal.splitlines()) == 1


def test_values_that_do_not_go_together_are_refused():
    assert "power of two" in refused("chroma-8", "frames.frame_length=3000")
    for value in ("5", "[1, 2, 3]", "soft"):
        assert "frames.stretch: must be true, false, or two numbers" in refused(
            "tuned-partials", f"frames.stretch={value}"
        )
    assert "must not exceed" in refused("chroma-8", "frames.hop_length=8192")
    assert "need an octave" in refused("chroma-8", "frames.views=2")


@pytest.mark.parametrize("name", ["chroma-8", "tuned-8"])
def test_a_loss_that_compares_no_sound_is_refused(name):
    text = refused(name, *(f"loss.{term}=0" for term in ("mean_square", "squares", "root_squares", "bands", "groups")))
    assert "loss" in text
    assert "mean_square" in text


def test_two_budgets_are_refused_and_so_is_none(tmp_path):
    both = refused(write(tmp_path, "mine", 'base = "chroma-8"\n[training]\nsteps = 5\nminutes = 5\n'))
    assert "one budget" in both
    assert "steps" in both
    assert "minutes" in both
    text = load_recipe("chroma-8").to_toml()
    assert "one budget" in refused(write(tmp_path, "none", text.replace("epochs = 300\n", "")))


def test_a_recipe_that_does_not_exist_is_refused_with_the_nearest_that_does(tmp_path):
    assert "did you mean 'tuned-8'" in refused("tund-8")
    assert "does not exist" in refused(str(tmp_path / "none.toml"))
    assert "tuned-8" in refused("zzzzzz")


@pytest.mark.parametrize("content", [b"= 5", b"[training", b"\xff\xfe", b"training = 5\ntraining = 6"])
def test_a_file_that_is_not_toml_is_refused(tmp_path, content):
    (tmp_path / "bad.toml").write_bytes(content)
    text = refused(str(tmp_path / "bad.toml"))
    assert "bad.toml" in text
    assert "TOML" in text or "UTF-16" in text


def test_a_folder_or_an_empty_file_is_no_recipe(tmp_path):
    (tmp_path / "folder.toml").mkdir()
    assert "cannot be read" in refused(str(tmp_path / "folder.toml"))
    assert "family is missing; give chroma or" in refused(write(tmp_path, "empty", ""))
    assert "training" in refused(write(tmp_path, "scalar", 'base = "chroma-8"\ntraining = 5\n'))
