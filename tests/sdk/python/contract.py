"""The service's own description of its API, `/openapi.json`, held against what it answers."""

import re
from urllib.parse import urlsplit

from jsonschema import Draft202012Validator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012


class Contract:
    def __init__(self, document: dict):
        self._document = document
        resource = Resource.from_contents(document, default_specification=DRAFT202012)
        self._registry = Registry().with_resource("openapi", resource)
        # Paths without parameters come first: they win over those with.
        paths = sorted(document["paths"], key=lambda path: "{" in path)
        self._patterns = {path: re.compile(re.sub(r"\\{\w+\\}", "[^/]+", re.escape(path)))
                          for path in paths}

    def differences(self, method: str, target: str, status: int, body) -> list[str]:
        """What the description says otherwise; nothing is said of paths and methods it has not."""
        operation = self._operation(method, urlsplit(target).path)
        if operation is None:
            return [] if status in (404, 405) else [f"{method} {target} is not described"]
        response = operation["responses"].get(str(status), operation["responses"].get("default"))
        if response is None:
            return [f"{operation['operationId']}: status {status} is not described"]
        schema = response["content"]["application/json"]["schema"]
        absolute = {"$ref": "openapi" + schema["$ref"]}
        validator = Draft202012Validator(absolute, registry=self._registry)
        return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(body)]

    def _operation(self, method: str, path: str) -> dict | None:
        for template, pattern in self._patterns.items():
            if pattern.fullmatch(path):
                return self._document["paths"][template].get(method.lower())
        return None
