"""The method's parameters: their meaning from the comments beside them, their values from the presets."""

from __future__ import annotations

import ast
import inspect
import io
import tokenize
from dataclasses import fields

from bifseg.method import parameters
from bifseg.method.parameters import PRESETS, Parameters

HEAD = """# Parameters

Symbols are the paper's where it has them; see [the method as built](../explanation/method.md). A session takes a preset
(`--preset`, `parameters`), or a `bifseg.method.parameters.Parameters` of its own; values that were tuned for a network
are stored with it and replace those of `fast`.

"""


def page() -> str:
    columns = [(f"{name} {dimension}D", preset[dimension]) for name, preset in PRESETS.items() for dimension in (2, 3)]
    lines = [
        f"| parameter | meaning | {' | '.join(title for title, _ in columns)} |",
        f"|---|---|{'---|' * len(columns)}",
    ]
    meanings = _meanings()
    for field in fields(Parameters):
        values = " | ".join(_written(getattr(preset, field.name)) for _, preset in columns)
        lines.append(f"| `{field.name}` | {meanings[field.name]} | {values} |")
    return HEAD + "\n".join(lines)


def _written(value: object) -> str:
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)


def _meanings() -> dict[str, str]:
    """The comment of each field of the class."""
    source = inspect.getsource(parameters)
    comments = {
        token.start[0]: token.string.lstrip("# ")
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type == tokenize.COMMENT
    }
    (model,) = (node for node in ast.parse(source).body if getattr(node, "name", "") == Parameters.__name__)
    return {
        node.target.id: " ".join(comments[k] for k in range(node.lineno, node.end_lineno + 1) if k in comments)
        for node in model.body
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
    }
