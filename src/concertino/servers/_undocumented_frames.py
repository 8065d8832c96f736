"""What the documents of a run did not come to say: frames that are stored, but were not described."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from uuid import uuid4

from concertino.callbacks import StoredStreamFrames


class UndocumentedFrames:
    """Follows the documents of a run whose session may die at any moment."""

    def __init__(self) -> None:
        self._resources: dict[tuple[str, str], str] = {}  # (uri, data key) -> uid
        self._described: dict[str, tuple[int, int]] = {}  # uid -> frames, documents

    def __call__(self, name: str, document: Mapping[str, Any]) -> None:
        """Take note of one document."""
        if name == "stream_resource":
            self._resources[document["uri"], document["data_key"]] = document["uid"]
            self._described[document["uid"]] = (0, 0)
        elif name == "stream_datum":
            resource = document["stream_resource"]
            frames, count = self._described.get(resource, (0, 0))
            self._described[resource] = (max(frames, document["indices"]["stop"]), count + 1)

    def documents(
        self, run: str, stored: Iterable[StoredStreamFrames]
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield the documents that describe the rest of what is stored.

        Parameters
        ----------
        run : str
            Uid of the run.
        stored : iterable of StoredStreamFrames
            What the writer stored of each stream.
        """
        for part in stored:
            claim, data_key = part.claim, part.stream.data_key
            resource = self._resources.get((claim.uri, data_key), "")
            frames, count = self._described.get(resource, (0, 0))
            if part.frames <= frames:
                continue
            if not resource:
                resource = str(uuid4())
                yield (
                    "stream_resource",
                    {
                        "uid": resource, "run_start": run, "data_key": data_key,
                        "mimetype": claim.mimetype, "uri": claim.uri,
                        "parameters": {**claim.parameters, "durability": claim.durability},
                    },
                )  # fmt: skip
            yield (
                "stream_datum",
                {
                    "stream_resource": resource, "uid": f"{resource}/{count}",
                    "descriptor": part.stream.descriptor["uid"],
                    "indices": {"start": frames, "stop": part.frames},
                    "seq_nums": {"start": frames + 1, "stop": part.frames + 1},
                },
            )  # fmt: skip
