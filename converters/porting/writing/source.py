"""The source of a class."""

import ast
from collections.abc import Mapping
from typing import Any

from converters.porting.dialects import LINEN, Dialect
from converters.porting.emit import Code, Statement
from converters.porting.graph import Value
from converters.porting.writing import bodies, layout, modes, phrases, precision, trees, unknown
from converters.porting.writing.classes import Made
from converters.porting.writing.columns import MISSING, Field
from converters.porting.writing.compound import Branch, Loop
from converters.porting.writing.declared import Declared, declared
from converters.porting.writing.defaults import trimmed
from converters.porting.writing.options import negated
from converters.porting.writing.shorthand import shortened
from converters.porting.writing.trees import Function

Defaults = Mapping[str, Mapping[str, Any]]  # of the fields of each class of the file


def class_source(made: Made, defaults: Defaults, dialect: Dialect, classes: dict[str, bool]) -> str:
    """Returns the text of a class.

    Args:
        made: The class.
        defaults: Defaults of the fields of the classes that it calls.
        dialect: Flax's way of writing modules, linen or NNX.
        classes: Names of the classes before it, with whether random streams make them; gets its own.
    """
    body = statements(made, defaults)
    if dialect.declares:
        own = declared(body, made, dialect, classes)
        classes[made.name] = own.uses_rngs
        lines, body = [*_named(made, own.base), "", *_constructor(made, own)], own.call
    else:
        body = shortened(typed(body, made, defaults))
        lines = [*head(made), "", "    @nn.compact"]
    lines += layout.signature("def __call__", arguments(made, dialect), returned(made), 4)
    return "\n".join([*lines, *layout.laid_out(body, 8)])


def head(made: Made) -> list[str]:
    """Returns the lines of a class of linen before its methods."""
    fields = [*map(_field, made.fields.fields), *([precision.FIELD] if made.typed else [])]
    return [*_named(made, "nn.Module"), *([""] if fields else []), *(f"    {each}" for each in fields)]


def _named(made: Made, base: str) -> list[str]:
    return [f"class {made.name}({base}):", _docstring(made.body.codes[0])]


def arguments(made: Made, dialect: Dialect = LINEN) -> list[str]:
    """Returns the arguments of the method that runs a body, with their types."""
    parameters = [name for at, name in enumerate(_parameters(made)) if at in made.parameters]
    code = made.body.codes[0]
    kinds = [_annotation(code, at).replace("nn.", f"{dialect.package}.") for at in made.parameters]
    given = [f"{name}: {kind}" for name, kind in zip(parameters, kinds, strict=True)]
    return [
        "self",
        *given,
        *(("*", "train: bool = False") if made.uses_train and not dialect.declares else ()),
    ]


def returned(made: Made) -> str:
    """Returns the end of the head of the method that runs a body."""
    return f" -> {_returned(made.body.codes[0])}:"


def _constructor(made: Made, own: Declared) -> list[str]:
    """Returns the lines of `__init__`; none of a class that is made of nothing."""
    if not own.statements and not made.fields.fields:
        return []
    fields = sorted(made.fields.fields, key=lambda each: each.default is not MISSING)
    given = ["self", *map(_field, fields), *(["*", "rngs: nnx.Rngs"] if own.uses_rngs else [])]
    head = layout.signature("def __init__", given, " -> None:", 4)
    return [*head, *layout.laid_out(own.statements or [ast.Pass()], 8), ""]


def _docstring(code: Code) -> str:
    kind = type(code.scope.module)
    module = "" if kind.__module__ == "__main__" else f"{kind.__module__}."
    return f'    """`{module}{kind.__qualname__}` of PyTorch."""'


def _field(each: Field) -> str:
    default = "" if each.default is MISSING else f" = {shown(each.default)}"
    return f"{each.name}: {each.annotation}{default}"


def shown(value: Any) -> str:
    """Returns a constant as Python."""
    return value.name if isinstance(value, Function) else phrases.text(ast.Constant(value=value))


def _parameters(made: Made) -> list[str]:
    names, code = made.body.names, made.body.codes[0]
    return [names.of[names.find(value)] for value in bodies.given(code).values()]


def _annotation(code: Code, at: int) -> str:
    return annotation([*code.parameters.values()][at])


def annotation(tree: Any) -> str:
    """Returns the type of a nesting of arrays."""
    match tree:
        case Value(dtype="module"):
            return "nn.Module"
        case Value():
            return "jax.Array"
        case int():
            return "int"
        case dict():
            return "Mapping[str, Any]"
        case list() | tuple():
            return "Sequence[jax.Array]" if all(isinstance(each, Value) for each in tree) else "Sequence[Any]"
    return "Any"


def _returned(code: Code) -> str:
    if code.scope.path:  # what a part gives to the whole is a row of arrays
        count = len(code.orders)
        return "jax.Array" if count == 1 else f"tuple[{', '.join(['jax.Array'] * count)}]"
    trained, usual = code.scope.trained_output, _nesting(code.scope.output)
    kinds = [usual] if trained is None else [usual, _nesting(trained)]
    return " | ".join(dict.fromkeys(kinds))


