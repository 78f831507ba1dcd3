"""The README.md of a publication: metadata for the Hub, and a page for readers."""

import inspect
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

    entry, origin, task = staged.entry, staged.origin, _task(staged.entry, staged.model)
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
        base_model=origin.repo if origin else None,
        model_name=repo.partition("/")[2],
        eval_results=results or None,
    )


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
    if family.sample:
        return "unconditional-image-generation"
    if entry.takes_tokens:
        keyword = inspect.signature(family.create).parameters.get("head")
        if keyword is None:
            return None
        return family.tasks.get(entry.config.get("head", keyword.default), "feature-extraction")
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
    yield f"It needs `pip install flax-zoo`; the files are verified at every load. {_inputs(entry)}"
    if entry.metrics:
        rows = [(f"`{name}`", f"{value:g}") for name, value in entry.metrics.items()]
        yield f"## Metrics\n\n{_table(('metric', 'value'), rows)}"
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
    call = f"model({', '.join(each.name for each in entry.inputs) or '...'})"
    if entry.family and families.family(entry).sample:
        call = f"zoo.{entry.family}.sample(model, labels=[0, 1, 2])"
    if _task(entry, model) == "text-generation":
        ids = f'zoo.tokenizer("hf://{repo}").encode("Once upon a time").ids'
        call = f"zoo.{entry.family}.generate(model, [{ids}], max_new_tokens=50)"
    return f'import zoo\nmodel = zoo.load("hf://{repo}", pretrained=True{module})\noutputs = {call}'


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
    known = f"It was measured on {seen} only" if seen else "No metrics of it are known"
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
