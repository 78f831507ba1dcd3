"""Messages to the text that a chat model continues, by the template of its files; needs the `text` extra."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from zoo._errors import ZooError, needs
from zoo._loading.chat_files import ChatFiles, chat_files
from zoo._loading.given import Given, check_given, files_of
from zoo._loading.located import Located
from zoo._loading.resolve import resolve
from zoo._model import Model

Message: TypeAlias = Mapping[str, Any]  # with a role, such as "user", and mostly a content

BUDGET = 1_000_000  # steps and characters of a template, besides those for its messages
PER_CHARACTER = 1_000
LONGEST = 200_000  # characters of a template
# Names of what a model thought before it answered; templates read the first, or "thinking".
_REASONING = ("reasoning_content", "thinking", "reasoning")


def apply_chat_template(
    model: Given,
    messages: Sequence[Message],
    *,
    add_generation_prompt: bool = False,
    tools: Sequence[Mapping[str, Any]] | None = None,
    documents: Sequence[Mapping[str, Any]] | None = None,
    chat_template: str | None = None,
    **variables: Any,
) -> str:
    """Returns messages as one text, as the model's chat template writes them.

    Templates are run in a sandbox, and for a bounded number of steps. Special tokens that messages contain as
    text are special tokens in the result: of messages by others, remove them before.

    Args:
        model: A name, as for `load`, or a model.
        messages: The messages, such as {"role": "user", "content": "Hello"}.
        add_generation_prompt: If true, adds what begins an answer.
        tools: Descriptions of functions that the model may call, in JSON Schema.
        documents: Texts that the model may read, with a title each.
        chat_template: A template instead of the model's, or the name of one of several that it has.
        variables: Further variables that the template knows, such as enable_thinking.

    Raises:
        ZooError: the model has no template, or this refuses the messages.
    """
    check_given(model)
    return applied(
        files_of(model) if isinstance(model, Model) else resolve(model),
        messages,
        add_generation_prompt=add_generation_prompt,
        tools=tools,
        documents=documents,
        chat_template=chat_template,
        variables=variables,
    )


def applied(
    located: Located,
    messages: Sequence[Message],
    *,
    add_generation_prompt: bool,
    tools: Sequence[Mapping[str, Any]] | None = None,
    documents: Sequence[Mapping[str, Any]] | None = None,
    chat_template: str | None = None,
    variables: Mapping[str, Any] | None = None,
) -> str:
    """Returns messages as the template of a model writes them; arguments as for `apply_chat_template`."""
    files = chat_files(located)
    template = _chosen(located.entry.name, files, chat_template, tools=tools is not None)
    values = {
        **files.special_tokens,
        **(variables or {}),
        "messages": [_message(each) for each in messages],
        "tools": tools,
        "documents": documents,
        "add_generation_prompt": add_generation_prompt,
    }
    return rendered(located.entry.name, template, _plain(values))


def _chosen(name: str, files: ChatFiles, given: str | None, *, tools: bool) -> str:
    """Returns the template that is wanted."""
    if given is not None:
        return files.templates.get(given, given)
    for kind in ("tool_use",) * tools + ("default",):
        if kind in files.templates:
            return files.templates[kind]
    if files.templates:
        raise ZooError(
            f"{name!r} has chat templates, none of which is the default one; choose by chat_template= from "
            f"{', '.join(map(repr, files.templates))}."
        )
    raise ZooError(
        f"{name!r} has no chat template: it is no chat model, and zoo.generate continues texts. Or pass "
        "chat_template=."
    )


def rendered(name: str, template: str, values: Mapping[str, Any]) -> str:
    """Returns the text that a template makes of variables.

    Args:
        name: Name of the model, for messages.
        template: The template, of jinja2.
        values: Variables: texts, numbers, and lists and mappings of such.

    Raises:
        ZooError: jinja2 is not installed, the template is none, or it refuses the variables.
    """
    try:
        from jinja2.exceptions import TemplateError

        from zoo._preprocessing.chat_sandbox import Environment
    except ImportError as error:
        raise ZooError(needs("chat templates", "Jinja2")) from error
    if len(template) > LONGEST:
        raise ZooError(
            f"the chat template of {name!r} has {len(template):,} characters; expected {LONGEST:,} at most."
        )
    try:
        environment = Environment(BUDGET + PER_CHARACTER * len(repr(values)))
        text: str = environment.compiled(template).render(values)
    except TemplateError as error:
        raise ZooError(f"the chat template of {name!r} refuses: {error}") from error
    except (ArithmeticError, LookupError, MemoryError, RecursionError, TypeError, ValueError) as error:
        reason = str(error) or type(error).__name__
        raise ZooError(f"the chat template of {name!r} does not fit the messages: {reason}") from error
    return text


def _message(message: Any) -> dict[str, Any]:
    """Returns a message whose reasoning has all the names that templates know."""
    if not isinstance(message, Mapping) or "role" not in message:
        raise ZooError(
            f'found {message!r} among the messages; expected such as {{"role": "user", "content": "Hello"}}.'
        )
    reasoning = next((message[name] for name in _REASONING if message.get(name) is not None), None)
    if reasoning is None:
        return dict(message)
    return {"thinking": reasoning, **message, "reasoning_content": reasoning}


def _plain(value: Any) -> Any:
    """Returns a copy of plain types alone: other objects have methods that no template may call.

    Raises:
        ZooError: it is none of those, nor does it hold such.
    """
    if value is None or isinstance(value, bool):
        return value
    for kind in (str, int, float):
        if isinstance(value, kind):
            return value if type(value) is kind else kind(value)
    if isinstance(value, Mapping):
        return {_plain(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    raise ZooError(
        f"found {type(value).__name__} in the messages or variables of a chat; expected text, numbers, and "
        "lists and mappings of them; functions as their description in JSON Schema."
    )
