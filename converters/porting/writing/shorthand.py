"""`conv = partial(nn.Conv, ...)` and the like for a body that has several of them, as Flax code has."""

import ast
from collections.abc import Iterator, Sequence

from converters.porting.writing.trees import dotted, text

RUNNING = "use_running_average"
LEAST = 2  # layers that are worth a line of their own
LEAST_OWN = 3  # of a class of the file, which are then worth it for one keyword
LEAST_KEYWORDS = 2  # that these have in common, where they are no batch norms


def shortened(statements: list[ast.stmt]) -> list[ast.stmt]:
    """Writes what several layers of a kind have in common once."""
    nodes = [node for each in statements for node in ast.walk(each)]
    heads = [*_norms([node for node in nodes if isinstance(node, ast.Call) and _batch_norm(node)])]
    words = {} if heads else {"nn.LayerNorm": "norm"}
    for kind, word in ({"nn.Conv": "conv"} | words).items():
        heads += _layers(
            [node for node in nodes if isinstance(node, ast.Call) and dotted(node.func) == kind], word
        )
    if not any(text(each).startswith("conv = ") for each in heads):
        heads += _own([node for node in nodes if isinstance(node, ast.Call)])
    return [*heads, *statements]


def _own(calls: Sequence[ast.Call]) -> Iterator[ast.stmt]:
    """Yields the statement for a class of the file that is a convolution and more."""
    kinds = [dotted(each.func) for each in calls if dotted(each.func).startswith("Conv")]
    kind = max(kinds, key=kinds.count, default="")
    if kinds.count(kind) >= LEAST_OWN:
        layers = [each for each in calls if dotted(each.func) == kind]
        if _common(layers):
            yield _said_once(layers, "conv", [])


def _norms(calls: Sequence[ast.Call]) -> Iterator[ast.stmt]:
    """Yields the statement for batch norms, which have their mode in common, too."""
    if len(calls) < LEAST:
        return
    running = next(each for each in calls[0].keywords if each.arg == RUNNING)
    for call in calls:
        call.keywords = [each for each in call.keywords if each.arg != RUNNING]
    yield _said_once([call.func for call in calls if isinstance(call.func, ast.Call)], "norm", [running])


def _layers(layers: Sequence[ast.Call], word: str) -> Iterator[ast.stmt]:
    """Yields the statement for other layers, if it saves enough."""
    if len(layers) >= LEAST and len(_common(layers)) >= LEAST_KEYWORDS:
        yield _said_once(layers, word, [])


def _said_once(layers: Sequence[ast.Call], word: str, more: Sequence[ast.keyword]) -> ast.stmt:
    """Returns the statement that says what layers have in common; each is made by its word then."""
    common, kind = _common(layers), layers[0].func
    said = {each.arg for each in common}
    for layer in layers:
        layer.keywords = [each for each in layer.keywords if each.arg not in said]
        layer.func = ast.Name(id=word, ctx=ast.Load())
    made = ast.Call(func=ast.Name(id="partial", ctx=ast.Load()), args=[kind], keywords=[*common, *more])
    return ast.Assign(targets=[ast.Name(id=word, ctx=ast.Store())], value=made)


def _common(layers: Sequence[ast.Call]) -> list[ast.keyword]:
    return [each for each in layers[0].keywords if each.arg != "name" and _shared(each, layers)]


def _batch_norm(node: ast.AST) -> bool:
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Call):
        return False
    said = next((each for each in node.keywords if each.arg == RUNNING), None)
    plain = said is not None and text(said.value) == "not train"
    return plain and isinstance(node.func.func, ast.Name) and node.func.func.id == "BatchNorm"


def _shared(keyword: ast.keyword, layers: Sequence[ast.Call]) -> bool:
    """Returns whether all layers have a keyword with the same value, which no loop's variable changes."""
    free = all(not isinstance(node, ast.Name) or node.id == "self" for node in ast.walk(keyword.value))
    return free and all(
        any(each.arg == keyword.arg and text(each.value) == text(keyword.value) for each in layer.keywords)
        for layer in layers
    )
