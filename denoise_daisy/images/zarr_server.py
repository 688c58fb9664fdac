"""Zarrs on servers: what is read there but their voxels, and who may read it."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from denoise_daisy.errors import InputError
from denoise_daisy.images.zarr_place import (
    ABSENT,
    LocalPlace,
    Place,
    StoredFile,
    joined,
    unreadable,
)
from denoise_daisy.sections import is_url

SCHEMES = ("s3", "http", "https")

CREDENTIALS = (
    "AWS_ACCESS_KEY_ID",
    "AWS_PROFILE",
    "AWS_SHARED_CREDENTIALS_FILE",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
)
"""Variables of the environment; where none is set, S3 is asked as by anybody."""

Answer = TypeVar("Answer")


def place_of(path: str) -> Place:
    """The place of a path or URL, whether or not something is there.

    Raises
    ------
    InputError
        The URL is none that can be read from.
    """
    return _remote(path) if is_url(path) else LocalPlace(str(Path(path).absolute()))


def refuse_credentials(path: str) -> None:
    """Refuse a URL that holds a secret, without repeating it.

    Raises
    ------
    InputError
        It has a user, a password or a query.
    """
    if not is_url(path):
        return
    try:
        parts = urlsplit(path)
    except ValueError:
        parts = urlsplit("s3://@/?")
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise InputError(
            "input.path is a URL with a user, a password or a query in it, which would"
            " be kept in files and logs. Expected one without: give credentials by the"
            " environment (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_PROFILE)."
        )


@dataclass(frozen=True)
class RemotePlace:
    """A folder of a server."""

    path: str
    files: Any
    """fsspec's file system, of no event loop that a caller has."""

    def at(self, path: str) -> "RemotePlace":
        """As `Place` says, as all that follows."""
        return RemotePlace(path, self.files)

    def read(self, key: str) -> bytes | None:
        """A file; where nobody may list, a server denies those that are not there."""
        return self.read_all([key]).get(key)

    def read_all(self, keys: Sequence[str]) -> dict[str, bytes]:
        """Some files, asked for at the same time."""
        by_url = {joined(self.path, key): key for key in keys}
        names = {self.files._strip_protocol(url): key for url, key in by_url.items()}  # noqa: SLF001 - the way to know what answers are named
        answers: Any = self._asked(
            lambda: self.files.cat([*by_url], recursive=False, on_error="return")
        )
        if not isinstance(answers, dict):
            answers = dict.fromkeys(names, answers)
        found = {}
        for name, answer in answers.items():
            if isinstance(answer, bytes):
                found[names.get(name) or by_url[name]] = answer
            elif not _is_absent(answer):
                raise unreadable(self.path, answer) from answer
        return found

    def children(self) -> list[str] | None:
        """In the order of their names; web servers have no listing."""
        if not self._lists:
            return None
        paths = self._asked(lambda: self.files.ls(self.path, detail=False))
        names = (path.rstrip("/").rsplit("/", 1)[-1] for path in paths or ())
        return sorted(names)

    def chunk_files(self) -> list[StoredFile] | None:
        """All files, by as many requests as their listing takes."""
        if not self._lists:
            return None
        listed = self._asked(lambda: self.files.find(self.path, detail=True))
        if listed is None:
            return None
        root = self.files._strip_protocol(self.path) + "/"  # noqa: SLF001 - as above
        return [
            StoredFile(
                name.removeprefix(root),
                int(facts.get("size") or 0),
                _nanoseconds(facts.get("LastModified")),
                str(facts.get("ETag") or ""),
            )
            for name, facts in listed.items()
        ]

    @property
    def _lists(self) -> bool:
        return self.path.startswith("s3:")

    def _asked(self, ask: Callable[[], Answer]) -> Answer | None:
        """What the server answers; None where it has no such thing, or denies it."""
        try:
            return ask()
        except Exception as error:
            if _is_absent(error):
                return None
            raise unreadable(self.path, error) from error


def _is_absent(error: Any) -> bool:
    return isinstance(error, (*ABSENT, PermissionError)) or getattr(
        error, "status", None
    ) in (403, 404, 410)


def _nanoseconds(when: Any) -> int:
    return int(when.timestamp() * 1_000_000_000) if hasattr(when, "timestamp") else 0


def remote_options(url: str) -> dict[str, Any]:
    """What fsspec is told of a server."""
    if not url.startswith("s3:"):
        return {}
    return {"anon": not any(os.environ.get(name) for name in CREDENTIALS)}


def _remote(url: str) -> RemotePlace:
    refuse_credentials(url)
    scheme = url.split(":", 1)[0]
    if scheme not in SCHEMES:
        raise InputError(
            f"The input {url!r} is a URL of {scheme}. Expected one that begins with"
            " s3://, http:// or https://, or a path."
        )
    try:
        # Heavy, and needed for URLs alone.
        import fsspec  # noqa: PLC0415

        files = fsspec.filesystem(
            scheme,
            skip_instance_cache=True,
            use_listings_cache=False,
            **remote_options(url),
        )
    except ImportError as error:
        raise InputError(
            f"The input {url!r} is a URL, and what reads it is not installed ({error})."
            " Expected it there: pip install denoise-daisy[s3]"
        ) from error
    return RemotePlace(url, files)
