"""Classes of a source as JSON schemas: enums, pydantic models, dataclasses, TypedDicts, named tuples."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from agents.sources.annotations import Types, metadata_of, name_of
from agents.sources.limits import MAX_DEPTH, Schema, SourceRefused, object_of, of_values, without_null

_ENUMS = frozenset({"Enum", "StrEnum", "IntEnum"})
_SHAPES = frozenset({"BaseModel", "TypedDict", "NamedTuple"})
_BOUNDS = {
    "ge": "minimum",
    "gt": "exclusiveMinimum",
    "le": "maximum",
    "lt": "exclusiveMaximum",
    "multiple_of": "multipleOf",
    "pattern": "pattern",
}
_LENGTHS = {"min_length": ("minLength", "minItems"), "max_length": ("maxLength", "maxItems")}


@dataclass(frozen=True, slots=True)
class Note:
    """What stands beside a type: `Field(...)`, `field(...)`, or a text in `Annotated`."""

    description: str = ""
    optional: bool = False
    default: Any = None
    bounds: tuple[tuple[str, Any], ...] = ()

    def over(self, schema: Schema) -> Schema:
        array = schema.get("type") == "array"
        named = {(_LENGTHS[key][array] if key in _LENGTHS else _BOUNDS[key]): value for key, value in self.bounds}
        described = {"description": self.description} if self.description else {}
        default = {"default": self.default} if self.default is not None else {}
        return {**(without_null(schema) if self.optional else schema), **named, **described, **default}


def class_schema(types: Types, node: ast.ClassDef, where: str) -> Schema:
    """Raises SourceRefused for a class that is none of these."""
    lineage = _lineage(types, node)
    bases = {name_of(base) for each in lineage for base in each.bases}
    docs = types.docs(node)
    described = {"description": docs.text} if docs.text else {}
    if bases & _ENUMS:
        values = _enum_values(node, where)
        types.room.take(len(values), where)
        return {**of_values(values), **described}
    if not bases & _SHAPES and not any(_is_dataclass(each) for each in lineage):
        raise SourceRefused(
            f"{where}: the class {node.name} says nothing of its fields; make it a pydantic model, a dataclass, a "
            "TypedDict or an Enum."
        )
    properties: dict[str, Schema] = {}
    required: dict[str, bool] = {}
    for each in reversed(lineage):
        about = types.docs(each).arguments
        for name, field in _fields(each):
            place = f"{where}, field '{name}' of {each.name}"
            note = note_of(field, about.get(name, ""), partial=_is_partial(each))
            properties[name] = note.over(types.schema(field.annotation, place))
            required[name] = not note.optional
    return {**object_of(properties, [name for name, must in required.items() if must]), **described}


def note_of(field: ast.AnnAssign, about: str = "", *, partial: bool = False) -> Note:
    """`about`: the docstring's word of the field; `partial`: a field may be missing unless it says otherwise."""
    notes = [_note(each) for each in metadata_of(field.annotation)]
    if field.value is not None:
        notes.append(_note(field.value, assigned=True))
    wrapper = name_of(field.annotation.value) if isinstance(field.annotation, ast.Subscript) else None
    return Note(
        description=next((note.description for note in reversed(notes) if note.description), about),
        optional=wrapper == "NotRequired" or (partial and wrapper != "Required") or any(n.optional for n in notes),
        default=next((note.default for note in reversed(notes) if note.default is not None), None),
        bounds=tuple(bound for note in notes for bound in note.bounds),
    )


def plain_value(node: ast.expr | None) -> Any:
    """A constant default as JSON has it; None for what is none."""
    try:
        value = ast.literal_eval(node) if node is not None else None
    except (ValueError, TypeError, RecursionError, MemoryError):
        return None
    return value if isinstance(value, (str, int, float, bool)) else None


def _note(node: ast.expr, *, assigned: bool = False) -> Note:
    if isinstance(node, ast.Call) and name_of(node.func) in ("Field", "field"):
        return _field_note(node)
    if assigned:
        return Note(optional=True, default=plain_value(node))
    text = plain_value(node)
    return Note(description=text) if isinstance(text, str) else Note()


def _field_note(call: ast.Call) -> Note:
    given = {keyword.arg: keyword.value for keyword in call.keywords if keyword.arg}
    default = call.args[0] if call.args else given.get("default")
    empty = default is None or (isinstance(default, ast.Constant) and default.value is Ellipsis)
    text = plain_value(given.get("description"))
    bounds = [(key, plain_value(given[key])) for key in (*_BOUNDS, *_LENGTHS) if key in given]
    return Note(
        description=" ".join(text.split()) if isinstance(text, str) else "",
        optional=not empty or "default_factory" in given,
        default=None if empty else plain_value(default),
        bounds=tuple((key, value) for key, value in bounds if value is not None),
    )


def _lineage(types: Types, node: ast.ClassDef) -> list[ast.ClassDef]:
    """The class, then those of its bases that the source defines."""
    found = [node]
    for each in found:
        for base in each.bases:
            parent = types.classes.get(name_of(base) or "")
            if parent is not None and parent not in found:
                found.append(parent)
        if len(found) > MAX_DEPTH:
            raise SourceRefused(f"The class {node.name} inherits from too many: make it simpler.")
    return found


def _fields(node: ast.ClassDef) -> Iterator[tuple[str, ast.AnnAssign]]:
    for item in node.body:
        if not isinstance(item, ast.AnnAssign) or not isinstance(item.target, ast.Name):
            continue
        kind = item.annotation.value if isinstance(item.annotation, ast.Subscript) else item.annotation
        if not item.target.id.startswith("_") and name_of(kind) != "ClassVar" and item.target.id != "model_config":
            yield item.target.id, item


def _enum_values(node: ast.ClassDef, where: str) -> list[Any]:
    values: list[Any] = []
    for item in node.body:
        if not isinstance(item, ast.Assign) or not isinstance(item.targets[0], ast.Name):
            continue
        value = plain_value(item.value)
        name = item.targets[0].id
        if isinstance(item.value, ast.Call) and name_of(item.value.func) == "auto":
            value = name.lower() if "StrEnum" in map(name_of, node.bases) else len(values) + 1
        if value is None:
            raise SourceRefused(f"{where}: {node.name}.{name} must be a plain text or number.")
        values.append(value)
    if not values:
        raise SourceRefused(f"{where}: the Enum {node.name} has no members.")
    return values


def _is_dataclass(node: ast.ClassDef) -> bool:
    made = (each.func if isinstance(each, ast.Call) else each for each in node.decorator_list)
    return any(name_of(each) == "dataclass" for each in made)


def _is_partial(node: ast.ClassDef) -> bool:
    """TypedDict with total=False."""
    return any(keyword.arg == "total" and plain_value(keyword.value) is False for keyword in node.keywords)
