import dataclasses
import json
from types import SimpleNamespace

import pytest
import yaml
from huggingface_hub import EvalResult, ModelCard

import zoo
from tests.zoo.publishing.conftest import REPO, TOKEN
from zoo._publishing import model_card, stage
from zoo._publishing.hub_api import Api


@pytest.fixture
def card(cache, tmp_path, net):
    """The card of a model, and what was staged with it."""

    def card(subject=net, **settings):
        staged = stage.stage(subject, tmp_path / "staged", stage.StageOptions(**settings))
        return model_card.card(staged, REPO), staged

    return card


def test_the_metadata_is_what_the_hubs_own_classes_read(card, hub, owner):
    made, _ = card("vae_mnist")
    read = ModelCard(str(made))
    assert str(read) == str(made)
    Api(REPO).validate(str(made))
    assert hub.count("POST", "validate-yaml") == 1
    assert read.data.to_dict() | {"model-index": None} == {
        "library_name": "flax-zoo",
        "license": "apache-2.0",
        "tags": ["flax", "jax", "vae"],
        "pipeline_tag": "unconditional-image-generation",
        "datasets": ["ylecun/mnist"],
        "model-index": None,
    }
    assert [each.metric_type for each in read.data.eval_results] == ["loss", "reconstruction", "kl"]


def test_a_classifier_has_its_accuracy_in_the_model_index(card):
    made, _ = card("cnn_mnist")
    (result,) = ModelCard(str(made)).data.eval_results
    assert result == EvalResult(
        task_type="image-classification",
        dataset_type="ylecun/mnist",
        dataset_name="MNIST",
        dataset_split="test",
        metric_type="accuracy",
        metric_value=zoo.info("cnn_mnist").metrics["mnist_test_accuracy"],
    )
    assert ModelCard(str(made)).data.model_name == "net"


def test_the_page_says_what_a_user_needs(card):
    made, staged = card("vae_mnist")
    entry, text = zoo.info("vae_mnist"), made.text
    for part in (
        'model = zoo.load("hf://you/net", pretrained=True)\n',
        "zoo.vae.sample(model, labels=[0, 1, 2])",
        "](sample.png)",
        "Trained by `zoo train vae_mnist`",
        "| learning_rate | 0.001 |",
        "| `mnist_test_loss` | 12.094 | MNIST, test |",
        f"has sha256 `{entry.weights.sha256}`, {entry.weights.size:,} bytes",
        "License: Apache-2.0",
        f"is {staged.verified.difference:.1e}, in float64 with flax ",
        "the outputs that its implementation in PyTorch",
        "| `encoder/layers_0` | kernel (784, 256), bias (256,) | 200,960 |",
        "It was measured on MNIST only",
        entry.paper,
        "@misc{you-net,",
    ):
        assert part in text
    assert (staged.directory / "sample.png").stat().st_size > 10_000


def test_a_finetuned_model_says_what_it_was_made_of_and_measured_on(card):
    model = zoo.load("cnn_mnist", num_classes=2)
    entry = dataclasses.replace(
        model.entry,
        source="zoo finetune owner/base --data letters",
        base_model="owner/base",
        labels=("o", "x"),
        metrics={"validation_accuracy": 0.75},
    )
    made, _ = card(zoo.Model(model.module, model.variables, entry))
    assert ModelCard(str(made)).data.base_model == "owner/base"
    for part in (
        "print(zoo.predict(model, [",
        "2, in the order of the logits: `o`, `x`; also in",
        "| `validation_accuracy` | 0.75 | examples of letters that were held out from training |",
        "Its weights began as those of `owner/base`, whose license binds these, too.",
        "It was measured only on the examples that were held out",
    ):
        assert part in made.text


def test_a_module_of_ones_own_promises_nothing(card):
    made, _ = card(license="A licence of my own: with a colon")
    data = ModelCard(str(made)).data
    assert (data.license, data.license_name) == ("other", "A licence of my own: with a colon")
    assert (data.pipeline_tag, data.eval_results, data.datasets) == (None, None, None)
    for part in (
        'zoo.load("hf://you/net", pretrained=True, module=Net(...))',
        "Source: unknown.",
        "There are no reference outputs",
        "No metrics of it are known",
    ):
        assert part in made.text


TASKS = {
    "gpt_shakespeare": "text-generation",
    "resnet18": "image-classification",
    "sd-vae-ft-mse": None,
    "lpips_alex": None,
    "dinov2_small": "image-feature-extraction",
    "bert-base-uncased": "fill-mask",
    "all-minilm-l6-v2": "sentence-similarity",
    "transformer_base": None,
}


@pytest.mark.parametrize(("name", "task"), TASKS.items())
def test_the_task_follows_from_what_the_model_is(name, task):
    entry = zoo.info(name)
    module = SimpleNamespace(num_classes=entry.config.get("num_classes", 1000))
    assert model_card._task(entry, SimpleNamespace(module=module)) == task


def test_text_that_means_something_in_a_page_does_no_harm(hub, owner, publish, net):
    odd = "MIT\n---\ntags: [x]"
    with pytest.raises(zoo.ZooError):
        publish(create=True, license=odd)
    entry = zoo.Entry("a|b", 26, license='"MIT" | # [', source="`x` | y")
    publish(zoo.Model(net.module, net.variables, entry), create=True, license=None)
    content = hub.head(REPO)["README.md"].decode()
    assert yaml.safe_load(content.split("---\n")[1])["license_name"] == '"MIT" | # ['
    assert json.loads(hub.head(REPO)["config.json"])["source"] == "`x` | y"
    assert TOKEN not in content
