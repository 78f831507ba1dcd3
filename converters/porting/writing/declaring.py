"""The statements of `__init__` that make the layers of a class."""

import ast
from collections.abc import Iterator, Set
from typing import Any

from converters.porting.writing.blocks import Block, Chain, Item
from converters.porting.writing.holders import DICT, LIST, METHODS, Holder, filling
from converters.porting.writing.lifting import as_arguments
from converters.porting.writing.trees import text


class Declarations:
    """Writes the statements.

    Args:
        root: What holds the layers.
        fields: Names of the fields of the class.
    """

    def __init__(self, root: Holder, fields: Set[str]) -> None:
        self._fields = fields
        self._of = {id(item): each for each in root.all() if (item := each.item) is not None}
        root.declared = True

    def statements(self, block: Block, chain: Chain = ()) -> list[ast.stmt]:
        """Returns the statements of a block."""
        found: list[ast.stmt] = []
        for each in block.content:
            for item in [each] if isinstance(each, Item) else each.items():
                for holder in self._due(item, (*chain, block)):
                    found.append(self._declared(holder))
            if isinstance(each, Block):
                found += self._block(each, (*chain, block), found)
        return found

    def _due(self, item: Item, chain: Chain) -> Iterator[Holder]:
        """Yields what is to be declared in a block for a layer, the outermost first."""
        line: list[Holder] = []
        at: Holder | None = self._of[id(item)]
        while at is not None:
            line.insert(0, at)
            at = at.parent
        for each in line:
            if not each.declared and each.home == chain:
                yield each

    def _block(self, block: Block, chain: Chain, before: list[ast.stmt]) -> list[ast.stmt]:
        """Returns a loop or condition; what a condition has otherwise goes to the one before."""
        body = self.statements(block, chain)
        if not body:
            return []
        head = as_arguments(block.head, self._fields)
        if isinstance(head, ast.For):
            return [ast.For(target=head.target, iter=head.iter, body=body, orelse=[])]
        test = head.test
        last = before[-1] if before else None
        if block.otherwise:
            if isinstance(last, ast.If) and text(last.test) == text(test):
                last.orelse = body
                return []
            test = ast.UnaryOp(op=ast.Not(), operand=test)
        return [ast.If(test=test, body=body, orelse=[])]

    def _declared(self, holder: Holder) -> ast.stmt:
        """Returns the statement that makes a layer or what holds layers."""
        holder.declared = True
        whole = all(each.home == holder.home for each in holder.all())
        made = self._display(holder) if whole else _empty(holder)
        assert holder.parent is not None
        target: Any = holder.access(self._argument)
        if holder.parent.kind == LIST:
            held = holder.parent.access(self._argument)
            return ast.Expr(value=_call(ast.Attribute(value=held, attr="append", ctx=ast.Load()), [made]))
        if holder.item is None and (not whole or _mixed(holder)) and holder.parent.kind != DICT:
            shown = ast.parse(holder.annotation(), mode="eval").body
            return ast.AnnAssign(target=target, annotation=shown, value=made, simple=0)
        return ast.Assign(targets=[target], value=made)

    def _argument(self, node: ast.expr) -> ast.expr:
        made: ast.expr = as_arguments(node, self._fields)
        return made

    def _display(self, holder: Holder) -> ast.expr:
        """Returns the expression of a layer, or of what holds layers with all of them."""
        holder.declared = True
        if holder.item is not None:
            return holder.item.made
        if holder.kind == LIST:
            items = self.listed(holder)
            return _call(_nnx("List"), [ast.List(elts=items, ctx=ast.Load())])
        pairs = [(each.part.key(), self._display(each)) for each in holder.children if each.part is not None]
        if all(isinstance(key, ast.Constant) and _is_keyword(key.value) for key, _ in pairs):
            keywords = [ast.keyword(arg=str(getattr(key, "value", "")), value=made) for key, made in pairs]
            return ast.Call(func=_nnx("Dict"), args=[], keywords=keywords)
        keys: list[ast.expr | None] = [self._argument(key) for key, _ in pairs]
        return _call(_nnx("Dict"), [ast.Dict(keys=keys, values=[made for _, made in pairs])])

    def listed(self, holder: Holder) -> list[ast.expr]:
        """Returns the items of a list, with what PyTorch has between the layers."""
        found: list[ast.expr] = []
        for each in holder.children:
            number = each.part.number if each.part is not None else None
            while number is not None and len(found) < number:
                between = filling(holder, len(found))
                assert between is not None
                found.append(between)
            found.append(self._display(each))
        return found


def _empty(holder: Holder) -> ast.expr:
    return _call(_nnx(holder.kind), [])


def _nnx(name: str) -> ast.expr:
    return ast.Attribute(value=ast.Name(id="nnx", ctx=ast.Load()), attr=name, ctx=ast.Load())


def _call(function: ast.expr, arguments: list[ast.expr]) -> ast.Call:
    return ast.Call(func=function, args=arguments, keywords=[])


def _mixed(holder: Holder) -> bool:
    """Returns whether it holds layers of several kinds, of which a type checker knows too little."""
    return len({each.annotation() for each in holder.children}) > 1 or "Callable" in holder.annotation()


def _is_keyword(name: Any) -> bool:
    return isinstance(name, str) and name.isidentifier() and name not in METHODS
