"""Which run a document belongs to."""

from collections.abc import Mapping
from typing import Any

# The fields by which a document names an earlier one of its run; the first that it has counts.
_LINKS = ("run_start", "stream_resource", "descriptor", "resource")
_NAMED_LATER = ("start", "descriptor", "stream_resource", "resource")


class OpenRuns:
    """Tells to which open run each document belongs; runs may be interleaved.

    Examples
    --------
    >>> runs = OpenRuns()
    >>> runs.note("start", {"uid": "a"})
    'a'
    >>> runs.note("descriptor", {"uid": "b", "run_start": "a"})
    'a'
    >>> runs.run_of({"descriptor": "b"})
    'a'
    >>> runs.forget("a")
    >>> runs.run_of({"descriptor": "b"})
    ''
    """

    def __init__(self) -> None:
        self._runs: dict[str, str] = {}  # uid of a document -> uid of its start document

    def note(self, name: str, document: Mapping[str, Any]) -> str:
        """Take note of a document, which later ones may name, and return the uid of its run.

        Parameters
        ----------
        name : str
            Its kind.
        document : mapping
            The document; they come in their order.

        Returns
        -------
        str
            Uid of the start document; empty when the document belongs to no open run.
        """
        run = str(document["uid"]) if name == "start" else self.run_of(document)
        if run and name in _NAMED_LATER:
            self._runs[document["uid"]] = run
        return run

    def run_of(self, document: Mapping[str, Any]) -> str:
        """Return the uid of the run of a document other than a start; empty when it belongs to no open run."""
        return self._runs.get(document.get(link_of(document), ""), "")

    def forget(self, run: str) -> None:
        """Let go of a run that is over."""
        self._runs = {uid: other for uid, other in self._runs.items() if other != run}


def link_of(document: Mapping[str, Any]) -> str:
    """Return the field by which a document names an earlier one of its run."""
    return next((field for field in _LINKS if field in document), _LINKS[0])
