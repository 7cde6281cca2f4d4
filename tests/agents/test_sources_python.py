"""Python sources read as JSON schemas: a table of signatures, and what is refused with what mend."""

from __future__ import annotations

from typing import Any

import pytest

from agents.sources.derive import Written, function_schema
from agents.sources.limits import SourceRefused

STRING = {"type": "string"}
INTEGER = {"type": "integer"}
TOP = """
import enum, typing as t
from dataclasses import dataclass, field
from typing import *
from pydantic import BaseModel, Field

Size = Literal["s", "m"]

class Color(str, enum.Enum):
    RED = "red"
    BLUE = "blue"

class Level(enum.IntEnum):
    LOW = enum.auto()
    HIGH = enum.auto()

@dataclass
class Point:
    x: float
    y: float = 0.0
    names: list[str] = field(default_factory=list)

class Base(BaseModel):
    id: int = Field(..., description="Which one.", ge=1)

class Item(Base):
    '''A thing.

    Attributes:
        name: What it is called.
    '''
    name: str
    color: Color | None = None
    tags: list[str] = Field(default_factory=list, max_length=3)
    _secret: str = ""
    kind: ClassVar[str] = "x"

class Options(TypedDict, total=False):
    depth: Required[int]
    wide: bool
"""
POINT = {
    "type": "object",
    "properties": {
        "x": {"type": "number"},
        "y": {"type": "number", "default": 0.0},
        "names": {"type": "array", "items": STRING},
    },
    "required": ["x"],
}
ITEM = {
    "type": "object",
    "properties": {
        "id": {"type": "integer", "minimum": 1, "description": "Which one."},
        "name": {"type": "string", "description": "What it is called."},
        "color": {"type": "string", "enum": ["red", "blue"]},
        "tags": {"type": "array", "items": STRING, "maxItems": 3},
    },
    "required": ["id", "name"],
}
OPTIONS = {"type": "object", "properties": {"depth": INTEGER, "wide": {"type": "boolean"}}, "required": ["depth"]}


def written(signature: str, doc: str = "a: It.") -> Written:
    return Written(
        source_code=f'{TOP}\ndef f({signature}) -> str:\n    """Does it.\n\n    Args:\n        {doc}\n    """\n'
    )


def property_of(signature: str) -> tuple[dict[str, Any], bool]:
    """The schema of the argument `a`, without its description, and whether it must be sent."""
    parameters = function_schema(written(signature))["parameters"]
    [(name, found)] = parameters["properties"].items()
    assert (name, found.pop("description")) == ("a", "It.")
    return found, parameters["required"] == ["a"]


@pytest.mark.parametrize(
    ("annotation", "schema"),
    [
        ("str", STRING),
        ("int", INTEGER),
        ("float", {"type": "number"}),
        ("bool", {"type": "boolean"}),
        ("Any", STRING),
        ("'int'", INTEGER),
        ("list", {"type": "array", "items": {}}),
        ("list[int]", {"type": "array", "items": INTEGER}),
        ("t.List[str]", {"type": "array", "items": STRING}),
        ("Sequence[Any]", {"type": "array", "items": {}}),
        ("set[str]", {"type": "array", "items": STRING, "uniqueItems": True}),
        ("list[list[int]]", {"type": "array", "items": {"type": "array", "items": INTEGER}}),
        ("dict", {"type": "object", "additionalProperties": True}),
        ("dict[str, Any]", {"type": "object", "additionalProperties": True}),
        ("Dict[str, list[int]]", {"type": "object", "additionalProperties": {"type": "array", "items": INTEGER}}),
        ("tuple[int, ...]", {"type": "array", "items": INTEGER}),
        ("tuple[int, int]", {"type": "array", "items": INTEGER, "minItems": 2, "maxItems": 2}),
        ("Optional[str]", {"anyOf": [STRING, {"type": "null"}]}),
        ("str | None", {"anyOf": [STRING, {"type": "null"}]}),
        ("Union[str, int]", {"anyOf": [STRING, INTEGER]}),
        ("str | int | str", {"anyOf": [STRING, INTEGER]}),
        ("Literal['a', 'b']", {"type": "string", "enum": ["a", "b"]}),
        ("Literal['a', 2, None]", {"type": ["string", "integer", "null"], "enum": ["a", 2, None]}),
        ("Size", {"type": "string", "enum": ["s", "m"]}),
        ("Color", {"type": "string", "enum": ["red", "blue"]}),
        ("Level", {"type": "integer", "enum": [1, 2]}),
        ("Annotated[int, 'not this']", INTEGER),
        ("Annotated[int, Field(ge=1, lt=9)]", {"type": "integer", "minimum": 1, "exclusiveMaximum": 9}),
        ("Point", POINT),
        ("Item", ITEM),
        ("list['Point']", {"type": "array", "items": POINT}),
        ("Options", OPTIONS),
    ],
)
def test_an_annotation_becomes_a_schema(annotation: str, schema: dict[str, Any]) -> None:
    assert property_of(f"a: {annotation}") == (schema, True)


