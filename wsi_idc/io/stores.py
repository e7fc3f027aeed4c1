"""Slides in object stores and on web servers: what is there, and the bytes of a file."""

from __future__ import annotations

import hashlib
import importlib
import os
import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from threading import Event
from typing import Any
from urllib.parse import unquote

from wsi_idc._util.files import DISK_FULL
from wsi_idc.errors import OptionError, SlideError, printable

_EXTRAS = {
    "s3": ("s3", "s3fs"),
    "gs": ("gcs", "gcsfs"),
    "az": ("azure", "adlfs"),
    "https": ("s3", "aiohttp"),
    "http": ("s3", "aiohttp"),
}
"""The extra and the module that each kind of address takes."""

LISTED = ("s3", "gs", "az")
"""What can be listed, as a web server cannot."""

_URL = re.compile(r"(s3|gs|az|https?)://", re.IGNORECASE)
_URLS = re.compile(r"((?:s3|gs|az|https?)://)(?:[^\s/?#]*@)?([^\s?#]*)(?:[?#]\S*)?", re.IGNORECASE)

_CONNECT_S, _READ_S = 20, 60
"""Seconds without an answer after which an attempt ends. A download as a whole may take any time."""

_ATTEMPTS = 6
_FIRST_PAUSE_S = 0.25
_CHUNK = 8 * 2**20
_HEAD_BYTES = 65_536

_USER = re.compile(r"^[^/]*@")

_MARKS = (
    *("ETag", "etag", "md5Hash", "generation", "VersionId", "Content-MD5", "Digest"),
    *("LastModified", "Last-Modified", "last_modified", "updated"),
)
"""What tells another content apart, by the names of the libraries."""

_FOR_GOOD = frozenset({400, 401, 403, 404, 405, 410})
"""Answers that another attempt does not change."""

_INDEX_OF_FILES = (".vms", ".vmu")
_SERIES = b"\x20\x00\x0e\x00UI"
_PIXELS = b"\x28\x00\x02\x00US"


def is_url(text: str) -> bool:
    """Whether a text is the address of a store or web server, and no path."""
    return _URL.match(text) is not None


def without_secrets(text: str) -> str:
    """A text in which each address has lost its user, password, query and fragment: those may hold credentials."""
    return printable(_URLS.sub(r"\1\2", text))


def folder_url(url: str) -> str:
    """The address of a folder, without slashes at its end."""
    stripped = url.rstrip("/")
    return url if stripped.endswith(":") else stripped


def name_in(url: str) -> str:
    """The file name at the end of an address; empty where it ends in a slash."""
    scheme, _, path = url.partition("://")
    is_key = scheme.lower() in LISTED
    if not is_key:
        path = without_secrets(url).partition("://")[2]
    name = path.rpartition("/")[2] if "/" in path else ""
    name = name if is_key else unquote(name)
    return name if "/" not in name and is_safe(name) else ""


def is_safe(path: str) -> bool:
    """Whether a key can be a relative path here: no way out of a folder, and no sign that systems read otherwise."""
    signs = "\\\0" + (":" if os.name == "nt" else "")
    return not any(sign in path for sign in signs) and not {"", ".", ".."} & set(path.split("/"))


@dataclass(frozen=True)
class RemoteFile:
    """A file of a slide as a store tells of it.

    Attributes
    ----------
    place : str
        As the store's file system names it; of a web server the whole address.
    name : str
        Where it goes, relative to the folder of the slide, in POSIX form.
    size : int or None
        Bytes; None where a web server does not say.
    version : str
        Another one where the content changed, as far as the store tells.
    """

    place: str
    name: str
    size: int | None
    version: str


