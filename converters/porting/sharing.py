"""Layers that several calls share, and layers whose weight others have, too."""

import ast
import copy
from collections.abc import Mapping
from typing import Any

import torch

from converters.errors import ConversionError
from converters.porting.body import Body, identifier, is_made
from converters.porting.code import Order, Result, last
from converters.porting.expressions import expression, literal, marked
from converters.porting.graph import Operation, Scope, Value, input_of
from converters.porting.homes import Homes


class Sharing(Body):
    """A body, with the modules that it makes for several calls; arguments as for `Body`."""

    def __init__(
        self, scope: Scope, orders: Mapping[Value, Order], homes: Homes, parent: "Body | None"
    ) -> None:
        super().__init__(scope, orders, homes, parent)
        self._modules: dict[str, Value] = {}

    def _path(self, operation: Operation) -> str:
        """Returns the name of the module whose arrays a call has."""
        path = self._homes.path(operation, self.code.scope)
        return self._homes.names.get(path, path)

    def _is_shared(self, operation: Operation) -> bool:
        return self._path(operation) in self._homes.layers

    def _shared(self, operation: Operation, call: ast.expr) -> ast.expr:
        """Returns a call of a module that other calls share, of one that makes it."""
        name = self._path(operation)
        for each in ast.walk(call):
            if isinstance(each, ast.Call) and is_made(each.func):
                marked(each, calls=getattr(each.func, "child", None))
                each.func = self._module(name, each.func)
                break
        return call

    def _module(self, name: str, made: ast.expr) -> ast.expr:
        """Returns the expression of a module that several calls share."""
        home = self._homes.layers[name]
        holder = self
        while holder.code.scope.path != home:
            assert isinstance(holder._parent, Sharing)
            holder = holder._parent
        if name not in holder._modules:
            value = Value(shape=(), dtype="module", name=identifier(name.rpartition(".")[2]))
            holder._modules[name] = value
            _renamed(made, name, home)
            holder._assign([value], made, [()])
            self._homes.settings[name] = _settings(made)
        elif _settings(made) != self._homes.settings[name]:
            raise ConversionError(
                f"{self.where}{name} is called with other settings than before, which a layer of Flax cannot "
                "have; give it a module of its own."
            )
        if hasattr(made, "child"):
            self._homes.twins.setdefault(name, []).append(made.child)
        return self.get(holder._modules[name])

    def _tied(self, operation: Operation) -> Result | None:
        """Returns what a layer does whose weight others have: a linear one an embedding's, say."""
        table = self._homes.tables.get(f"{operation.path}.weight")
        if table is not None and operation.kind is torch.nn.Embedding:
            x = input_of(operation)
            return expression("w[x]", w=self.get(table), x=self.get(x)), (*self.order(x), x.ndim)
        owner = self._homes.names.get(operation.path, "")
        embedding = self._homes.modules.get(owner)
        if operation.kind is not torch.nn.Linear or not isinstance(embedding, torch.nn.Embedding):
            return None
        made = expression(
            "nn.Embed(num_embeddings, features, name=n)",
            num_embeddings=embedding.num_embeddings,
            features=embedding.embedding_dim,
            n=owner,
        )
        x, bias = input_of(operation), operation.module.bias
        order = last(self.order(x), x.ndim - 1)
        made = expression("embed.attend(x)", embed=self._module(owner, made), x=self.get(x, order))
        if bias is not None:
            added = Value(shape=tuple(bias.shape), dtype="float32", parameter=f"{operation.path}.bias")
            made = expression("y + b", y=made, b=self.get(added))
        return made, order


class _Same(ast.NodeTransformer):
    """Leaves out of what makes a layer each call says in its own words: name and dtype."""

    def visit_Attribute(self, node: ast.Attribute) -> ast.expr:
        return ast.Constant(value=None) if node.attr == "dtype" else node

    def visit_keyword(self, node: ast.keyword) -> ast.keyword | None:
        self.generic_visit(node)
        return None if node.arg == "name" else node


def _settings(made: ast.expr) -> str:
    """Returns what a layer is made with, as text."""
    return ast.dump(_Same().visit(copy.deepcopy(made)))


def _renamed(made: Any, path: str, home: str) -> None:
    """Changes the name of the module that an expression makes."""
    made.path, made.parent_path = path, home
    for each in made.keywords:
        if each.arg == "name":
            each.value = literal(path.removeprefix(f"{home}." if home else ""))
