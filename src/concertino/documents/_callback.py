"""What documents are given to."""

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

DocumentCallback: TypeAlias = Callable[[str, Mapping[str, Any]], Any]
"""Takes (name, document)."""