class Store:
    """The store that an address belongs to.

    Parameters
    ----------
    url : str
        ``s3://``, ``gs://``, ``az://``, ``https://`` or ``http://``. Credentials come from the environment and the
        files of the store's own tools.

    Raises
    ------
    OptionError
        Where the package for such addresses is not installed.
    """

    def __init__(self, url: str) -> None:
        scheme, _, rest = url.partition("://")
        self.scheme = scheme.lower()
        # A key may hold signs that end the path of a web address. What stands before an @ is a password.
        rest = _USER.sub("", rest)
        plain, listed = f"{self.scheme}://{rest}", self.scheme in LISTED
        if not rest.strip("/"):
            raise OptionError(f"{printable(plain)} names no bucket: give an address like s3://bucket/folder.")
        self.url, self.told = url, printable(plain) if listed else without_secrets(url)
        extra, module = _EXTRAS[self.scheme]
        try:
            importlib.import_module(module)
            self._fs: Any = importlib.import_module("fsspec").filesystem(self.scheme, **_config(self.scheme))
        except ImportError as error:
            raise OptionError(
                f'{self.scheme}:// needs a package that is not installed: pip install "wsi-idc[{extra}]".'
            ) from error
        except Exception as error:  # what each library raises where an account or a key is missing
            raise OptionError(
                f"{self.scheme}:// cannot be reached ({type(error).__name__}): give the store's credentials as its own "
                "tools want them."
            ) from error
        if self.scheme == "s3":
            self._fs.retries = 1
        self.place = str(self._fs._strip_protocol(plain)) if listed else url

    def slides(self, endings: Sequence[str], leave_out: str = "") -> tuple[list[str], int]:
        """Paths below the address of what are slides, sorted, and how many other files there are.

        DICOM files (``.dcm``) of one folder and series count once, named by the lexically first. What lies below the
        address `leave_out` counts for nothing: results are no slides.

        Raises
        ------
        SlideError
            Where the address cannot be listed, or there is no slide.
        """
        if self.scheme not in LISTED:
            raise OptionError(f"{self.told} cannot be listed: name the files of a web server one by one in --manifest.")
        top = self.place.rstrip("/")
        sizes = self._asked(lambda: {str(at): one.get("size") for at, one in self._fs.find(top, detail=True).items()})
        paths = sorted(at[len(top) + 1 :] for at in sizes if at.startswith(f"{top}/"))
        if leave_out.startswith(f"{self.scheme}://"):
            results = str(self._fs._strip_protocol(leave_out)).rstrip("/")
            paths = [path for path in paths if not f"{top}/{path}".startswith(f"{results}/")]
        paths = [path for path in paths if is_safe(path) and not any(part[0] == "." for part in path.split("/"))]
        plain = [path for path in paths if path.lower().endswith(tuple(endings))]
        dicom = [path for path in paths if path.lower().endswith(".dcm") and sizes[f"{top}/{path}"] != 0]
        first: dict[tuple[str, object], str] = {}
        for path in dicom:
            first.setdefault((path.rpartition("/")[0], self._series(f"{top}/{path}") or path), path)
        if not plain and not dicom:
            raise SlideError(f"{self.told} holds no slides among its {len(paths):,} files: name another with --slides.")
        return sorted([*plain, *first.values()]), len(paths) - len(plain) - len(dicom)

    def files(self) -> list[RemoteFile]:
        """All files of the slide at the address, the one that names it first.

        Raises
        ------
        SlideError
            Where there is none, or it cannot be reached.
        """
        name = name_in(self.url)
        if not name:
            raise SlideError(f"{self.told} names no file: give the address of a slide.")
        own = self._file(self.place, name)
        ending = PurePosixPath(name).suffix.lower()
        if ending not in (".mrxs", ".dcm", *_INDEX_OF_FILES):
            return [own]
        if self.scheme not in LISTED:
            raise SlideError(
                f"{self.told} may be one of several files of a slide, which a web server does not list: fetch them "
                "all, or name the slide in s3://, gs:// or az://."
            )
        folder = self.place.rpartition("/")[0]
        if ending == ".mrxs":
            folder = self.place[: -len(".mrxs")]
            beside = [str(place) for place in self._asked(lambda: self._fs.find(folder), missing=[])]
        elif ending == ".dcm":
            beside = [str(place) for place in self._asked(lambda: self._fs.ls(folder, detail=False))]
            series = self._series(self.place)
            beside = [at for at in beside if at.lower().endswith(".dcm") and series and self._series(at) == series]
        else:
            index = self._asked(lambda: self._fs.cat_file(self.place, start=0, end=_HEAD_BYTES)).decode(
                "utf-8", "replace"
            )
            named = re.findall(r"^(?:ImageFile|MapFile)[^=\n]*=([^\r\n]+)", index, re.MULTILINE)
            beside = [f"{folder}/{one.strip()}" for one in named if one.strip() == Path(one.strip()).name]
        top = len(self.place) - len(name)
        more = sorted({at for at in beside if at != self.place and is_safe(at[top:])})
        return [own, *(self._file(at, at[top:]) for at in more)]

    def head(self) -> bytes:
        """The first bytes of the file that the address names.

        Raises
        ------
        SlideError
            Where there is none, or it cannot be read.
        """
        file = self.files()[0]
        if self.scheme in LISTED:
            return bytes(self._asked(lambda: self._fs.cat_file(file.place, start=0, end=_HEAD_BYTES)))

        def ask() -> bytes:
            # A server that gives no parts would send all of it.
            with self._fs.open(file.place, "rb", block_size=0) as remote:
                return bytes(remote.read(_HEAD_BYTES))

        return bytes(self._asked(ask))

    def fetch(self, file: RemoteFile, path: Path, stop: Event) -> None:
        """Download a file, each part again where that fails; gives up when `stop` is set.

        Raises
        ------
        SlideError
            Where it cannot be fetched whole.
        OSError
            Where the disk is full.
        """
        if file.size is None or self.scheme not in LISTED:
            self._asked(lambda: self._fetch_whole(file, path, stop), stop=stop)
            return
        with path.open("wb") as out:
            for start in range(0, file.size, _CHUNK):
                if stop.is_set():
                    raise SlideError(f"The run was ended while {self.told} was fetched.")
                part = partial(self._part, file, start, min(start + _CHUNK, file.size))
                out.write(self._asked(part, stop=stop))
        if self._file(file.place, file.name) != file:
            raise SlideError(f"{self.told} was replaced while it was fetched: run the same command again.")

    def tree(self) -> list[str]:
        """All files below the address, relative to it, in POSIX form; SlideError where it cannot be listed."""
        top = self.place.rstrip("/")

        def ask() -> list[str]:
            self._fs.invalidate_cache()
            return [str(at) for at in self._fs.find(top)]

        found = self._asked(ask, missing=[])
        return sorted(at[len(top) + 1 :] for at in found if at.startswith(f"{top}/") and is_safe(at[len(top) + 1 :]))

    def fetch_below(self, name: str, path: Path, stop: Event) -> None:
        """Download a file below the address: see `fetch`."""
        self.fetch(self._file(f"{self.place.rstrip('/')}/{name}", name), path, stop)

    def put(self, path: Path, name: str, stop: Event) -> None:
        """Upload a file to a name below the address, again where that fails: there is all of it, or what was before.

        Raises
        ------
        SlideError
            Where it cannot be written.
        """
        place = f"{self.place.rstrip('/')}/{name}"
        self._asked(lambda: self._fs.put_file(str(path), place), stop=stop, verb="written")

    def remove(self, name: str, stop: Event) -> None:
        """Delete a file below the address, if it is there; SlideError where that cannot be."""
        place = f"{self.place.rstrip('/')}/{name}"

        def ask() -> None:
            self._fs.invalidate_cache()
            self._fs.rm_file(place)

        self._asked(ask, missing=True, stop=stop, verb="written")

    def _fetch_whole(self, file: RemoteFile, path: Path, stop: Event) -> None:
        """Download from a web server, which need not give parts."""
        with self._fs.open(file.place, "rb", block_size=0) as remote, path.open("wb") as out:
            while chunk := remote.read(_CHUNK):
                out.write(chunk)
                if stop.is_set():
                    raise SlideError(f"The run was ended while {self.told} was fetched.")
        if file.size is not None and path.stat().st_size != file.size:
            raise _ShortError(f"{path.stat().st_size:,} of {file.size:,} bytes arrived")

    def _part(self, file: RemoteFile, start: int, stop: int) -> bytes:
        part: bytes = self._fs.cat_file(file.place, start=start, end=stop)
        if len(part) != stop - start:
            raise _ShortError(f"{len(part):,} of {stop - start:,} bytes of a part arrived")
        return part

    def _file(self, place: str, name: str) -> RemoteFile:
        def ask() -> dict[str, Any]:
            self._fs.invalidate_cache()
            return dict(self._fs.info(place))

        info = self._asked(ask)
        if info.get("type") == "directory":
            raise SlideError(f"{self.told} is a folder: name a slide in it, or score them all with `all --slides`.")
        marks = [f"{mark}={info[mark]}" for mark in _MARKS if info.get(mark)]
        if not marks and self.scheme not in LISTED:
            # Addresses that differ in their query alone may be different files.
            marks = [hashlib.sha256(place.encode()).hexdigest()]
        size = info.get("size")
        return RemoteFile(place, name, None if size is None else int(size), " ".join(marks))

    def _series(self, place: str) -> bytes | None:
        """Series instance UID of a DICOM file, as bytes; None where its beginning holds none."""
        head = self._asked(lambda: self._fs.cat_file(place, start=0, end=_HEAD_BYTES))
        # Series that others refer to stand before its own, in groups of smaller numbers.
        at = head.rfind(_SERIES, 0, head.find(_PIXELS))
        if at < 0:
            return None
        length = int.from_bytes(head[at + 6 : at + 8], "little")
        return bytes(head[at + 8 : at + 8 + length])

    def _asked(
        self, ask: Callable[[], Any], missing: Any = None, stop: Event | None = None, verb: str = "fetched"
    ) -> Any:
        """What the store answers; asked again, after pauses, where that may help."""
        for attempt in range(_ATTEMPTS):
            try:
                return ask()
            except Exception as error:
                if isinstance(error, OSError) and error.errno in DISK_FULL:
                    raise
                if isinstance(error, SlideError):
                    raise
                if isinstance(error, FileNotFoundError) and missing is not None:
                    return missing
                reason, passing = _reason(error)
                if verb == "written" and isinstance(error, FileNotFoundError):
                    reason = "there is no such bucket"
                if not passing or attempt == _ATTEMPTS - 1:
                    tried = f" after {attempt + 1} attempts" if passing else ""
                    # Not chained: what libraries say can hold signed addresses.
                    raise SlideError(
                        f"{self.told} cannot be {verb}{tried} ({reason}): check address, permissions and network, and "
                        "run the same command again."
                    ) from None
            if (stop or Event()).wait(_FIRST_PAUSE_S * 2**attempt * random.uniform(0.5, 1.5)):
                raise SlideError(f"The run was ended while {self.told} was {verb}.")
        raise AssertionError("not reached")