@pytest.mark.parametrize(
    ("argument", "schema"),
    [
        ("a: int = 3", {"type": "integer", "default": 3}),
        ("a: Optional[int] = None", INTEGER),
        ("a: str | int | None = None", {"anyOf": [STRING, INTEGER]}),
        ("a: list[str] = []", {"type": "array", "items": STRING}),
        ("*, a: bool = False", {"type": "boolean", "default": False}),
        ("agent_state, agent_id: str, a: float = 1 / 3", {"type": "number"}),
    ],
)
def test_an_argument_with_a_default_may_be_left_out(argument: str, schema: dict[str, Any]) -> None:
    assert property_of(argument) == (schema, False)


@pytest.mark.parametrize(
    "doc",
    [
        "Adds.\n\n    Args:\n        a (int): The\n            first.\n        b: The second.\n",
        "Adds.\n\n    Parameters\n    ----------\n    a : int\n        The first.\n    b : int\n        The second.\n",
        "Adds.\n\n    :param a: The first.\n    :param b: The second.\n    :type b: int\n    :returns: x\n",
    ],
)
def test_docstrings_of_three_styles_say_the_same(doc: str) -> None:
    found = function_schema(
        Written(source_code=f'def helper():\n    pass\n\nasync def add(a: int, b: int):\n    """{doc}"""\n')
    )
    assert found == {
        "name": "add",
        "description": "Adds.",
        "parameters": {
            "type": "object",
            "properties": {
                "a": {"type": "integer", "description": "The first."},
                "b": {"type": "integer", "description": "The second."},
            },
            "required": ["a", "b"],
        },
    }


def test_types_may_stand_in_the_docstring() -> None:
    source = (
        'def f(a, b=1):\n    """F.\n\n    Args:\n        a (list[str]): A.\n        b (int, optional): B.\n    """\n'
    )
    found = function_schema(Written(source_code=source))["parameters"]
    assert found["properties"]["a"] == {"type": "array", "items": STRING, "description": "A."}
    assert (found["properties"]["b"]["type"], found["required"]) == ("integer", ["a"])


@pytest.mark.parametrize(
    ("signature", "words"),
    [
        ("a", ("'a' has no type", "a: str")),
        ("a: int, b: int", ("'b' has no description", "Args:")),
        ("a: Frame", ("'a'", "Frame", "json_schema")),
        ("a: datetime", ("'a'", "use str")),
        ("a: dict[int, str]", ("'a'", "dict[str")),
        ("a: Literal[Color.RED]", ("'a'", "Color.RED")),
        ("a: int, *rest", ("*rest", "take a list")),
        ("a: int, **rest", ("**rest", "name each")),
        ("a: int, /", ("'a' is positional-only", "behind")),
        ("a: 3", ("'a'", "3")),
        ("a: list[list[nope]]", ("'a'", "nope")),
        ("a: 'list['", ("'a'", "list[")),
    ],
)
def test_what_is_wrong_names_the_argument_and_the_mend(signature: str, words: tuple[str, ...]) -> None:
    with pytest.raises(SourceRefused) as refused:
        function_schema(written(signature))
    assert all(word in refused.value.message for word in words), refused.value.message
    assert refused.value.status == 400


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("def f(:\n", ("no Python", "line 1")),
        ("x = 1\n", ("no function", "def name")),
        ("class Tool:\n    def run(self): pass\n", ("no function", "classes")),
        ("   \n", ("empty",)),
        ("def f():\n    pass\n", ("f has no description", "docstring")),
        (f'def {"x" * 65}():\n    """X."""\n', ("name", "64")),
        ('def größe():\n    """X."""\n', ("größe", "A-Z")),
        ('def f():\n    """\\0 and \\ud800"""\n', ()),
    ],
)
def test_a_source_that_is_no_tool_says_what_is_missing(source: str, words: tuple[str, ...]) -> None:
    if not words:
        assert function_schema(Written(source_code=source))["description"] == "\ufffd and ?"
        return
    with pytest.raises(SourceRefused) as refused:
        function_schema(Written(source_code=source))
    assert all(word in refused.value.message for word in words), refused.value.message


