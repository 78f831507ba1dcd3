"""Purpose of a model: the verb that takes it, for messages of the others."""

from inspect import signature

from zoo._registry import families
from zoo._registry.entry import Entry

LABELS_SPANS, ANSWERS = "token_classification", "question_answering"
# Head of a model of texts -> what one does with it.
TEXTS = {
    "none": "it gives states of tokens; zoo.embed with pooling='mean' makes vectors of them",
    "pooler": "it gives states of tokens; zoo.embed with pooling='mean' makes vectors of them",
    "masked_lm": "it fills masks; zoo.embed with pooling='mean' makes vectors of its states",
    "pretraining": "it fills masks; zoo.embed with pooling='mean' makes vectors of its states",
    "replaced_tokens": "zoo.load gives the logits of each token's being replaced",
    "causal_lm": "zoo.load gives its logits of the next token",
    "next_sentence": "zoo.load gives its logits: whether the second text of a pair follows the first",
    LABELS_SPANS: "it labels spans of texts: zoo.entities",
    ANSWERS: "it finds answers in texts: zoo.answer",
    "multiple_choice": "it chooses one of several texts, and zoo.load gives its logits",
    "embedding": "it makes vectors of texts: zoo.embed",
    "classification": "it classifies texts: zoo.predict",
    "lm": "it continues texts: zoo.generate",
    "both": "it compares pictures with texts: zoo.classify",
    "text": "it makes vectors of texts: zoo.embed",
}
WRITTEN = ("lm", "ctc")  # heads of models of speech
# The Hub's words for what models of texts and pictures do, and each encoder of one alone.
COMPARED, TEXTS_ENCODED, ENCODED = (
    "zero-shot-image-classification",
    "feature-extraction",
    "image-feature-extraction",
)


def purpose(entry: Entry) -> str:
    """Returns what a model does, and the function for it."""
    family = families.named(entry.family)
    if family is None:
        return "it is a module of your own, and zoo.load gives its outputs"
    if entry.takes_tokens:
        return TEXTS.get(_head(entry), "zoo.load gives its outputs")
    if family.transcribe is not None and _head(entry) in WRITTEN:
        return "it writes down speech: zoo.transcribe"
    if labels_pixels(entry):
        return "it labels their pixels, and zoo.load gives the logits of each"
    if family.sample is not None:
        return f"it draws images: zoo.{family.name}.sample"
    if encodes_pictures(entry):
        return "it makes vectors of pictures: zoo.embed"
    if entry.config.get("num_classes") == 0:
        return "it gives features of pictures: zoo.features, and zoo.load for those of its last layer"
    return "it classifies pictures: zoo.predict" if family.head else "zoo.load gives its outputs"


def continues_texts(entry: Entry) -> bool:
    """Returns whether `zoo.generate` is for the model."""
    family = families.named(entry.family)
    return family is not None and family.generate is not None and _head(entry) == "lm"


def transcribes(entry: Entry) -> bool:
    """Returns whether `zoo.transcribe` is for the model."""
    family = families.named(entry.family)
    return family is not None and family.transcribe is not None and _head(entry) in WRITTEN


def classifies_texts(entry: Entry) -> bool:
    """Returns whether `zoo.predict` takes texts for the model; of a module of your own nobody knows."""
    return entry.takes_tokens and (entry.family is None or _head(entry) == "classification")


def labels_spans(entry: Entry) -> bool:
    """Returns whether `zoo.entities` is for the model."""
    return entry.takes_tokens and families.named(entry.family) is not None and _head(entry) == LABELS_SPANS


def answers(entry: Entry) -> bool:
    """Returns whether `zoo.answer` is for the model."""
    return entry.takes_tokens and families.named(entry.family) is not None and _head(entry) == ANSWERS


def compares(entry: Entry) -> bool:
    """Returns whether the model compares pictures with texts, as CLIP."""
    return entry.takes_tokens and entry.images is not None


def makes_vectors(entry: Entry) -> bool:
    """Returns whether the model makes vectors of texts, pictures or both, in one space, as CLIP."""
    family = families.named(entry.family)
    task = family.tasks.get(_head(entry)) if family else None
    return task in (COMPARED, TEXTS_ENCODED, ENCODED)


def encodes_pictures(entry: Entry) -> bool:
    """Returns whether the model is an image encoder alone, without logits."""
    family = families.named(entry.family)
    return family is not None and family.tasks.get(_head(entry)) == ENCODED


def labels_pixels(entry: Entry) -> bool:
    """Returns whether the model gives logits of each pixel, and none of a picture as a whole."""
    family = families.named(entry.family)
    return family is not None and family.tasks.get(_head(entry)) == "image-segmentation"


def _head(entry: Entry) -> str:
    family = families.named(entry.family)
    keyword = signature(family.create).parameters.get("head") if family else None
    return str(entry.config.get("head", keyword.default if keyword else "none"))
