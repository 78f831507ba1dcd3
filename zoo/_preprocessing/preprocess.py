"""Pictures to model input, as the entry of a model says."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from zoo._errors import ZooError
from zoo._loading.resolve import Name, info
from zoo._registry.entry import Entry

if TYPE_CHECKING:
    from zoo._preprocessing.images import Pictures


@dataclass(frozen=True)
class Preprocessor:
    """Function from pictures to a model's input."""

    entry: Entry

    def __call__(self, images: "Pictures") -> np.ndarray:
        """One picture or several -> (count, height, width, channels) float32.

        Args:
            images: File names, Pillow images or uint8 arrays (height, width, channels); an array of four axes
                is several.

        Raises:
            ZooError: something is no picture.
        """
        from zoo._preprocessing import images as _images

        return _images.read(images, self.entry)


def preprocess(model: Name | Entry) -> Preprocessor:
    """Returns the function that turns pictures into a model's input, as in its training and evaluation.

    Args:
        model: A name, as for `load`, or an entry.

    Raises:
        UnknownModelError: the manifest has no such name.
        ZooError: the model takes no images, or nobody says how.
    """
    entry = model if isinstance(model, Entry) else info(model)
    if entry.preprocess is None:
        raise ZooError(
            f"{entry.name!r} does not say how images become its input; `zoo info` shows what it takes."
        )
    return Preprocessor(entry)
