"""TypeScript sources read as JSON schemas."""

from __future__ import annotations

from typing import Any

import pytest

from agents.sources.derive import Written, function_schema
from agents.sources.limits import SourceRefused
from agents.sources.typescript import TypeScriptSource

STRING = {"type": "string"}
NUMBER = {"type": "number"}
TOP = """
const headers = { "Accept": "*/*" }; // export function commented() {}
/* export function
export function hidden(x: string) {} */
enum Color { Red = "red", Blue = "blue" }
enum Level { Low, High = 4, Higher }
type Size = 'small' | 'large';
export interface Filter {
  /** The least. */
  min?: number;
  readonly kind: Size; // a word
  nested: { deep: string[] }
}
function helper(a: any) { return `export function ${a}` }
"""
FILTER = {
    "type": "object",
    "properties": {
        "min": {"type": "number", "description": "The least."},
        "kind": {"type": "string", "enum": ["small", "large"]},
        "nested": {
            "type": "object",
            "properties": {"deep": {"type": "array", "items": STRING}},
            "required": ["deep"],
        },
    },
    "required": ["kind", "nested"],
}


def written(signature: str, doc: str = "@param a - It.") -> Written:
    source = (
        f"{TOP}\n/**\n * Does it.\n *\n * {doc}\n */\nexport async function f({signature}): Promise<string> {{ }}\n"
    )
    return Written(source_code=source, source_type="typescript")


def property_of(signature: str) -> tuple[dict[str, Any], bool]:
    schema = function_schema(written(signature))
    assert (schema["name"], schema["description"]) == ("f", "Does it.")
    [(name, found)] = schema["parameters"]["properties"].items()
    assert (name, found.pop("description")) == ("a", "It.")
    return found, schema["parameters"]["required"] == ["a"]


@pytest.mark.parametrize(
    ("signature", "schema", "required"),
    [
        ("a: string", STRING, True),
        ("a: number", NUMBER, True),
        ("a: boolean = false", {"type": "boolean", "default": False}, False),
        ("a = 'x'", {"type": "string", "default": "x"}, False),
        ("a?: string | null", STRING, False),
        ("a: string | null", {"anyOf": [STRING, {"type": "null"}]}, True),
        ("a: any", STRING, True),
        ("a: string[][]", {"type": "array", "items": {"type": "array", "items": STRING}}, True),
        ("a: Array<string | number>", {"type": "array", "items": {"anyOf": [STRING, NUMBER]}}, True),
        ("a: readonly any[] = [1, 2]", {"type": "array", "items": {}}, False),
        (
            "a: [string, number]",
            {"type": "array", "items": {"anyOf": [STRING, NUMBER]}, "minItems": 2, "maxItems": 2},
            True,
        ),
        ("a: Record<string, number>", {"type": "object", "additionalProperties": NUMBER}, True),
        ("a: { [key: string]: any }", {"type": "object", "additionalProperties": True}, True),
        ("a: 'x' | \"y\" | 3", {"type": ["string", "integer"], "enum": ["x", "y", 3]}, True),
        ("a: Size", {"type": "string", "enum": ["small", "large"]}, True),
        ("a: Color", {"type": "string", "enum": ["red", "blue"]}, True),
        ("a: Level", {"type": "integer", "enum": [0, 4, 5]}, True),
        ("a: Filter", FILTER, True),
        ("a: Partial<Filter>", {**FILTER, "required": []}, True),
        ("a: (string | number)[], // why\n", {"type": "array", "items": {"anyOf": [STRING, NUMBER]}}, True),
    ],
)
def test_a_signature_becomes_a_schema(signature: str, schema: dict[str, Any], required: bool) -> None:
    assert property_of(signature) == (schema, required)


def test_jsdoc_describes_arguments_and_their_fields() -> None:
    doc = "@param {string} a - The first,\n * on two lines.\n * @param [b=3] The second.\n * @param b.kind What kind."
    schema = function_schema(written("a, b: Filter = {}", doc))["parameters"]
    assert schema["properties"]["a"] == {"type": "string", "description": "The first, on two lines."}
    assert schema["properties"]["b"]["properties"]["kind"]["description"] == "What kind."
    assert TypeScriptSource(written("zeta: string, a: number").source_code).argument_names() == ["zeta", "a"]


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (written("a: string, b: number").source_code, ("'b' has no description", "@param b")),
        (written("a").source_code, ("'a' has no type", "a: string")),
        (written("a: Date").source_code, ("'a'", "Date")),
        (written("a: (x: string) => void").source_code, ("'a'",)),
        (written("a: Filter & { x: string }").source_code, ("'a'", "one interface")),
        (written("{ x }: { x: string }").source_code, ("names no argument",)),
        (written("...a: string[]").source_code, ("...", "names no argument")),
        ("function f() {}", ("exports no function", "export function")),
        ("export function a() {}\nexport function b() {}", ("a, b", "alone")),
        ("export function f<T>(a: T) {}", ("generic",)),
        ("export function f(a: string", ("f",)),
        ("interface A { a: A }\nexport function f(a: A) {}", ("'a'", "holds itself")),
        ("export function f(a: " + "[" * 500 + ") {}", ("f",)),
        ("export function f(a: enum", ("f",)),
        ("export function f(" + "a: { b: " * 400, ("f",)),
        ("/* " * 160_000, ("exports no function",)),
        ("export function f(a: " + "/** " * 100_000, ("f",)),
        ("export function f(a: " + "`" * 99_999, ("f",)),
        ("export function f(a: " + "/* " * 100_000, ("f",)),
        ("enum E { A\nexport function f(a: E) {}", ("'a'",)),
    ],
)
def test_what_is_wrong_is_named_with_its_mend(source: str, words: tuple[str, ...]) -> None:
    with pytest.raises(SourceRefused) as refused:
        function_schema(Written(source_code=source, source_type="typescript"))
    assert all(word in refused.value.message for word in words), refused.value.message


def test_a_function_without_a_comment_needs_a_description() -> None:
    source = "export function now(): string { return '' }"
    with pytest.raises(SourceRefused, match="no description"):
        function_schema(Written(source_code=source, source_type="typescript"))
    found = function_schema(Written(source_code=source, source_type="typescript", description="The time."))
    assert (found["name"], found["description"]) == ("now", "The time.")
