"""The README.md of a publication: metadata for the Hub, and a page for readers."""

import inspect
import re
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from typing import Any, NamedTuple

from zoo._loading import summary
from zoo._loading.located import Located
from zoo._model import Model
from zoo._publishing import stage
from zoo._publishing.hub_terms import DATASETS, LICENSES, METRIC, SPLITS
from zoo._registry import families, recipes
from zoo._registry.entry import Entry

ROWS = 40  # layers that the table has at most
CLASSES = 60  # names of classes that the page has at most
REPO = re.compile(r"\w[\w.-]*/\w[\w.-]*", re.ASCII)
FINETUNED = re.compile(r"zoo finetune \S+ --data (.+)")  # as `zoo.training.finetune` writes the source


class Measured(NamedTuple):
    """A metric on a data set that is on the Hub."""

    dataset: str
    split: str
    name: str
    value: float


def card(staged: stage.Staged, repo: str) -> Any:
    """Returns the page as huggingface_hub's ModelCard."""
    from huggingface_hub import ModelCard

    text = "\n\n".join(part for part in _parts(staged, repo) if part)
    return ModelCard(f"---\n{metadata(staged, repo).to_yaml()}\n---\n\n{text}\n")


def metadata(staged: stage.Staged, repo: str) -> Any:
    """Returns the metadata that the Hub reads, as its ModelCardData."""
    from huggingface_hub import EvalResult, ModelCardData

    entry, task = staged.entry, _task(staged.entry, staged.model)
    results = [
        EvalResult(
            task_type=task or "other",
            dataset_type=DATASETS[each.dataset][0],
            dataset_name=DATASETS[each.dataset][1],
            dataset_split=SPLITS.get(each.split, each.split),
            metric_type=each.name,
            metric_value=each.value,
        )
        for each in _measured(entry)
    ]
    seen = [_recipe(entry).get("dataset"), *(each.dataset for each in _measured(entry))]
    datasets = sorted({DATASETS[name][0] for name in seen if name in DATASETS})
    return ModelCardData(
        library_name="flax-zoo",
        **_license(entry),
        tags=[tag for tag in ("flax", "jax", entry.family) if tag],
        pipeline_tag=task,
        datasets=datasets or None,
        base_model=_base_model(staged),
        model_name=repo.partition("/")[2],
        eval_results=results or None,
    )


def _base_model(staged: stage.Staged) -> str | None:
    """Returns the repository of the weights that these are, or were made of; None if it is none."""
    if staged.origin and staged.origin.repo:
        return staged.origin.repo
    base = staged.entry.base_model
    return base if base and REPO.fullmatch(base) else None


def _license(entry: Entry) -> dict[str, Any]:
    if entry.license is None:
        return {}
    name = entry.license.lower()
    return {"license": name} if name in LICENSES else {"license": "other", "license_name": entry.license}


def _task(entry: Entry, model: Model) -> str | None:
    """Returns the Hub's name of the model's task; None if it is unknown."""
    if entry.family is None:
        return None
    family = families.family(entry)
    keywords = inspect.signature(family.create).parameters
    if family.sample:
        return "unconditional-image-generation"
    if entry.takes_tokens or family.tasks:
        if "head" not in keywords:
            return None
        return family.tasks.get(entry.config.get("head", keywords["head"].default), "feature-extraction")
    if "num_classes" not in keywords:  # as of autoencoders
        return None
    classes = getattr(model.module, "num_classes", 1)
    return "image-classification" if classes else "image-feature-extraction"


def _measured(entry: Entry) -> list[Measured]:
    matches = [(METRIC.fullmatch(name), value) for name, value in entry.metrics.items()]
    return [Measured(match[1], match[2], match[3], value) for match, value in matches if match]


def _recipe(entry: Entry) -> Mapping[str, Any]:
    """Returns the fields of the recipe that the zoo trained it with; empty if it did not."""
    recipe = recipes.recipe_of(entry.source)
    return vars(recipe) if recipe else {}


def _parts(staged: stage.Staged, repo: str) -> Iterator[str]:
    entry, directory = staged.entry, staged.directory
    yield f"# {repo.partition('/')[2]}"
    yield _what(entry, staged.model)
    if (directory / stage.SAMPLE).exists():
        yield f"![images that it draws, a row for each class]({stage.SAMPLE})"
    yield f"## Load it\n\n```python\n{_code(entry, staged.model, repo)}\n```"
    yield (f"It needs the Python package `flax-zoo`; the files are verified at every load. {_inputs(entry)}")
    if entry.class_names:
        yield f"## Classes\n\n{_classes(entry, repo)}"
    if entry.metrics:
        rows = [
            (f"`{name}`", f"{value:g}", _measured_on(entry, name)) for name, value in entry.metrics.items()
        ]
        yield f"## Metrics\n\n{_table(('metric', 'value', 'measured on'), rows)}"
    yield f"## Where it is from\n\n{_origin(staged)}"
    yield f"## Equivalence\n\n{_certificate(staged)}"
    yield f"## Layers\n\n{_layers(staged)}"
    yield f"## Limits\n\n{_limits(entry)}"
    yield f"## Citation\n\n{_citation(entry, repo)}"


def _what(entry: Entry, model: Model) -> str:
    kind, about = "a module of its author's own", ""
    if entry.family:
        config = ", ".join(f"{name}={value!r}" for name, value in entry.config.items())
        kind = f"family `{entry.family}` of the zoo{f' with `{config}`' if config else ''}"
        about = f"{families.family(entry).summary}\n\n"
    flax = "A [Flax](https://github.com/google/flax) (linen) model"
    return f"{about}{flax}, `{type(model.module).__name__}`: {kind}, {entry.num_params:,} parameters."


