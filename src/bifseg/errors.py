"""What can go wrong that is no fault of the program. Only these errors become a sentence for the user.

    BifsegError
    ├── InvalidInput (ValueError)            what was given cannot be used
    │   ├── FileError                        what is wrong with one file
    │   │   ├── DamagedFile                  it is not what it says it is
    │   │   ├── UnsupportedFile              it is whole, but of a kind that is not read or written
    │   │   ├── SeveralSeries                a folder of DICOM files holds more than one series
    │   │   ├── CannotWrite (OSError)        the file's format, or its place, does not allow it
    │   │   └── TooLarge                     it holds, or says that it holds, more than is allowed
    │   └── KeyReused                        the key of another interaction
    ├── NotFound (LookupError)               nothing of that name for this user
    │   └── MissingFile (FileNotFoundError)
    ├── Busy (RuntimeError)                  another process works on the session
    ├── Stale (RuntimeError)                 the session is no longer as the request took it to be
    ├── Overloaded (RuntimeError)            too much waits already
    ├── Cancelled (RuntimeError)             the user wanted no answer any more
    ├── TookTooLong (TimeoutError)
    ├── Closing (RuntimeError)               the server is about to stop
    ├── StorageFull (OSError)                the disk, or the share of it that one may use
    └── MissingExtra (ImportError)           a package that not everybody needs

Each has a ``code`` for programs, a sentence for people, and ``data``. The command line prints the sentence and ends
with exit code 2, the server answers with a 4xx, 503 or 507. Any other exception is a bug: it is logged as one.
"""

from __future__ import annotations

from typing import Any


class BifsegError(Exception):
    """A refusal, told in one sentence.

    Parameters
    ----------
    message : str
        What was given, and what is possible.
    **data : JSON values
        What a program may want to know of it.
    """

    code = "refused"

    def __init__(self, message: str, **data: Any) -> None:
        super().__init__(message)
        self.data = data

    def as_dict(self) -> dict[str, Any]:
        """Code, arguments and data: what `from_dict` makes the same error of, in another process."""
        return {"code": self.code, "arguments": [str(one) for one in self.args], "data": self.data}

    def __reduce__(self) -> tuple:
        return _again, (type(self), self.args, self.data)


class InvalidInput(BifsegError, ValueError):
    """What was given cannot be used."""

    code = "invalid_input"


class FileError(InvalidInput):
    """What is wrong with one file.

    Parameters
    ----------
    file : path or str
        What the sentence calls the file.
    problem : str
        The rest of the sentence.
    """

    code = "unusable_file"

    def __init__(self, file: object, problem: str, **data: Any) -> None:
        super().__init__(f"{file} {problem}", **data)
        self.args = str(file), problem
        self.file, self.problem = str(file), problem

    def __str__(self) -> str:
        return f"{self.file} {self.problem}"

    def of(self, file: object) -> FileError:
        """The same of a file that the user knows by another name."""
        return type(self)(file, self.problem, **self.data)


class DamagedFile(FileError):
    """The file is not what it says it is."""

    code = "damaged_file"


class UnsupportedFile(FileError):
    """The file is whole, but of a kind, or with a content, that is not read or written."""

    code = "unsupported_file"


class SeveralSeries(FileError):
    """A folder of DICOM files holds several series, and none of them was asked for.

    ``data["series"]`` lists them: ``uid`` (empty where the files have none), ``shape`` (columns, rows, frames),
    ``modality``, ``number`` and ``description`` (text; None where the files do not tell).
    """

    code = "several_series"


class CannotWrite(FileError, OSError):
    """The file's format cannot hold what was to be written, or its place cannot hold the file."""

    code = "cannot_write"

    def __str__(self) -> str:
        return f"Cannot write {self.file}: {self.problem}"


class TooLarge(FileError):
    """It holds, or says that it holds, more than is allowed."""

    code = "too_large"


class KeyReused(InvalidInput):
    """An interaction came with the key of another one."""

    code = "key_reused"


class NotFound(BifsegError, LookupError):
    """There is nothing of that name for this user."""

    code = "not_found"


class MissingFile(NotFound, FileNotFoundError):
    """There is no such file."""

    code = "missing_file"

    __str__ = Exception.__str__


class Busy(BifsegError, RuntimeError):
    """Another process works on the session."""

    code = "busy"


class Stale(BifsegError, RuntimeError):
    """The session is no longer as the request took it to be; ``data["number"]``: of its last interaction."""

    code = "stale"


class Overloaded(BifsegError, RuntimeError):
    """Too much of this user's, or of all users', waits already."""

    code = "overloaded"


class Cancelled(BifsegError, RuntimeError):
    """The interaction was cancelled; its session is as it was."""

    code = "cancelled"


class TookTooLong(BifsegError, TimeoutError):
    """The interaction took longer than one may; its session is as it was."""

    code = "took_too_long"

    __str__ = Exception.__str__


class Closing(BifsegError, RuntimeError):
    """The server is about to stop."""

    code = "closing"


class StorageFull(BifsegError, OSError):
    """The disk, or the share of it that one may use, is full."""

    code = "storage_full"

    __str__ = Exception.__str__


class MissingExtra(BifsegError, ImportError):
    """A package that not everybody needs is not installed."""

    code = "missing_extra"

    __str__ = Exception.__str__


def _again(kind: type[BifsegError], arguments: tuple, data: dict[str, Any]) -> BifsegError:
    """An error out of a pickle: those that are an OSError would be pickled without their data."""
    return kind(*arguments, **data)


def _subclasses(kind: type[BifsegError]) -> dict[str, type[BifsegError]]:
    found: dict[str, type[BifsegError]] = {}
    for one in kind.__subclasses__():
        found |= _subclasses(one)
    return found | {kind.code: kind}


def from_dict(told: dict[str, Any]) -> BifsegError:
    """The error of another process, as its `BifsegError.as_dict` told it."""
    return _subclasses(BifsegError)[told["code"]](*told["arguments"], **told["data"])
