"""The shapes of the answers: JSON Schemas (draft 2020-12) in `tests/sdk/shapes`."""

import json

from jsonschema import Draft202012Validator
from referencing import Registry, Resource

from support import SUITE

_documents = {path.stem: json.loads(path.read_text()) for path in (SUITE / "shapes").glob("*.json")}
_registry = Registry().with_resources(
    (document["$id"], Resource.from_contents(document)) for document in _documents.values()
)
for _document in _documents.values():
    Draft202012Validator.check_schema(_document)


def misfits(shape: str, body) -> list[str]:
    """What is wrong with a body of this shape."""
    validator = Draft202012Validator(_documents[shape], registry=_registry)
    return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(body)]
