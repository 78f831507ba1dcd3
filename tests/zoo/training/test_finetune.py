"""Finetuning on a folder of pictures and on tables of texts that the test makes."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

import zoo
from tests.reference import twins
from tests.support import compilation
from tests.zoo.training import tables
from zoo._saving.export import export
from zoo.cli.app import app
from zoo.training import DataError, TrainingError, evaluate_pretrained, finetune, finetuning_recipe
from zoo.training.loop import make_step
from zoo.training.metrics import read_rows
from zoo.training.optimizer import optimizer, trained
from zoo.training.state import TrainState

pytestmark = pytest.mark.costly

COLOURS = {"blue": (40, 60, 200), "green": (60, 190, 70), "red": (200, 50, 40)}


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> Path:
    """Three classes of noisy patches, of several sizes."""
    folder, rng = tmp_path_factory.mktemp("pictures"), np.random.default_rng(0)
    for split, count in (("train", 16), ("val", 5)):
        for name, colour in COLOURS.items():
            (folder / split / name).mkdir(parents=True)
            for index in range(count):
                noise = rng.integers(0, 50, (20 + index, 40 - index, 3))
                pixels = (np.array(colour) + noise).clip(0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(folder / split / name / f"{index}.png")
    return folder


@pytest.fixture
def recipe():
    return replace(finetuning_recipe("resnet20_cifar10"), epochs=3, batch_size=16, warmup_steps=2)


@pytest.fixture(scope="module")
def texts(tmp_path_factory) -> Path:
    return tables.write_texts(tmp_path_factory.mktemp("texts"))


@pytest.fixture(scope="module")
def bert(tmp_path_factory) -> Path:
    return tables.write_bert(tmp_path_factory.mktemp("bert") / "bert")


def flat(tree) -> dict[str, np.ndarray]:
    return {path: np.asarray(array) for path, array in zoo._variables.tree.flatten(tree).items()}


def test_pictures_are_learnt_saved_and_recognised(pictures, recipe, tmp_path):
    out = tmp_path / "run"
    model = finetune(
        "resnet20_cifar10", out, data=pictures, recipe=replace(recipe, epochs=6, learning_rate=1e-2)
    )
    assert {path.name for path in out.iterdir()} == {
        *("config.json", "metrics.jsonl", "model.safetensors", "run.json"),
        *("confusion.png", "curves.png"),
    }
    assert model.entry.class_names == ("blue", "green", "red")
    assert model.entry.metrics["validation_accuracy"] == 1
    assert evaluate_pretrained(out, data=pictures) == dict(model.entry.metrics)
    loaded = zoo.load(out, pretrained=True)
    before = zoo.load("resnet20_cifar10", pretrained=True)
    assert all(map(np.array_equal, jax.tree.leaves(loaded.variables), jax.tree.leaves(model.variables)))
    changed = flat(loaded.variables)
    for path, array in flat(before.variables).items():
        if "/fc/" not in path:
            assert not np.array_equal(changed[path], array), path
    result = CliRunner().invoke(app, ["predict", str(out), str(pictures / "val" / "red" / "0.png")])
    assert result.stdout.splitlines()[0].split("\t")[1] == "red"


def test_a_run_is_measured_by_its_recipe_on_data_of_its_classes_only(pictures, recipe, tmp_path):
    model = zoo.load("resnet20_cifar10", num_classes=3)
    zoo.save(model, tmp_path, labels=("blue", "green", "red"))
    (tmp_path / "run.json").write_text(json.dumps({"recipe": asdict(recipe)}))
    paths = sorted((pictures / "val").glob("*/*.png"))
    logits = jax.jit(model)(zoo.preprocess("resnet20_cifar10")(paths))
    right = np.asarray(logits).argmax(-1) == np.repeat([0, 1, 2], len(paths) // 3)
    measured = evaluate_pretrained(tmp_path, data=pictures)
    assert measured["validation_accuracy"] == pytest.approx(right.mean(), abs=1e-6)
    with pytest.raises(DataError, match="was finetuned on data of your own; name them with data="):
        evaluate_pretrained(tmp_path)
    zoo.save(model, tmp_path, labels=("blue", "green", "pink"), overwrite=True)
    with pytest.raises(DataError, match=r"has classes .* 'red'; .* knows 'blue', 'green', 'pink'"):
        evaluate_pretrained(tmp_path, data=pictures)


def test_a_classifier_of_ones_own_is_measured_on_all_of_its_data(pictures, tmp_path):
    """Whatever the order of its classes; of data with a `val`, on that."""
    model = zoo.load("resnet20_cifar10", num_classes=3)
    zoo.save(model, tmp_path, labels=("red", "blue", "green"))
    for data in (pictures / "train", pictures):
        paths = sorted((data / "val" if data == pictures else data).glob("*/*.png"))
        logits = jax.jit(model)(zoo.preprocess("resnet20_cifar10")(paths))
        wanted = [("red", "blue", "green").index(path.parent.name) for path in paths]
        measured = evaluate_pretrained(tmp_path, data=data)
        assert {*measured} == {"accuracy", "loss"}
        assert measured["accuracy"] == pytest.approx((logits.argmax(-1) == np.array(wanted)).mean())


def test_the_export_loads_into_pytorch_and_is_as_good(pictures, recipe, tmp_path):
    model = finetune("resnet20_cifar10", tmp_path / "run", data=pictures, recipe=recipe)
    export(tmp_path / "run", tmp_path / "it.pth", layout="cifar")
    twin = twins.CifarResNet(20)
    twin.linear = torch.nn.Linear(64, 3)
    twin.load_state_dict(torch.load(tmp_path / "it.pth", weights_only=True), strict=True)
    paths = sorted((pictures / "val").glob("*/*.png"))
    inputs = torch.from_numpy(zoo.preprocess(model.entry)(paths)).movedim(-1, 1)
    with torch.no_grad():
        taken = twin.eval()(inputs).argmax(-1).numpy()
    names = np.array(model.entry.class_names)[taken]
    assert (names == [path.parent.name for path in paths]).mean() == model.entry.metrics[
        "validation_accuracy"
    ]


def test_a_frozen_backbone_stays_as_it_was_without_gradients_or_state(pictures, recipe, tmp_path):
    frozen = replace(recipe, backbone_rate=0.0, average=0.9)
    model = finetune("resnet20_cifar10", tmp_path / "run", data=pictures, recipe=frozen)
    before, after = (flat(each.variables) for each in (zoo.load("resnet20_cifar10", pretrained=True), model))
    assert all(np.array_equal(after[path], array) for path, array in before.items() if "/fc/" not in path)
    made = optimizer(frozen, 10, ("fc",))
    learning = trained(model.variables["params"], frozen, ("fc",))
    state = TrainState.create(model.variables, made, average=False, seed=0, trained=learning)
    assert sum(leaf.size for leaf in jax.tree.leaves(state.opt_state) if leaf.ndim) == 2 * (64 * 3 + 3)
    batch = zoo.training.Examples(jnp.zeros((8, 32, 32, 3), jnp.uint8), jnp.zeros(8, jnp.int32))
    costs = [
        jax.jit(make_step(model, each, optimizer(each, 10, ("fc",))))
        .lower(
            TrainState.create(
                model.variables, optimizer(each, 10, ("fc",)), average=False, seed=0,
                trained=trained(model.variables["params"], each, ("fc",)),
            ),
            batch,
        )
        .compile()
        .cost_analysis()["flops"]
        for each in (replace(frozen, average=0.0), recipe)
    ]  # fmt: skip
    assert costs[0] < 0.4 * costs[1]  # forward alone is a third


def test_as_many_classes_get_a_new_head_unless_they_are_the_same(tmp_path, recipe):
    known = zoo.info("resnet20_cifar10").class_names
    heads = []
    for name, classes in (("other", [f"class {index}" for index in range(10)]), ("same", known)):
        for split, label in [(split, label) for split in ("train", "val") for label in classes]:
            (tmp_path / name / split / label).mkdir(parents=True)
            Image.new("RGB", (32, 32)).save(tmp_path / name / split / label / "1.png")
        frozen = replace(recipe, epochs=1, batch_size=10, learning_rate=1e-9, backbone_rate=0.0)
        model = finetune("resnet20_cifar10", tmp_path / "run" / name, data=tmp_path / name, recipe=frozen)
        heads.append(model.variables["params"]["fc"]["kernel"])
    published = zoo.load("resnet20_cifar10", pretrained=True).variables["params"]["fc"]["kernel"]
    assert np.abs(heads[1] - published).max() < 1e-6
    assert np.abs(heads[0] - published).max() > 0.1


def test_a_folder_of_transformers_learns_a_plain_folder_and_without_matplotlib_draws_nothing(
    pictures, tmp_path, capsys, caplog, monkeypatch
):
    """Its preprocessing and the new classes are in what the run leaves."""
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    base = zoo.load(
        "vit_base_patch16_224.google",
        width=16,
        depth=1,
        heads=2,
        feed_forward=16,
        image_size=16,
        patch_size=8,
    )
    how = {"resize": [16, 16], "interpolation": "bilinear", "mean": [0.5] * 3, "std": [0.25] * 3}
    zoo.save(base, tmp_path / "my-vit", format="transformers", preprocess=how)
    recipe = replace(finetuning_recipe(tmp_path / "my-vit"), epochs=1, batch_size=16)
    said: list[str] = []
    model = finetune(
        str(tmp_path / "my-vit"),
        str(tmp_path / "run"),
        data=str(pictures / "train"),
        recipe=recipe,
        report=lambda epoch, measures: said.append(caplog.text),
    )
    assert "curves.png and confusion.png will be left out: pictures need matplotlib" in said[0]
    assert not list((tmp_path / "run").glob("*.png"))
    entry = zoo.info(tmp_path / "run")
    assert entry == zoo.load(tmp_path / "run", pretrained=True).entry
    assert entry.class_names == ("blue", "green", "red")
    assert entry.preprocess == zoo.info(tmp_path / "my-vit").preprocess
    assert (entry.source, entry.base_model) == ("zoo finetune my-vit --data train", "my-vit")
    assert len(zoo.predict(model, [pictures / "val" / "red" / "0.png"])[0]) == 3
    assert capsys.readouterr().err.startswith(
        "zoo: 39 examples of 3 classes to train on, and 9 to measure on (20% of each class, held out):\n"
    )


def test_the_backbone_learns_more_slowly(recipe):
    params = {"fc": {"kernel": jnp.ones(3)}, "conv1": {"kernel": jnp.ones(3)}}
    made = optimizer(replace(recipe, optimizer="sgd", clip_norm=0.0, warmup_steps=0), 10, ("fc",))
    updates, _ = made.update(jax.tree.map(jnp.ones_like, params), made.init(params), params)
    np.testing.assert_allclose(updates["conv1"]["kernel"], 0.1 * updates["fc"]["kernel"], rtol=1e-6)


def test_lora_trains_matrices_and_the_head_alone_and_writes_both_for_peft(texts, bert, tmp_path):
    settings = {"epochs": 1, "batch_size": 64, "lora_rank": 2, "learning_rate": 3e-3}
    made = finetune(bert, tmp_path / "run", data=texts, recipe=settings)
    base = zoo.load(bert, pretrained=True, num_classes=2)
    adapted = flat(zoo.merge_adapter(base, tmp_path / "run" / "adapter").variables)
    before, after = flat(base.variables), flat(made.variables)
    assert after.keys() == before.keys()
    changed = {path for path in after if not np.array_equal(after[path], before[path])}
    assert all(path.endswith("/kernel") for path in changed if not re.search("/(classifier|pooler)/", path))
    assert len(changed) == 2 * 6 + 4  # dense layers of both blocks; kernels and biases of the head
    for path, array in after.items():
        np.testing.assert_allclose(adapted[path], array, rtol=1e-5, atol=1e-6)
    saved = flat(zoo.load(tmp_path / "run", pretrained=True).variables)
    assert all(np.array_equal(saved[path], array) for path, array in after.items())


def test_texts_are_learnt(texts, bert, tmp_path):
    out = tmp_path / "run"
    recipe = replace(finetuning_recipe(bert), epochs=6, learning_rate=3e-3, backbone_rate=1.0)
    model = finetune(bert, out, data=texts, recipe=recipe)
    assert model.entry.metrics["validation_accuracy"] > 0.9
    assert model.entry.class_names == ("five", "nine")
    result = CliRunner().invoke(app, ["predict", str(out), "w12 w9 w13"])
    assert result.stdout.splitlines()[0].split("\t")[1] == "nine"


def test_a_run_ends_when_nothing_gets_better_and_goes_on_if_extended(pictures, recipe, tmp_path, capsys):
    # So slow that accuracy and loss stay the same, as statistics do; that is not better.
    slow = {"epochs": 9, "patience": 2, "backbone_rate": 0.0, "learning_rate": 1e-12, "keep": 1}
    train = partial(finetune, "resnet20_cifar10", tmp_path / "run", data=pictures)
    train(recipe=slow | {"batch_size": 16})
    assert len(accuracies(tmp_path / "run")) == 1 + 2
    said = "stopped early: no better accuracy for 2 epochs, nor an equal one with a lower loss (patience=0"
    assert f"zoo: {said} trains all 9).\n" in capsys.readouterr().err
    # What is not said again is as before.
    train(recipe={"epochs": 10}, resume=True)
    assert len(accuracies(tmp_path / "run")) == 1 + 2 + 2
    assert f"zoo: {said} trains all 10).\n" in capsys.readouterr().err
    train(resume=True)
    assert len(accuracies(tmp_path / "run")) == 1 + 2 + 2
    assert said in capsys.readouterr().err


def accuracies(run: Path) -> list[float]:
    rows = read_rows(run / "metrics.jsonl")
    return [row["validation_accuracy"] for row in rows if "epoch" in row and "validation_accuracy" in row]


@pytest.mark.slow  # test_run.py kills the same loop
def test_a_killed_run_is_resumed_to_the_same_arrays(pictures, tmp_path):
    settings = [f"--set={name}={value}" for name, value in {"epochs": 3, "batch_size": 16}.items()]
    command = [
        *(sys.executable, "-m", "zoo", "finetune", "resnet20_cifar10"),
        *("--data", str(pictures)),
        *settings,
    ]
    compiled_once = os.environ | compilation.shared_by_processes(tmp_path)
    run = partial(subprocess.run, check=True, capture_output=True, text=True, env=compiled_once)
    run([*command, "--out", str(tmp_path / "whole")])
    with subprocess.Popen(
        [*command, "--out", str(tmp_path / "killed")], stderr=subprocess.DEVNULL, env=compiled_once
    ) as process:
        while not list((tmp_path / "killed" / "checkpoints").glob("1/_CHECKPOINT_METADATA")):
            assert process.poll() is None
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
    assert not (tmp_path / "killed" / "model.safetensors").exists()
    done = run([*command, "--out", str(tmp_path / "killed"), "--resume"])
    files = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("whole", "killed")]
    assert files[0] == files[1]
    assert "48 examples of 3 classes to train on, and 15 to measure on:\n  blue   16 and 5\n" in done.stderr
    assert "initialised anew" not in done.stderr  # which is what was asked for


def test_what_cannot_be_finetuned_is_refused(pictures, bert, tmp_path):
    with pytest.raises(TrainingError, match="has 3 classes, not 4"):
        finetune("resnet20_cifar10", tmp_path / "run", data=pictures, num_classes=4)
    with pytest.raises(TrainingError, match="48 examples are no batch of 64; choose a smaller batch_size"):
        finetune(
            "resnet20_cifar10",
            tmp_path / "run",
            data=pictures,
            recipe=replace(finetuning_recipe("resnet20_cifar10"), batch_size=64),
        )
    with pytest.raises(TrainingError, match="'vae_mnist' has no head that could be replaced"):
        finetune("vae_mnist", tmp_path / "run", data=pictures)
    with pytest.raises(TrainingError, match="recipe= has no field 'epoch'; did you mean 'epochs'"):
        finetune("resnet20_cifar10", tmp_path / "run", data=pictures, recipe={"epoch": 1})
    for inside in (pictures / "train" / "run", pictures / "val" / "red" / "run"):
        with pytest.raises(TrainingError, match="whose folders are the classes, and would be one of them"):
            finetune("resnet20_cifar10", inside, data=pictures)
        assert not inside.exists()


def test_other_data_are_told_in_words_and_a_directory_in_use_before_any_are_read(pictures, bert, tmp_path):
    """The few settings that are not given are fitted to the data."""
    out, table = tmp_path / "run", tmp_path / "reviews.csv"
    lines = [f"w{index} w9,{'nine' if index % 2 else 'five'}\n" for index in range(20)]
    table.write_text("text,label\n" + "".join(lines))

    def stop(epoch, measures):
        raise InterruptedError

    with pytest.raises(InterruptedError):
        finetune(bert, out, data=table, recipe={"epochs": 1}, report=stop)
    recipe = json.loads((out / "run.json").read_text())["recipe"]
    assert (recipe["batch_size"], recipe["epochs"], recipe["warmup_steps"]) == (4, 1, 0)
    with pytest.raises(TrainingError, match="holds a run; choose another directory"):
        finetune(bert, out, data=tmp_path / "nowhere.csv")
    for name in (out, str(out)):
        with pytest.raises(
            zoo.UnknownModelError, match=r"run' has not finished, .* goes on with resume=True"
        ):
            zoo.load(name)
    table.write_text("text,label\n" + "".join([*lines, "w3 w9,nine\n"]))
    with pytest.raises(
        TrainingError, match=r"started with other data; .*\n  data: train has 16 examples, now 17"
    ):
        finetune(bert, out, data=table, resume=True)
