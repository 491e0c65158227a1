"""Which parameters a module reads: from its syntax tree, so that no option is without an effect."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from trainers.config import Section, TrainConfig
from trainers.parameters import by_path, sections


def reads(tree: ast.Module, config: type[Section] = TrainConfig) -> Iterator[str]:
    """Parameters that a module reads: as `any.section.key`, or as `name.key` of a name that holds a section.

    A name holds a section when it is annotated with the section's class or assigned from `any.section`.
    """
    classes = {model.__name__: section for section, model in sections(config).items()}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == config.__module__:
            classes |= {name.asname: classes[name.name] for name in node.names if name.asname and name.name in classes}
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    held = [_held(function, classes, config) for function in functions]
    of_self = {name: section for names in held for name, section in names.items() if name.startswith("self.")}
    for function, names in zip(functions, held, strict=True):
        for node in ast.walk(function):
            if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
                owner = _section(node.value, {**of_self, **names}, config)
                if owner and f"{owner}.{node.attr}" in by_path(config):
                    yield f"{owner}.{node.attr}"


def _held(function: ast.FunctionDef, classes: dict[str, str], config: type[Section]) -> dict[str, str]:
    """Names (and `self.names`) of a function that hold a section -> that section."""
    held = {}
    for argument in [*function.args.args, *function.args.kwonlyargs]:
        annotation = ast.unparse(argument.annotation).split(".")[-1] if argument.annotation else ""
        if annotation in classes:
            held[argument.arg] = classes[annotation]
    for node in ast.walk(function):
        if isinstance(node, ast.Assign):
            target, value = node.targets[0], node.value
            pairs = [(target, value)]
            if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
                pairs = list(zip(target.elts, value.elts, strict=False))
            for left, right in pairs:
                if section := _section(right, held, config):
                    held[ast.unparse(left)] = section
    return held


def _section(node: ast.expr, held: dict[str, str], config: type[Section]) -> str | None:
    """The section that an expression stands for."""
    if ast.unparse(node) in held:
        return held[ast.unparse(node)]
    return node.attr if isinstance(node, ast.Attribute) and node.attr in sections(config) else None