def _code(entry: Entry, model: Model, repo: str) -> str:
    module = "" if entry.family else f", module={type(model.module).__name__}(...)"
    lines = ["import zoo", "", f'model = zoo.load("hf://{repo}", pretrained=True{module})']
    return "\n".join([*lines, _call(entry, model, repo)])


def _call(entry: Entry, model: Model, repo: str) -> str:
    """Returns the line that does with the model what it is for."""
    family = families.family(entry) if entry.family else None
    task = _task(entry, model)
    if family and family.sample:
        return f"outputs = zoo.{entry.family}.sample(model, labels=[0, 1, 2])"
    if task == "text-generation":
        ids = f'zoo.tokenizer("hf://{repo}").encode("Once upon a time").ids'
        return f"outputs = zoo.{entry.family}.generate(model, [{ids}], max_new_tokens=50)"
    if task == "image-classification" and entry.preprocess:
        return 'print(zoo.predict(model, ["picture.jpg"])[0])  # the likeliest classes, with probabilities'
    if task == "text-classification":
        return 'print(zoo.predict(model, ["a text"])[0])  # the likeliest classes, with probabilities'
    if entry.preprocess:
        return f'outputs = model(zoo.preprocess("hf://{repo}")(["picture.jpg"]))'
    return f"outputs = model({', '.join(each.name for each in entry.inputs) or '...'})"


def _classes(entry: Entry, repo: str) -> str:
    names = entry.class_names
    shown = ", ".join(f"`{name}`" for name in names[:CLASSES])
    more = f"{len(names) - CLASSES:,} more, all in" if len(names) > CLASSES else "also in"
    return (
        f'{len(names):,}, in the order of the logits: {shown}; {more} `zoo.info("hf://{repo}").class_names`.'
    )


def _measured_on(entry: Entry, name: str) -> str:
    """Returns the data that a metric was measured on, in words."""
    if found := METRIC.fullmatch(name):
        return f"{DATASETS[found[1]][1]}, {SPLITS.get(found[2], found[2])}"
    if finetuned := FINETUNED.fullmatch(entry.source or ""):
        return f"examples of {finetuned[1]} that were held out from training"
    return "see its name"


def _inputs(entry: Entry) -> str:
    if not entry.inputs:
        return ""
    shapes = "; ".join(f"`{each.name}`: {each.dtype}, {each.shape}" for each in entry.inputs)
    pictures = f" Pictures: {summary.preprocessing(entry.preprocess)}." if entry.preprocess else ""
    return f"Inputs, with any batch size: {shapes}.{pictures}"


def _origin(staged: stage.Staged) -> str:
    entry, origin, recipe = staged.entry, staged.origin, _recipe(staged.entry)
    weights = entry.weights
    lines = [f"Source: {entry.source or 'unknown'}."]
    if entry.base_model:
        lines.append(f"Its weights began as those of `{entry.base_model}`, whose license binds these, too.")
    if recipe:
        rows = [(name, str(value)) for name, value in recipe.items() if name != "keep"]
        lines = [f"Trained by `{entry.source}`, which anyone can run again:", _table(("recipe", ""), rows)]
    if origin:
        lines.append(f"Converted, exactly, from `{origin}`, sha256 `{origin.sha256}`.")
    if weights:
        lines.append(f"`{weights.file}` has sha256 `{weights.sha256}`, {weights.size:,} bytes.")
    lines.append(f"License: {entry.license or 'unknown'}.")
    return "\n\n".join(lines)


def _certificate(staged: stage.Staged) -> str:
    found = staged.verified
    if found.difference is None:
        return "There are no reference outputs, so what it computes was compared with nothing."
    versions = ", ".join(f"{name} {version(name)}" for name in ("flax", "jax", "numpy"))
    maker = found.made_by
    whose = f"that its implementation in {maker} gives" if maker.startswith("PyTorch") else f"of {maker}"
    return (
        f"`golden.safetensors` has example inputs and the outputs {whose}, in float64. The largest "
        f"difference from them, as a share of the largest output, is {found.difference:.1e}, in float64 with "
        f"{versions}. `zoo verify` compares them on your machine."
    )


def _layers(staged: stage.Staged) -> str:
    arrays = summary.arrays_of(Located(entry=staged.entry, directory=staged.directory))
    rows = [(f"`{layer}`", owned, f"{count:,}") for layer, owned, count in summary.layers(arrays)]
    more = f"\n\nand {len(rows) - ROWS} more; `zoo info --layers` shows all." if len(rows) > ROWS else ""
    return _table(("layer", "arrays", "numbers"), rows[:ROWS]) + more


def _limits(entry: Entry) -> str:
    seen = ", ".join(sorted({DATASETS[each.dataset][1] for each in _measured(entry)}))
    if seen:
        known = f"It was measured on {seen} only"
    elif FINETUNED.fullmatch(entry.source or "") and entry.metrics:
        known = "It was measured only on the examples that were held out, which also chose its best epoch"
    elif entry.metrics:
        known = "It was measured as the table of metrics says, and on nothing else that this page knows of"
    else:
        known = "No metrics of it are known"
    return (
        f"{known}; on other data, expect less, and find out how much before you rely on it. "
        "It has no safeguards of its own: what goes in is taken for an input of the kind above."
    )


def _citation(entry: Entry, repo: str) -> str:
    owner, name = repo.split("/")
    paper = f"The architecture: {entry.paper}\n\n" if entry.paper else ""
    return (
        f"{paper}```bibtex\n@misc{{{owner}-{name},\n  title = {{{name}}},\n  author = {{{owner}}},\n"
        f"  howpublished = {{\\url{{https://huggingface.co/{repo}}}}}\n}}\n```"
    )


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)