def _doubling() -> str:
    classes = [f"class C{n}(BaseModel):\n    a: C{n + 1}\n    b: C{n + 1}\n" for n in range(14)]
    return "".join(classes) + "class C14(BaseModel):\n    a: int\n"


@pytest.mark.parametrize(
    "source",
    [
        "x = " + "(" * 5_000,
        "x = " + "-" * 100_000 + "1",
        f'def f(a: {"list[" * 150}int{"]" * 150}):\n    """F.\n\n    Args:\n        a: A.\n    """\n',
        f'def f(a: {".".join("b" * 900)}[1]):\n    """F.\n\n    Args:\n        a: A.\n    """\n',
        f'{_doubling()}def f(a: C0):\n    """F.\n\n    Args:\n        a: A.\n    """\n',
        'class A(BaseModel):\n    a: "A"\n\ndef f(a: A):\n    """F.\n\n    Args:\n        a: A.\n    """\n',
        "A = list['A']\n" + 'def f(a: A):\n    """F.\n\n    Args:\n        a: A.\n    """\n',
        'def f():\n    """' + "x" * 30_000 + '"""\n',
        f'def f({", ".join(f"a{n}: int" for n in range(300))}):\n    """F."""\n',
        "def f(a: int = 1" + "0" * 5_000 + '):\n    """F.\n\n    Args:\n        a: A.\n    """\n',
        "x\0",
    ],
    ids=range(11),
)
def test_a_hostile_source_is_refused(source: str) -> None:
    with pytest.raises(SourceRefused):
        function_schema(Written(source_code=source))


@pytest.mark.parametrize("piece", ["a:\n", "Args:\n  a (", ":param ", "Args:\n", "-----\n", "@param a: ", "x : int\n"])
def test_a_hostile_docstring_is_read(piece: str) -> None:
    """In time: the limit of a test is what holds this."""
    doc = "F.\n\n" + piece * (19_000 // len(piece))
    assert function_schema(Written(source_code=f'def f():\n    """{doc}"""\n'))["description"]


def test_a_given_schema_goes_before_the_source() -> None:
    order = {
        "title": "Order",
        "type": "object",
        "properties": {"item": {"$ref": "#/$defs/Item"}, "title": {"type": "string", "title": "Title"}},
        "required": ["item"],
        "$defs": {"Item": {"type": "object", "properties": {"name": STRING}}},
    }
    source = 'def f(item, title=""):\n    """Orders."""\n'
    found = function_schema(Written(source_code=source, args_json_schema=order))
    inlined = {"item": {"type": "object", "properties": {"name": STRING}}, "title": STRING}
    assert found["parameters"] == {"type": "object", "properties": inlined, "required": ["item"]}
    own = {"name": "order", "description": "Mine.", "parameters": {"type": "object", "properties": {}}}
    for given in (own, {"type": "function", "function": own}):
        written = Written(source_code=source, args_json_schema=order, json_schema=given)
        assert function_schema(written) == {**own, "parameters": {**own["parameters"], "required": []}}  # type: ignore[dict-item]


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"name": "f", "parameters": {"type": "array"}}, ("parameters", "object")),
        ({"name": "f", "parameters": {"properties": {"a": 3}}}, ("“a”", "JSON schema")),
        ({"name": "f", "parameters": {"properties": {}, "required": ["a"]}}, ("required",)),
        ({"name": "f g"}, ("f g", "name")),
        ({"name": 3}, ("name", "texts")),
        ({"name": "f", "parameters": {"properties": {"a": {"$ref": "#/$defs/A"}}}}, ("$defs/A", "nowhere")),
        ({"name": "f", "parameters": {"$ref": "#/$defs/A", "$defs": {"A": {"$ref": "#/$defs/A"}}}}, ("nested",)),
    ],
)
def test_a_wrong_schema_is_refused(schema: dict[str, Any], words: tuple[str, ...]) -> None:
    with pytest.raises(SourceRefused) as refused:
        function_schema(Written(source_code='def f(a):\n    """F."""\n', json_schema=schema))
    assert all(word in refused.value.message for word in words), refused.value.message
