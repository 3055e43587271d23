"""Writes ``src/preceptor/settings.json`` from RunConfig.

Run ``python tools/settings.py`` after a change of RunConfig or TrainingConfig.
"""

import json
from typing import Any

from preceptor.run import RunConfig
from preceptor.settings import SCHEMA_FILE


def json_schema() -> dict[str, Any]:
    """The JSON schema of a file of settings: as RunConfig, but names stand for a recipe and for a training preset."""
    schema = RunConfig.model_json_schema()
    properties = schema["properties"]
    for name in ("recipe", "training"):
        properties[name]["anyOf"] = [{"type": "string"}, {"$ref": properties[name].pop("$ref")}]
    properties["training"]["default"], properties["recipe"]["default"] = "short", "none"
    return {**schema, "required": []}


if __name__ == "__main__":
    SCHEMA_FILE.write_text(json.dumps(json_schema(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
