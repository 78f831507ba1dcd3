"""Training: the recipes of the bundled weights, and the code that runs and measures them."""

from zoo._errors import DataError, TrainingError
from zoo._registry.recipe_fields import with_settings
from zoo._registry.recipes import RECIPES, Recipe, find_recipe
from zoo.training.curves import draw_curves
from zoo.training.data import DataFile, Dataset, Examples, IdxFile, load_split
from zoo.training.datasets import DATASETS
from zoo.training.evaluate import evaluate
from zoo.training.finetune import finetune, finetuning_recipe
from zoo.training.measure import evaluate_pretrained
from zoo.training.progress import Progress
from zoo.training.run import train
from zoo.training.samples import evaluate_samples
from zoo.training.state import TrainState

__all__ = [
    "DATASETS",
    "RECIPES",
    "DataError",
    "DataFile",
    "Dataset",
    "Examples",
    "IdxFile",
    "Progress",
    "Recipe",
    "TrainState",
    "TrainingError",
    "draw_curves",
    "evaluate",
    "evaluate_pretrained",
    "evaluate_samples",
    "find_recipe",
    "finetune",
    "finetuning_recipe",
    "load_split",
    "train",
    "with_settings",
]
