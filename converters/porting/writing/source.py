"""The source of classes."""

import ast
from typing import Any

from converters.porting.writing import bodies
from converters.porting.writing.classes import Classes, Made, is_number


def source(classes: Classes) -> str:
    """Returns the text of all classes."""
    return "\n\n\n".join(_class(classes, each) for each in classes.made.values())


def _class(classes: Classes, made: Made) -> str:
    code = made.instances[0]
    writer = _Writer(classes, made)
    body = [writer.visit(bodies.copied(each)) for each in code.body]
    known = {}
    for number, name in zip(made.numbers[0], made.fields, strict=True):
        if name:
            known[name] = number
    lines = [f"class {made.name}(nn.Module):"]
    lines += [f"    {name}: {_type(number)}" for name, number in known.items()]
    lines += [""] if known else []
    train = ", train: bool = False" if code.uses_train else ""
    lines += ["    @nn.compact", f"    def __call__(self, {', '.join(made.parameters)}{train}):"]
    for each in body:
        text = ast.unparse(ast.fix_missing_locations(each))
        lines += [f"        {line}" for line in text.split("\n")]
    return "\n".join(lines)


def _type(number: Any) -> str:
    if isinstance(number, tuple):
        return f"tuple[{', '.join(_type(each) for each in number)}]"
    return type(number).__name__


class _Writer(ast.NodeTransformer):
    """Puts fields in place of numbers, and classes in place of children; visits as Skeleton does."""

    def __init__(self, classes: Classes, made: Made) -> None:
        self._classes, self._made = classes, made
        self._at = 0

    def _number(self, value: Any) -> ast.expr:
        name = self._made.fields[self._at]
        self._at += 1
        return ast.Attribute(value=ast.Name(id="self"), attr=name) if name else ast.Constant(value=value)

    def visit_Constant(self, node: ast.Constant) -> ast.expr:
        return self._number(node.value) if is_number(node.value) else node

    def generic_visit(self, node: ast.AST) -> Any:
        if not hasattr(node, "child"):
            return super().generic_visit(node)
        child = self._classes.of[node.child]
        numbers = child.numbers[child.instances.index(node.child)]
        keywords = {}
        for number, name in zip(numbers, child.fields, strict=True):
            shown = self._number(number)
            if name and name not in keywords:
                keywords[name] = shown
        called: Any = ast.Constant(value=self._classes.child_name(node))
        if hasattr(node, "loop"):
            prefix = "" if node.loop == "." else node.loop
            parts = [ast.Constant(value=prefix)] if prefix else []
            called = ast.JoinedStr(values=[*parts, ast.FormattedValue(value=ast.Name(id="i"), conversion=-1)])
        return ast.Call(
            func=ast.Name(id=child.name),
            args=[],
            keywords=[
                *(ast.keyword(arg=name, value=value) for name, value in keywords.items()),
                ast.keyword(arg="name", value=called),
            ],
        )
