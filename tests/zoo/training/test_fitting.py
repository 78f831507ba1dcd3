"""The settings that are fitted to the number of examples."""

from dataclasses import replace

import pytest

from zoo._registry.recipes import FINETUNING
from zoo.training import finetuning_recipe
from zoo.training.fitting import EPOCH, RUN, SMALLEST, WARMUP, check, fitted

PICTURES = FINETUNING["pictures"]


@pytest.mark.parametrize("kind", FINETUNING)
@pytest.mark.parametrize("count", [2, 3, 5, 12, 47, 48, 50, 100, 255, 256, 287, 1000, 50_000])
def test_few_examples_get_updates_and_a_warm_up_that_ends(kind, count):
    recipe = fitted(FINETUNING[kind], count)
    steps = count // recipe.batch_size
    assert recipe.batch_size <= FINETUNING[kind].batch_size
    assert steps >= EPOCH or recipe.batch_size <= SMALLEST
    assert steps * recipe.epochs >= RUN
    assert recipe.warmup_steps <= WARMUP * steps * recipe.epochs
    assert recipe.patience >= FINETUNING[kind].patience
    assert count % recipe.batch_size <= 0.05 * count or count < 12


def test_many_examples_leave_the_recipe_as_it_is():
    assert fitted(PICTURES, 20_000) == PICTURES
    assert finetuning_recipe("resnet20_cifar10", examples=20_000) == finetuning_recipe("resnet20_cifar10")


def test_few_examples_in_numbers():
    made = finetuning_recipe("resnet20_cifar10", examples=48)
    assert made == replace(PICTURES, batch_size=6, epochs=38, patience=10)


def test_what_is_given_stays_and_the_rest_is_fitted_to_it():
    made = fitted(replace(PICTURES, epochs=2), 48, given={"epochs"})
    assert (made.epochs, made.batch_size, made.warmup_steps, made.patience) == (2, 6, 1, 5)
    made = fitted(replace(PICTURES, batch_size=16, warmup_steps=99), 48, given={"batch_size", "warmup_steps"})
    assert (made.epochs, made.batch_size, made.warmup_steps) == (100, 16, 99)


def test_batches_divide_over_devices():
    assert [fitted(PICTURES, count, multiple=4).batch_size for count in (3, 9, 48, 100, 5000)] == [
        *(4, 4, 4, 12, 32)
    ]


def test_what_nobody_wants_of_a_recipe_is_told(caplog):
    check(replace(PICTURES, epochs=20), 48)
    assert caplog.messages == [
        "16 of 48 examples are left out of each epoch, others each time: they fill no batch of 32; a "
        "batch_size of 6 leaves out 0",
        "the learning rate still rises when the run ends: warmup_steps=20 of 20 updates; choose fewer, or "
        "more epochs",
    ]
    caplog.clear()
    check(fitted(PICTURES, 48), 48)
    assert not caplog.messages
