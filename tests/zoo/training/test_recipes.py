from dataclasses import replace

import pytest

import zoo
from zoo.training import DATASETS, RECIPES, TrainingError, find_recipe, with_settings
from zoo.training.run_directory import claim
from zoo.training.tasks import TASKS


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_trains_a_manifest_entry_on_data_that_there_are(name):
    assert zoo.info(name).name == name
    assert RECIPES[name].task in TASKS
    assert RECIPES[name].dataset in DATASETS


def test_bundled_weights_have_a_recipe_and_say_so():
    entries = [zoo.info(name) for name in zoo.list_models(pretrained=True)]
    bundled = [entry for entry in entries if entry.weights.file and not entry.weights.repo]
    assert {entry.name: entry.source for entry in bundled} == {
        entry.name: f"zoo train {entry.name}" for entry in bundled if entry.name in RECIPES
    }


def test_settings_have_their_fields_types(recipe):
    changed = with_settings(recipe, ["batch_size=32", "learning_rate=1e-4", "decay=linear", "seed=3"])
    assert (changed.batch_size, changed.learning_rate, changed.decay, changed.seed) == (32, 1e-4, "linear", 3)
    assert changed.epochs == recipe.epochs


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ("batchsize=16", r"'batchsize=16' sets no field of a recipe; did you mean 'batch_size'\?"),
        ("batch_size", "gives the field no value; write batch_size=VALUE"),
        ("task=vae", "sets no field of a recipe; choose from epochs, "),
        ("batch_size=16.0", r"expected a whole number, found '16\.0'"),
        ("learning_rate=fast", "expected a number, found 'fast'"),
    ],
)
def test_a_setting_that_is_none_is_refused(recipe, setting, says):
    with pytest.raises(TrainingError, match=says):
        with_settings(recipe, [setting])


def test_all_impossible_values_are_named_at_once(recipe):
    settings = [
        "epochs=0",
        "batch_size=10",
        "accumulate_steps=3",
        "learning_rate=nan",
        "decay=slow",
        "seed=-1",
    ]
    with pytest.raises(TrainingError) as refusal:
        with_settings(recipe, settings)
    lines = str(refusal.value).splitlines()
    named = [line.split()[0] for line in lines[1:]]
    assert named == ["epochs", "accumulate_steps", "learning_rate", "decay", "seed"]
    assert lines[2] == "  accumulate_steps is 3; expected a divisor of batch_size"


def test_an_unknown_name_suggests_the_nearest():
    with pytest.raises(TrainingError, match="no recipe trains 'mlp_mnits'; did you mean 'mlp_mnist'"):
        find_recipe("mlp_mnits")


def test_former_names_of_fields_are_taken(recipe):
    changed = with_settings(recipe, ["average=0.5", "micro_batches=2"])
    assert (changed.ema_decay, changed.accumulate_steps) == (0.5, 2)
    assert (changed.average, changed.micro_batches) == (0.5, 2)
    assert replace(changed, average=0.25, micro_batches=1) == replace(
        changed, ema_decay=0.25, accumulate_steps=1
    )


def test_a_run_with_former_names_of_fields_goes_on(recipe, tmp_path):
    entry = zoo.info("mlp_mnist")
    with claim(tmp_path, entry, recipe, {}, resume=False):
        pass
    record = tmp_path / "run.json"
    former = record.read_text().replace("ema_decay", "average").replace("accumulate_steps", "micro_batches")
    assert former != record.read_text()
    record.write_text(former)
    with claim(tmp_path, entry, recipe, {}, resume=True):
        pass
    with (
        pytest.raises(TrainingError, match=r"recipe\.ema_decay: 0\.\d+, now 0\.5"),
        claim(tmp_path, entry, replace(recipe, ema_decay=0.5), {}, resume=True),
    ):
        pass
