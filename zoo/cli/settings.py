"""The fields of a training recipe, as `--set` takes them."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from zoo._errors import TrainingError
from zoo.cli.verbs import Verb

if TYPE_CHECKING:
    from zoo._registry.recipes import Recipe

Setting = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="FIELD=VALUE", help="Change a field of the recipe, as epochs=5; see below."
    ),
]
UNUSED = ("kl_weight", "validation")  # fields that mean nothing where classes are learnt from one's own data


class TrainingVerb(Verb):
    """A verb whose help lists the fields that `--set` takes."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        from zoo._registry.recipe_fields import described
        from zoo._registry.recipes import FINETUNING, FITTED

        super().format_options(ctx, formatter)
        defaults = (
            {"": FINETUNING["pictures"], "of texts ": FINETUNING["texts"], "of digits ": FINETUNING["digits"]}
            if self.name == "finetune"
            else {}
        )
        rows = [
            (f"{name}={value}", " ".join([meaning, *_default(name, defaults, fitted=name in FITTED)]))
            for name, value, meaning in described()
            if not (defaults and name in UNUSED)
        ]
        with formatter.section(
            f"Fields of --set{'' if defaults else ', by default as in the recipe of NAME'}"
        ):
            formatter.write_dl(rows)


def changes(recipe: "Recipe", settings: Sequence[str] | None) -> dict[str, Any]:
    """Returns the fields of `--set`, whose values the recipe can have.

    Raises:
        BadParameter: a field or a value is none.
    """
    from zoo._registry.recipe_fields import parsed, with_fields

    try:
        given = parsed(settings or ())
        with_fields(recipe, given)
    except TrainingError as error:
        raise typer.BadParameter(str(error)) from error
    return given


def _default(name: str, recipes: "dict[str, Recipe]", *, fitted: bool) -> list[str]:
    """Returns the default of a field in brackets; of each kind of data where they differ."""
    values = {kind: getattr(recipe, name) for kind, recipe in recipes.items()}
    if not values:
        return []
    first = values.pop("")
    others = [f"{kind}{value}" for kind, value in values.items() if value != first]
    return [f"[default: {', '.join([str(first), *others])}{'; fitted to few examples' * fitted}]"]