def _nesting(tree: Any) -> str:
    match tree:
        case Value():
            return "jax.Array"
        case dict():
            inner = {*map(_nesting, tree.values())}
            return f"dict[str, {inner.pop() if len(inner) == 1 else 'Any'}]"
        case list():
            inner = {*map(_nesting, tree)}
            return f"list[{inner.pop() if len(inner) == 1 else 'Any'}]"
        case tuple() if tree:
            return f"tuple[{', '.join(map(_nesting, tree))}]"
        case None:
            return "None"
    return "Any"


def statements(made: Made, defaults: Defaults) -> list[ast.stmt]:
    """Returns what a body does as Python, and names its variables."""
    names, body = made.body.names, made.body
    rows = [next(iter(row.values())) for row in body.rows]
    conditions = [made.fields.conditions.get(index) for index in range(len(rows))]
    names.choose(bodies.given(body.codes[0]), [*zip(rows, conditions, strict=True)])
    written: list[ast.stmt] = []
    if made.fields.counted:
        written.append(ast.parse("index = count()").body[0])
    for index, statement in enumerate(rows):
        final = index == len(rows) - 1
        condition = conditions[index]
        for part in _written(statement, made, returned=final):
            if condition is None:
                written.append(part)
            else:
                _add(written, condition, part)
    for each in written:
        trimmed(each, defaults)
    return modes.joined(written)


def typed(statements: list[ast.stmt], made: Made, defaults: Defaults) -> list[ast.stmt]:
    """Returns the statements of a class of linen with the field `dtype`, and with results of a known type."""
    classes = {name for name, each in defaults.items() if precision.NAME in each}
    made.typed = precision.typed(statements, classes)
    if returned(made) != " -> jax.Array:":
        return statements
    arrays = [each.partition(":")[0] for each in arguments(made) if each.endswith(": jax.Array")]
    return unknown.declared(statements, arrays)


def _add(written: list[ast.stmt], condition: str, part: ast.stmt) -> None:
    """Adds a statement to the branch of the condition that was written last, or to a new one."""
    test = ast.parse(condition, mode="eval").body
    last = written[-1] if written else None
    if isinstance(last, ast.If):
        if ast.unparse(last.test) == condition and not last.orelse:
            last.body.append(part)
            return
        if condition == negated(ast.unparse(last.test)) or negated(condition) == ast.unparse(last.test):
            last.orelse.append(part)
            return
    written.append(ast.If(test=test, body=[part], orelse=[]))


def _written(statement: Statement, made: Made, *, returned: bool = False) -> list[ast.stmt]:
    names = made.body.names
    if isinstance(statement, Branch):
        body, orelse = (
            modes.together([part for each in arm for part in _written(each, made)])
            for arm in (statement.body, statement.orelse)
        )
        return modes.by_mode(body, orelse, statement.fills)
    names.write(statement.expression)
    if isinstance(statement, Loop):
        names.write(statement.variables)
        body = [part for each in statement.body for part in _written(each, made)]
        return [ast.For(target=statement.variables, iter=statement.expression, body=body, orelse=[])]
    if returned:
        return modes.returned(statement.expression)
    targets = [_target(names.of[names.find(each)]) for each in statement.targets]
    if not targets:
        return modes.kept(statement.expression)
    target = targets[0] if len(targets) == 1 else ast.Tuple(elts=targets, ctx=ast.Store())
    if trees.text(target) == trees.text(statement.expression):  # a choice of what has its name
        return []
    return [ast.Assign(targets=[target], value=statement.expression)]


def _target(name: str) -> ast.expr:
    return ast.Name(id=name, ctx=ast.Store())


def created(made: Made, *, streams: bool = False) -> str:
    """Returns the function that makes the whole module; "" if it cannot be made without numbers.

    Args:
        made: Its class.
        streams: If true, it is made with random streams.
    """
    fields = made.fields.fields
    if any(each.default is MISSING for each in fields):
        return ""
    given = [f"{each.name}: {each.annotation} = {each.default!r}" for each in fields]
    names = [each.name for each in fields]
    if streams:
        given, names = ["rngs: nnx.Rngs", *given], [*names, "rngs"]
    words = "Builds the module; the weights are for the defaults." if fields else "Builds the module."
    doc = [f'    """{words}"""']
    if made.typed:
        given.append(precision.FIELD)
        names.append(precision.NAME)
        more = "dtype: Type of numbers to compute in; parameters stay in theirs."
        doc = [f'    """{words}', "", "    Args:", f"        {more}", '    """']
    head = layout.signature("def create", ["*", *given] if given else [], f" -> {made.name}:", 0)
    passed = ", ".join(f"{each}={each}" for each in names)
    return "\n".join([*head, *doc, f"    return {made.name}({passed})"])
