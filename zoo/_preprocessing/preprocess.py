"""Pictures and speech to model input, as the entry of a model and its files say."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, cast, overload

import numpy as np
from numpy.typing import NDArray

from zoo._errors import ZooError
from zoo._loading.companions import companion
from zoo._loading.located import Located
from zoo._loading.preprocessor_config import PREPROCESSOR, photos
from zoo._loading.resolve import Name, resolve
from zoo._loading.sentence_transformers import parsed
from zoo._model import Model
from zoo._registry import families
from zoo._registry.entry import Entry
from zoo._registry.manifest import CONFIG

if TYPE_CHECKING:
    from zoo._preprocessing.images import Pictures
    from zoo._preprocessing.sound import Sounds
    from zoo._preprocessing.speech import Hearing


@dataclass(frozen=True)
class Preprocessor:
    """Function from pictures, or from speech, to a model's input."""

    entry: Entry
    hears: "Hearing | None" = None  # of a model of speech

    def __repr__(self) -> str:
        return f"<preprocessing for {self.entry.name}: {self.hears or self.entry.preprocess}>"

    @overload
    def __call__(self, pictures: "Pictures") -> NDArray[np.float32]: ...

    @overload
    def __call__(self, pictures: "Sounds", *, sampling_rate: int | None = None) -> NDArray[np.float32]: ...

    def __call__(
        self, pictures: "Pictures | Sounds", *, sampling_rate: int | None = None
    ) -> NDArray[np.float32]:
        """One picture or several -> (count, height, width, channels) float32; speech likewise.

        Args:
            pictures: File names, Pillow images or arrays (height, width, channels) of uint8 or of floats in
                [0, 1]; an array of four axes is several. Or speech: names of WAV files or arrays (samples,)
                of floats in [-1, 1], which become (count, frames, mel bins) or (count, samples).
            sampling_rate: Samples a second of arrays of speech.

        Raises:
            ZooError: something is no picture or no speech.
        """
        if self.hears is not None:
            from zoo._preprocessing.sound import waves

            return self.hears(waves(cast("Sounds", pictures), self.hears.rate, sampling_rate))
        from zoo._preprocessing import images

        return images.read(cast("Pictures", pictures), self.entry)


def preprocess(model: Name | Entry | Model) -> Preprocessor:
    """Returns the function that turns pictures or speech into a model's input, as in its training.

    Args:
        model: A name, as for `load`; a model, or its entry.

    Raises:
        UnknownModelError: the manifest has no such name.
        ManifestError: its preprocessor_config.json asks for what the zoo does not do.
        ZooError: the model takes no images, or nobody says how.
    """
    if isinstance(model, Entry):
        return preprocessor_of(model, None)
    if not isinstance(model, Model):
        return preprocess_located(resolve(model))
    if model.entry is None:
        raise ZooError(
            f"this {type(model.module).__name__} has no entry; zoo.save(model, directory, preprocess=...) "
            "makes one, which zoo.load(directory, module=...) reads."
        )
    return preprocessor_of(model.entry, model.origin.located)


def preprocess_located(located: Located) -> Preprocessor:
    """Returns the same for a model whose name is resolved."""
    return preprocessor_of(located.entry, located)


def preprocessor_of(entry: Entry, files: Located | None) -> Preprocessor:
    """Returns the same for an entry, and the place of the files beside its weights, if there is any."""
    if entry.preprocess is not None:
        return Preprocessor(entry)
    if entry.takes_speech:
        from zoo._preprocessing.speech import hearing

        return Preprocessor(entry, hearing(entry, files))
    if entry.takes_tokens and entry.images is None:
        raise ZooError(
            f"{entry.name!r} takes tokens of texts, not pictures: zoo.tokenizer({entry.name!r}) makes them."
        )
    own = _of_repository(entry, files)
    if own is not None:
        return own
    if files is not None:
        _check_processor(files)
    raise ZooError(
        f"{entry.name!r} does not say how images become its input; `zoo info` shows what it takes. "
        "zoo.save(..., preprocess=...) and zoo convert --preprocess keep it with a model."
    )


def _of_repository(entry: Entry, files: Located | None) -> Preprocessor | None:
    """Returns what the preprocessor_config.json beside an entry's weights says, where the entry says nothing.

    Only for models of texts and pictures, whose tokenizer is read there, too.

    Raises:
        ManifestError: the file asks for what the zoo does not do.
    """
    if files is None or not files.counted or not entry.takes_tokens or entry.images is None:
        return None
    content = companion(files, PREPROCESSOR)
    if content is None:
        return None
    how = photos(entry.name, content, default="", channels=entry.images.shape[-1])
    return Preprocessor(replace(entry, preprocess=how))


def _check_processor(located: Located) -> None:
    """Raises what is wrong with the preprocessor_config.json of a repository, if it has one."""
    family = families.named(located.entry.family)
    if located.counted or not (family and family.config_fields):  # counted: in the manifest or saved by zoo
        return
    content, config = companion(located, PREPROCESSOR), companion(located, CONFIG)
    if content and config and located.entry.images:
        kind = parsed(located.entry.name, config, dict).get("model_type")
        fields = family.config_fields.get(kind)
        photos(
            located.entry.name,
            content,
            default=fields.processor if fields else "",
            channels=located.entry.images.shape[-1],
        )
