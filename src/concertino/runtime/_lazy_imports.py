"""Grammars that take seconds to read are read when somebody needs them, not at every start."""

import importlib
import sys
from importlib.util import find_spec
from types import ModuleType
from typing import Any

_IRI = "rfc3987_syntax"


def postpone_iri_grammar() -> None:
    """Put a stand-in for ``rfc3987_syntax`` where jsonschema will import it.

    An environment with Jupyter has that package, and event-model imports jsonschema, which imports it
    for a check that documents never ask for: five seconds of every process. The stand-in loads the
    package at the first check.
    """
    if _IRI in sys.modules or "jsonschema" in sys.modules:
        return
    spec = find_spec(_IRI)
    if spec is None:
        return
    stand_in: Any = ModuleType(_IRI)
    stand_in.__spec__ = spec
    stand_in.__path__ = list(spec.submodule_search_locations or ())

    def real() -> Any:
        if sys.modules.get(_IRI) is stand_in:
            del sys.modules[_IRI]
        return importlib.import_module(_IRI)

    def is_valid_syntax(rule: str, text: str) -> bool:
        return bool(real().is_valid_syntax(rule, text))

    stand_in.is_valid_syntax = is_valid_syntax
    stand_in.__getattr__ = lambda name: getattr(real(), name)
    sys.modules[_IRI] = stand_in
