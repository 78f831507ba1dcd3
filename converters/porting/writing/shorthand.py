"""`norm = partial(BatchNorm, ...)` for a body that has several of them, as Flax code has."""

import ast
from collections.abc import Sequence

from converters.porting.writing.trees import text

RUNNING = "use_running_average"
LEAST = 2  # layers that are worth a line of their own


def shortened(statements: list[ast.stmt]) -> list[ast.stmt]:
    """Writes what several batch norms have in common once."""
    nodes = [node for each in statements for node in ast.walk(each)]
    calls = [node for node in nodes if isinstance(node, ast.Call) and _batch_norm(node)]
    if len(calls) < LEAST:
        return statements
    layers = [call.func for call in calls if isinstance(call.func, ast.Call)]
    common = [each for each in layers[0].keywords if each.arg != "name" and _shared(each, layers)]
    running = next(each for each in calls[0].keywords if each.arg == RUNNING)
    for call, layer in zip(calls, layers, strict=True):
        call.keywords = [each for each in call.keywords if each.arg != RUNNING]
        said = {each.arg for each in common}
        layer.keywords = [each for each in layer.keywords if each.arg not in said]
        layer.func = ast.Name(id="norm", ctx=ast.Load())
    made = ast.Call(
        func=ast.Name(id="partial", ctx=ast.Load()),
        args=[ast.Name(id="BatchNorm", ctx=ast.Load())],
        keywords=[*common, running],
    )
    return [ast.Assign(targets=[ast.Name(id="norm", ctx=ast.Store())], value=made), *statements]


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
