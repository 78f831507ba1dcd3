"""Speech to text, character by character, by a model with logits for each frame: wav2vec 2.0."""

from collections.abc import Sequence
from functools import partial

import jax
import jax.numpy as jnp

from zoo import _progress
from zoo._errors import ZooError
from zoo._loading.companions import companion
from zoo._loading.located import Located
from zoo._model import Model
from zoo._preprocessing.characters import characters
from zoo._preprocessing.sound import Wave
from zoo._preprocessing.speech import Hearing


def transcribe(
    model: Model,
    files: Located,
    waves: Sequence[Wave],
    hears: Hearing,
    *,
    language: str | None = None,
    task: str | None = None,
    max_new_tokens: int | None = None,
    batch_size: int | None = None,
) -> list[str]:
    """Returns the texts of sounds, each heard as a whole and alone; see `zoo.transcribe`.

    Raises:
        ZooError: an option that is Whisper's.
    """
    others = {"language": language, "task": task, "max_new_tokens": max_new_tokens}
    given = ", ".join(f"{name}=" for name, value in others.items() if value is not None)
    if given:
        raise ZooError(
            f"{given} is for Whisper; {files.entry.name!r} writes down what it hears, leave it out."
        )
    known, found = characters(files.entry.name, partial(companion, files)), []
    with _progress.steps_bar("transcribing", len(waves), transient=True) as show:
        for done, wave in enumerate(waves, 1):
            # Silence that made lengths equal would change the norm over time of the base models.
            values = hears([wave])
            mask = jnp.ones(values.shape, jnp.int32) if hears.masks else None
            found.append(known.text(_likeliest(model, values, mask)[0].tolist()))
            show(done, "")
    return found


@partial(jax.jit)
def _likeliest(model: Model, values: jax.Array, mask: jax.Array | None) -> jax.Array:
    """(batch, samples) -> (batch, frames), the likeliest token of each frame."""
    found: jax.Array = model(values, mask).logits.argmax(-1)
    return found
