"""A user's script, never run: its types are those that editors show and `make lint` checks.

`assert_type` refuses `Any`, which would hide every mistake that follows.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, assert_type

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import Mesh
from numpy.typing import NDArray

import converters
import zoo
from converters.matching import Rule

IMAGES = np.zeros((1, 28, 28, 1), np.float32)
SHAPE = jax.ShapeDtypeStruct((1, 28, 28, 1), np.float32)

# Names, and what they stand for.
assert_type(zoo.__version__, str)
assert_type(zoo.list_models("*mnist*"), list[str])
entry = zoo.info("cnn_mnist")
assert_type(entry, zoo.Entry)
assert_type(entry.num_params, int)
assert_type(entry.class_names, tuple[str, ...])
assert_type(zoo.info(zoo.load("cnn_mnist")).metrics, Mapping[str, float])

# A model, in one piece and in two.
model = zoo.load("cnn_mnist", pretrained=True, dtype=jnp.bfloat16, num_classes=10)
assert_type(model, zoo.Model)
module, variables = model
assert_type(module, nn.Module)
assert_type(variables, Mapping[str, Any])
assert_type(model.module, nn.Module)
assert_type(model.entry, zoo.Entry | None)
assert_type(model.notes, tuple[str, ...])
assert_type(model.name, str)
assert_type(model.num_params, int)
assert_type(model.pretrained, bool | None)
assert_type(model.summary(depth=1), str)
assert_type(model.replace(variables=variables), zoo.Model)
assert_type(zoo.Model(module, variables), zoo.Model)
assert_type(zoo.Model(module, variables, entry), zoo.Model)

# Inputs, outputs, and what is inside.
assert_type(zoo.preprocess("cnn_mnist")(["three.png", Path("four.png")]), NDArray[np.float32])
assert_type(zoo.tokenizer("gpt_shakespeare").encode("O Romeo").ids, list[int])
assert_type(zoo.features(model, IMAGES, layers=["fc1"]), dict[str, Any])
outputs, gradients = zoo.feature_gradients(model, jnp.sum, IMAGES, layers=["fc1"])
assert_type(gradients, dict[str, Any])
assert_type(zoo.fold_batch_norm(model), zoo.Model)
assert_type(zoo.unfold_batch_norm(model), zoo.Model)
assert_type(zoo.to_nnx(model), nnx.Module)
assert_type(zoo.from_nnx(zoo.to_nnx(model)), zoo.Model)
assert_type(zoo.partition(variables, {"head": "fc2"}), dict[str, Any])
assert_type(zoo.graft(variables, model, at="encoder"), dict[str, Any])
assert_type(zoo.compiler_options(), dict[str, str])
assert_type(zoo.predict("cnn_mnist", ["three.png", Path("four.png")], top=3), list[list[tuple[str, float]]])
assert_type(zoo.embed("all-minilm-l6-v2", ["A cat sits on the mat."]), NDArray[np.float32])
assert_type(zoo.generate(model, ["ROMEO:"], max_new_tokens=5), list[str])
assert_type(zoo.generate(model, [[1, 2], [3]], max_new_tokens=5), NDArray[np.integer])
assert_type([*zoo.predict_all(model, [IMAGES[0]], batch_size=8)], list[Any])

# Several devices.
mesh = Mesh(np.array(jax.devices()), ("data",))
zoo.load("cnn_mnist", sharding=zoo.fsdp(mesh))
zoo.load("cnn_mnist", sharding=zoo.tensor_parallel(mesh, "gpt2"))

# Files, as text or as paths.
zoo.save(model, "saved", labels=[*"0123456789"], overwrite=True)
zoo.save(model, Path("saved"))
assert_type(zoo.verify("./saved").difference, float | None)
assert_type(zoo.publish(model, "you/digits", create=True), str)
zoo.write_golden(Path("golden.safetensors"), {"__call__": ([IMAGES], [IMAGES])}, made_by="me")

# Families.
assert_type(zoo.cnn.create(num_classes=3), zoo.cnn.CNN)
assert_type(zoo.mlp.create(), zoo.mlp.MLP)
assert_type(zoo.vae.create(latent_dim=2), zoo.vae.VAE)
assert_type(zoo.vae.sample(model, [3, 8]), jax.Array)
assert_type(zoo.resnet.create(depth=18), zoo.resnet.ResNet)
assert_type(zoo.vit.create(image_size=384), zoo.vit.ViT)
assert_type(zoo.bert.create(head="embedding"), zoo.bert.Bert)
assert_type(zoo.transformer.create(), zoo.transformer.Transformer)
assert_type(zoo.gpt2.create(depth=2), zoo.gpt2.GPT2)
assert_type(zoo.gpt2.generate(model, [[1, 2], [3]], max_new_tokens=5), NDArray[np.integer])

# Training.
recipe = zoo.training.with_settings(zoo.training.find_recipe("cnn_mnist"), ["epochs=1"])
assert_type(recipe, zoo.training.Recipe)
assert_type(recipe.epochs, int)
assert_type(zoo.training.train("cnn_mnist", "runs/cnn", recipe=recipe, data="mnist"), zoo.Model)
assert_type(zoo.training.finetune("resnet18", Path("runs/pets"), data="pets"), zoo.Model)
assert_type(zoo.training.evaluate_pretrained("cnn_mnist", data="mnist"), dict[str, float])
test = zoo.training.load_split(zoo.training.DATASETS["mnist"], "test", "mnist")
assert_type(zoo.training.evaluate(model, test, recipe), dict[str, float])
assert_type(zoo.training.draw_curves("runs/cnn"), Path)

# Conversion.
assert_type(zoo.convert("cnn.pth", model="cnn_mnist"), zoo.Model)
zoo.to_torch(model, like=Path("cnn.pth"))["fc2.weight"].mean()
assert_type(converters.read_checkpoint("cnn.pth").shapes, dict[str, tuple[int, ...]])
names = (("^Conv_0", "stem"), converters.Transpose("^fc", (1, 0)))
assert_type(converters.convert("cnn.pth", module, SHAPE, names=names), dict[str, Any])
tensors = converters.to_torch(variables, module, SHAPE, like=Path("cnn.pth"))
tensors["fc.weight"].mean()
converters.write_checkpoint(tensors, "back.pth", overwrite=True)
found = converters.compare(None, module, variables, IMAGES)
assert_type(found, converters.Comparison)
assert_type(found.ok, bool)
converters.write_names("names.toml", converters.read_names(Path("names.toml")))
assert_type(converters.ConversionError("no").draft, tuple[tuple[str, str] | Rule, ...])
for error in (zoo.ZooError("no"), converters.ConverterError("no")):
    assert_type(str(error), str)
