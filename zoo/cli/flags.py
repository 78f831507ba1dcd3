"""Puts messages of the library into the words of the command line: flags, where Python has keywords."""

import re
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

# Keywords whose flag has another name: what the library says -> the parameter of the verb.
RENAMED = {
    "overwrite=True": "force",
    "private=False": "public",
    "max_new_tokens=": "tokens",
    "inputs=": "input",
    "methods=": "method",
}
# Keywords that are no flag of any verb: what the library says -> what a shell does instead.
PHRASES = {
    "take a module of your own with converters.convert": "a module of your own with --module",
    "converters.Transpose changes it, converters.Keep confirms it": (
        "in the file of --names a rule Transpose changes it, Keep confirms it"
    ),
    "zoo.embed with pooling='mean'": "`zoo embed --pooling mean`",
    "zoo.embed": "`zoo embed`",
    "zoo.predict": "`zoo predict`",
    "zoo.classify": "`zoo classify`",
    "zoo.entities": "`zoo entities`",
    "zoo.answer": "`zoo answer`",
    "zoo.generate": "`zoo generate`",
    "zoo.vae.sample": "`zoo sample`",
    "zoo.list_models()": "`zoo list`",
    "use pretrained=False": "`zoo list` shows which models have some",
    "goes on with resume=True": "goes on with --resume",
    "pass it as module=": "this verb takes none, `zoo predict --module` does",
    "pass token=": "set HF_TOKEN",
    "pass private=True": "leave out --public",
    "token=": "HF_TOKEN",
    ", or None.": ".",
}
# What is quoted is the user's own, or code; neither is translated.
QUOTED = r"(?<!\w)'[^'\n]*'|\"[^\"\n]*\"|`[^`\n]*`"
KEYWORD = r"(?<![\w.-])(?P<name>[a-z]\w*)=(?P<value>True\b|False\b)?(?P<more>(?=[\w'\"(\[]))?"
EXAMPLE = r"(?<![\w.-])(?P<of>[a-z]\w*)=\(r'(?P<example>[^'\n]*)', \.\.\.\)"  # of a list's first item


def in_flags(message: str, params: Sequence[Any]) -> str:
    """Returns a message whose keywords, such as `overwrite=True`, are the flags of a verb.

    Args:
        message: A message of the library.
        params: Parameters of the verb, of typer. What is no flag among them stays as it is.
    """
    flags = {each.name.strip("_"): _flag(each) for each in params if _is_flag(each)}
    for said, instead in PHRASES.items():
        if said.split()[-1].strip("=") not in flags:
            message = message.replace(said, instead)
    return re.sub(f"{QUOTED}|{EXAMPLE}|{KEYWORD}", lambda match: _translated(match, flags), message)


def _translated(match: re.Match[str], flags: Mapping[str, str]) -> str:
    if match["of"] in flags:
        return f"{flags[match['of']]} {shlex.quote(match['example'])} ..."
    name, value = match["name"], match["value"] or ""
    known = RENAMED.get(f"{name}={value}") or RENAMED.get(f"{name}=") or name
    if name is None or known not in flags:
        return match[0]
    if value == "False" and known == name:
        return f"no {flags[known]}"
    return flags[known] if match["more"] is None else f"{flags[known]} "


def _is_flag(param: Any) -> bool:
    return bool(param.param_type_name == "option")


def _flag(param: Any) -> str:
    """Returns the first of a parameter's flags that is a word."""
    flags: list[str] = param.opts
    return next((each for each in flags if each.startswith("--")), flags[0])
