"""Speech to text, by models that write it down."""

from zoo._errors import ZooError
from zoo._inference.predict import checked
from zoo._inference.purpose import purpose, transcribes
from zoo._inference.subject import Subject, subject
from zoo._loading.resolve import Name
from zoo._model import Model
from zoo._preprocessing.sound import Sounds, waves
from zoo._preprocessing.speech import hearing
from zoo._registry import families


def transcribe(
    model: Name | Model,
    speech: Sounds,
    *,
    sampling_rate: int | None = None,
    language: str | None = None,
    task: str | None = None,
    max_new_tokens: int | None = None,
    batch_size: int | None = None,
) -> list[str]:
    """Writes down speech: a text for each file or array.

    Whisper reads 30 seconds at a time. What is longer is cut into windows one after the other, without
    timestamps: a word on the edge of two may be lost or written twice. The tokens are the likeliest ones.
    wav2vec 2.0 reads all at once, in memory that grows with the square of its length.

    Args:
        model: A name, as for `load`, whose weights are then loaded; or a model.
        speech: Names of WAV files of 8, 16, 24 or 32 bits, or arrays (samples,) of floats in [-1, 1]. The
            channels of a file become their mean, and any rate that of the model. One alone is a list of one.
        sampling_rate: Samples a second of arrays.
        language: Language of the speech by its code, such as "en"; by default Whisper tells by the first
            window, unless its files say one.
        task: "transcribe", or "translate" into English; by default what the model's files say.
        max_new_tokens: Most tokens of a window; by default as many as Whisper takes.
        batch_size: Windows at a time; by default 8.

    Raises:
        ZooError: the model does not write down speech, has no such language, or a file cannot be read.
    """
    return transcribed(
        subject(model),
        speech,
        sampling_rate=sampling_rate,
        language=language,
        task=task,
        max_new_tokens=max_new_tokens,
        batch_size=batch_size,
    )


def transcribed(
    of: Subject,
    speech: Sounds,
    *,
    sampling_rate: int | None = None,
    language: str | None = None,
    task: str | None = None,
    max_new_tokens: int | None = None,
    batch_size: int | None = None,
) -> list[str]:
    """Returns the texts of speech; see `transcribe`."""
    checked(max_new_tokens=max_new_tokens, batch_size=batch_size)
    family = families.named(of.entry.family)
    if family is None or family.transcribe is None or not transcribes(of.entry):
        raise ZooError(f"{of.entry.name!r} does not write down speech; {purpose(of.entry)}.")
    hears = hearing(of.entry, of.located)
    heard = waves(speech, hears.rate, sampling_rate)  # before the weights are read
    return family.transcribe(
        of.load(),
        of.located,
        heard,
        hears,
        language=language,
        task=task,
        max_new_tokens=max_new_tokens,
        batch_size=batch_size,
    )