def _config(scheme: str) -> dict[str, Any]:
    """Options of a file system. Attempts are counted here, and not multiplied by those of libraries."""
    if scheme == "s3":
        limits = {"connect_timeout": _CONNECT_S, "read_timeout": _READ_S}
        return {"config_kwargs": {"retries": {"max_attempts": 1}, **limits}}
    if scheme in LISTED:
        return {}
    aiohttp = importlib.import_module("aiohttp")
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_S, sock_read=_READ_S)
    return {"client_kwargs": {"timeout": timeout}}


class _ShortError(Exception):
    """Less arrived than was announced."""


def _reason(error: Exception) -> tuple[str, bool]:
    """Why a store did not answer, in words that hold nothing secret, and whether that may pass."""
    if isinstance(error, _ShortError):
        return str(error), True
    if isinstance(error, FileNotFoundError):
        return "there is no such file", False
    status = next((getattr(error, name) for name in ("status", "status_code", "code") if hasattr(error, name)), None)
    if isinstance(status, int):
        return f"the server answered {status}", status not in _FOR_GOOD
    if isinstance(error, PermissionError) or "Forbidden" in str(error):
        return "no permission", False
    if isinstance(error, ValueError):
        return "no such address can be", False
    if isinstance(error, TimeoutError):
        return "no answer in time", True
    kind = type(error).__name__
    if "Credential" in kind or "Token" in kind or "ProfileNotFound" in kind:
        return "no valid credentials were found", False
    return f"the connection failed, {kind}", True
