"""What a process does not pay for when it starts."""

import subprocess
import sys

CODE = """
import sys
import concertino
import event_model
import jsonschema
print("read at the start:", "lark" in sys.modules)
checker = jsonschema.FormatChecker()
for text in ("https://example.org/ö", "no address"):
    print(checker.conforms(text, "iri"))
import rfc3987_syntax.syntax_helpers
print("read when needed:", "lark" in sys.modules)
"""


def test_grammars_of_addresses_are_read_when_one_is_checked() -> None:
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [
        "read at the start: False", "True", "False", "read when needed: True",
    ]  # fmt: skip
