"""Answers of a chat model to messages."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Unpack, cast

from zoo._errors import ZooError
from zoo._inference.continue_texts import checked, continued, streamed
from zoo._inference.generation_options import Options
from zoo._inference.subject import Subject, subject
from zoo._loading.resolve import Name
from zoo._model import Model
from zoo._preprocessing.chat_template import Message, applied


class ChatOptions(Options, total=False):
    """Keywords of `chat`: those of templates, and of `generate`."""

    tools: Sequence[Mapping[str, Any]] | None
    documents: Sequence[Mapping[str, Any]] | None
    chat_template: str | None
    template_variables: Mapping[str, Any] | None


_OF_TEMPLATES = ChatOptions.__annotations__.keys() - Options.__annotations__.keys()


def chat(model: Name | Model, messages: Sequence[Message], **options: Unpack[ChatOptions]) -> str:
    """Returns a chat model's answer to messages, without the special tokens around it.

    Args:
        model: A name, as for `load`, whose weights are then loaded; or a model.
        messages: The messages so far, such as [{"role": "user", "content": "Hello"}].
        tools: Descriptions of functions that the model may call, in JSON Schema.
        documents: Texts that the model may read, with a title each.
        chat_template: A template instead of the model's, or the name of one of several that it has.
        template_variables: Further variables of the template, such as {"enable_thinking": False}.
        options: Keywords of `zoo.generate`.

    Raises:
        ZooError: the model has no chat template, or this refuses the messages; or as `zoo.generate`.
    """
    of = subject(model)
    others = _without_templates(options)
    if others.get("num_return_sequences") not in (None, 1):
        raise ZooError("num_return_sequences= goes with zoo.generate: a chat has one answer; leave it out.")
    single: Options = {**others, "num_return_sequences": 1}
    (answer,) = continued(of, [prompt_of(of, messages, **options)], replies=True, **single)
    return answer


def stream(
    model: Name | Model, prompt: str | Sequence[Message], **options: Unpack[ChatOptions]
) -> Iterator[str]:
    """Yields what `generate` returns for one text, or `chat` for messages, in pieces as they come.

    Args:
        model: A name, as for `load`, or a model.
        prompt: A text, which is a part of the first piece; or messages.
        options: Keywords of `generate`, or of `chat`. A beam search is one piece.

    Raises:
        ZooError: as `generate` and `chat`.
    """
    of = subject(model)
    if isinstance(prompt, str):
        yield from streamed(of, prompt, **cast(Options, options))  # a keyword of chats is refused there
    else:
        text = prompt_of(of, prompt, **options)
        yield from streamed(of, text, replies=True, **_without_templates(options))


def prompt_of(of: Subject, messages: Sequence[Message], **options: Unpack[ChatOptions]) -> str:
    """Returns messages as the model's template writes them, with what begins an answer."""
    return applied(
        checked(of).located,
        messages,
        add_generation_prompt=True,
        tools=options.get("tools"),
        documents=options.get("documents"),
        chat_template=options.get("chat_template"),
        variables=options.get("template_variables"),
    )


def _without_templates(options: ChatOptions) -> Options:
    """Returns the options that are not the template's."""
    return cast(Options, {name: value for name, value in options.items() if name not in _OF_TEMPLATES})
