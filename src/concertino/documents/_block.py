"""Blocks of a start document: what of a run is said in fields of their own, with a version."""

from collections.abc import Mapping
from importlib.metadata import version
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, ValidationError, field_validator

from concertino._errors import DocumentError


class StartBlock(BaseModel):
    """What a start document carries under `NAME`, as ``block.model_dump(mode="json")``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    NAME: ClassVar[str]
    VERSION: ClassVar[int] = 1
    #: What a run without it is not, and what to do.
    WITHOUT: ClassVar[str]

    version: int = 1

    @field_validator("version")
    @classmethod
    def _known_version(cls, value: int) -> int:
        if value != cls.VERSION:
            raise ValueError(cls._version_message(value))
        return value

    @classmethod
    def from_start(cls, start: Mapping[str, Any]) -> Self:
        """Read the block of a start document.

        Parameters
        ----------
        start : mapping
            The start document.

        Raises
        ------
        DocumentError
            If there is none, it is of a newer version, or breaks the rules of its class.
        """
        run = f"Run {str(start.get('uid', '?'))[:8]}"
        block = start.get(cls.NAME)
        if not isinstance(block, Mapping):
            raise DocumentError(
                f"{run} (plan {start.get('plan_name', 'unknown')!r}) has no {cls.NAME} block, "
                f"{cls.WITHOUT}."
            )
        number = block.get("version")
        if isinstance(number, int) and number > cls.VERSION:
            # Before the fields: a newer block's are not ours to judge.
            raise DocumentError(f"{run}: {cls._version_message(number)}.")
        try:
            return cls.model_validate(dict(block))
        except ValidationError as error:
            faults = "; ".join(_describe(fault) for fault in error.errors())
            if not faults.endswith("."):  # Those of plans say themselves what to do.
                faults += ". Have what wrote it write it as concertino.documents describes."
            raise DocumentError(f"{run}: its {cls.NAME} block is wrong: {faults}") from error

    @classmethod
    def _version_message(cls, number: int) -> str:
        return (
            f"the {cls.NAME} block is of version {number}, and Concertino {version('concertino')} reads "
            f"version {cls.VERSION}. Read it with a matching Concertino"
        )


def _describe(fault: Mapping[str, Any]) -> str:
    where = ".".join(str(part) for part in fault["loc"])
    what = str(fault["msg"]).removeprefix("Value error, ")
    return f"{where}: {what}" if where else what
