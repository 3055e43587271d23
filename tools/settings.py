"""Writes ``src/preceptor/settings.json`` from RunConfig, and prints the settings as a Markdown table.

Run ``python tools/settings.py`` after a change of RunConfig or TrainingConfig.
"""

import json

from preceptor.run.config import json_schema
from preceptor.settings import SCHEMA_FILE, markdown_table

if __name__ == "__main__":
    SCHEMA_FILE.write_text(json.dumps(json_schema(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(markdown_table(), end="")
