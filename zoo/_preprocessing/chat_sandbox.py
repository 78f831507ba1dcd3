"""A sandbox for chat templates, which anybody may have written: no access to Python, and no work without end.

Whatever repeats or grows has a price, in steps or characters, and a template has a budget. Imports jinja2,
which takes time: for `chat_template` alone, when it renders one.
"""

import json
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import wraps
from typing import Any

from jinja2 import nodes
from jinja2.exceptions import SecurityError, TemplateError
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace
from jinja2.visitor import NodeTransformer

STEP = 10  # price of a loop's turn or of a call, beside what it writes
LARGEST = 4096  # bits of a whole number
LARGEST_POWER = 64  # exponent
LARGEST_COUNT = 100_000  # of a filter's parts or columns, as sandboxes have for numbers of a range


class BudgetError(TemplateError):
    """A template that computes for too long, or too much."""


class Environment(ImmutableSandboxedEnvironment):
    """The environment of one rendering, with what transformers gives to templates.

    Args:
        budget: Steps and characters that the template may make.
    """

    intercepted_binops = frozenset({"+", "*", "**", "%"})

    def __init__(self, budget: int) -> None:
        self.budget = budget
        super().__init__(
            trim_blocks=True,
            lstrip_blocks=True,
            extensions=[_Generation, loopcontrols],
            finalize=self.charged,
        )
        self.filters = {name: self._priced(each) for name, each in self.filters.items()}
        self.filters["tojson"] = self._priced(_to_json)
        self.globals |= {
            "dict": _Dict(),
            "namespace": _Namespace,
            "raise_exception": _raise,
            "lipsum": None,  # its text has no bound
            "strftime_now": lambda form: datetime.now().strftime(form),
        }

    def compiled(self, source: str) -> Any:
        """Returns a template that pays for what it does."""
        tree = _Prices().visit(self.parse(source))
        tree.set_environment(self)
        code = self.compile(tree)
        return self.template_class.from_code(self, code, self.make_globals(None))

    def charge(self, price: int) -> str:
        """Takes a price from the budget.

        Raises:
            BudgetError: nothing is left.
        """
        self.budget -= price
        if self.budget < 0:
            raise BudgetError("it computes too much for these messages")
        return ""

    def charged(self, value: Any) -> Any:
        """Returns a value after it is paid for, with what it holds."""
        if isinstance(value, str):
            self.charge(len(value))
        elif isinstance(value, int) and value.bit_length() > LARGEST:
            raise BudgetError(f"it computes a number of {value.bit_length()} bits")
        elif isinstance(value, Mapping):
            for pair in value.items():
                self.charged(pair)
        elif isinstance(value, list | tuple | range):
            self.charge(1 + len(value))
            for each in value if not isinstance(value, range) else ():
                self.charged(each)
        return value

    def joined(self, *parts: Any) -> str:
        """Returns texts one after the other, which is what `~` does."""
        return "".join(str(self.charged(each)) for each in parts)

    def call(self, context: Context, function: Any, *args: Any, **options: Any) -> Any:
        """Calls a function that is safe to be called."""
        owner = getattr(function, "__self__", None)  # of a method, which may read all of it
        if isinstance(owner, str):
            _check_counts((*args, *options.values()))
        self.charged((owner, args, options))
        return self.charged(super().call(context, function, *args, **options))

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Computes with an operator whose results may be large."""
        self.charged((left, right))
        if operator == "**" and (abs(right) > LARGEST_POWER):
            raise BudgetError(f"it computes a power of {right}")
        for text, times in ((left, right), (right, left)):
            if operator == "*" and isinstance(text, str | list | tuple) and isinstance(times, int):
                self.charge(len(text) * max(times, 0))
        return self.charged(super().call_binop(context, operator, left, right))

    def _priced(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def priced(*args: Any, **options: Any) -> Any:
            _check_counts((*args[1:], *options.values()))
            self.charged((args, options))
            return self.charged(function(*args, **options))

        return priced


class _Prices(NodeTransformer):
    """Puts prices into a template: at the beginning of what repeats, and where texts grow."""

    def visit(self, node: nodes.Node, *args: Any, **options: Any) -> Any:
        """Returns a node, or what stands in its place."""
        if isinstance(node, nodes.Concat):
            self.generic_visit(node)
            return _call("joined", node.nodes, node.lineno)
        if isinstance(node, nodes.For | nodes.Macro | nodes.CallBlock):
            return self._with_price(node)
        return super().visit(node, *args, **options)

    def _with_price(self, node: nodes.For | nodes.Macro | nodes.CallBlock) -> nodes.Node:
        price = STEP + sum(len(each.data) for each in node.find_all(nodes.TemplateData))
        self.generic_visit(node)
        paid = nodes.ExprStmt(_call("charge", [nodes.Const(price)], node.lineno))
        node.body.insert(0, paid.set_lineno(node.lineno))
        return node


def _call(method: str, arguments: list[nodes.Expr], line: int) -> nodes.Call:
    """Returns a call of a method of the environment, which no template can give another meaning."""
    called = nodes.Call(nodes.EnvironmentAttribute(method), arguments, [], None, None)
    called.set_lineno(line, override=False)
    return called


class _Generation(Extension):
    """The tag `generation` around what a model wrote, which changes nothing of the text."""

    tags = {"generation"}  # noqa: RUF012

    def parse(self, parser: Parser) -> list[nodes.Node]:
        """Returns what is between the tag and its end."""
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


class _Dict:
    """The function `dict` and its method `fromkeys`, without the class."""

    def __call__(self, *args: Any, **values: Any) -> dict[Any, Any]:
        return dict(*args, **values)

    def fromkeys(self, *args: Any) -> dict[Any, Any]:
        return dict.fromkeys(*args)


class _Namespace(Namespace):
    """A namespace without names that begin with an underscore, which Python gives a meaning."""

    def __init__(*args: Any, **values: Any) -> None:
        for name in dict(*args[1:], **values):
            _check_name(name)
        Namespace.__init__(*args, **values)

    def __setitem__(self, name: str, value: Any) -> None:
        _check_name(name)
        super().__setitem__(name, value)


def _check_counts(arguments: tuple[Any, ...]) -> None:
    """Checks that no argument asks for more parts or columns than any text has."""
    for each in arguments:
        if isinstance(each, int) and each > LARGEST_COUNT:
            raise BudgetError(f"it asks for {each} parts or columns")


def _check_name(name: Any) -> None:
    if str(name).startswith("_"):
        raise SecurityError(f"it gives a namespace the name {name!r}")


def _raise(message: str) -> None:
    raise TemplateError(message)


def _to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """Returns JSON with all characters as they are, unlike jinja2's own filter, which is for web pages."""
    return json.dumps(
        value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
    )
