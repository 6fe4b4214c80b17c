"""HDF5 files that may be damaged, or made to do harm: numbers are read from them, and nothing else.

with Group.open(path, memory=available) as file:
    rewards = file.array("rewards")
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from rlx.data.dataset import DatasetError

if TYPE_CHECKING:
    import h5py

COPIES = 4
"""How many times over an array is in memory at most until it is on the device: as stored, converted, moved there."""

LISTED = 8
"""How many names an error lists."""


@dataclasses.dataclass
class Memory:
    """What arrays may take in all, and what those that were asked for so far take."""

    available: float
    taken: int = 0

    def take(self, size: int) -> None:
        """Notes so many bytes.

        Raises:
            DatasetError: they are more than there are.
        """
        self.taken += size
        if COPIES * self.taken > self.available:
            raise DatasetError(
                f"reading it takes about {_gigabytes(COPIES * self.taken)} of memory, by the shapes of its arrays; "
                f"{_gigabytes(self.available)} are free"
            )


class Group:
    """A group of a file that is open for reading; whatever is wrong with it is a `DatasetError`.

    Only what lies in the file itself is read. Links and arrays that point elsewhere are refused before anything
    follows them, and so are filters that HDF5 would load a library for. What an array takes is known by its shape
    before it is read.

    Attributes:
        memory: of the whole file.
    """

    def __init__(self, group: h5py.Group, memory: Memory):
        self._group = group
        self.memory = memory

    @classmethod
    @contextlib.contextmanager
    def open(cls, path: str | os.PathLike, *, memory: float) -> Iterator[Group]:
        """The root of a file.

        Args:
            path: a regular file.
            memory: bytes that what is read may take.

        Raises:
            DatasetError: it is no HDF5 file, or a damaged one.
        """
        import h5py

        with _reading("it", "cannot be read as HDF5, it is damaged or of another format"):
            file = h5py.File(path, "r")
        try:
            yield cls(file, Memory(memory))
        finally:
            # A damaged file may fail to close as well; nothing was written that could be lost.
            with contextlib.suppress(Exception):
                file.close()

    @property
    def names(self) -> list[str]:
        """Names of the members, sorted."""
        with _reading("the list of what it holds"):
            return sorted(self._group)

    @property
    def attributes(self) -> dict[str, Any]:
        """The attributes in types of Python: texts, numbers and lists of them.

        Raises:
            DatasetError: one cannot be read, or is of another kind.
        """
        with _reading("the list of its attributes"):
            names = sorted(self._group.attrs)
        return {name: self._attribute(name) for name in names}

    def __contains__(self, name: str) -> bool:
        with _reading(name):
            return self._group.get(name, getlink=True) is not None

    def is_group(self, name: str) -> bool:
        """Whether a member is a group; False if there is no such member."""
        import h5py

        return name in self and isinstance(self._member(name), h5py.Group)

    def group(self, name: str) -> Group:
        """A member that is a group.

        Raises:
            DatasetError: it is missing, damaged, elsewhere or an array.
        """
        if not self.is_group(name):
            self._member(name)
            raise DatasetError(f"{name} must be a group, it is an array")
        return Group(self._member(name), self.memory)

    def array(self, name: str) -> np.ndarray:
        """A member that is an array of numbers.

        Raises:
            DatasetError: it is missing, damaged, elsewhere, a group, too large, or of other things than numbers.
        """
        x = self._array(name)
        self.memory.take(self._size(name))
        with _reading(name):
            return np.asarray(x[()]).astype(x.dtype.newbyteorder("="), copy=False)

    def check_memory(self, names: list[str]) -> None:
        """Raises `DatasetError` where several arrays together take more than there is, before any is read."""
        Memory(self.memory.available, self.memory.taken).take(sum(map(self._size, names)))

    def _size(self, name: str) -> int:
        """Bytes that reading an array takes, at least one chunk."""
        x = self._array(name)
        shape = [max(pair) for pair in zip(x.shape, x.chunks or x.shape)]
        return math.prod(shape) * x.dtype.itemsize

    def _member(self, name: str) -> Any:
        import h5py

        if name not in self:
            names = self.names
            more = ", …" if len(names) > LISTED else ""
            raise DatasetError(f"it has no {name!r}; it holds {', '.join(names[:LISTED]) or 'nothing'}{more}")
        with _reading(name):
            link = self._group.get(name, getlink=True)
            if isinstance(link, h5py.ExternalLink):
                raise DatasetError(f"{name} is a link to another file, {link.filename!r}, which is not followed")
            if not isinstance(link, h5py.HardLink):
                raise DatasetError(f"{name} is a link to {link.path!r}, which is not followed: it must be in its place")
            return self._group[name]

    def _array(self, name: str) -> h5py.Dataset:
        """An array that may be read, as far as can be told without reading it."""
        import h5py

        x = self._member(name)
        if isinstance(x, h5py.Group):
            inside = ", ".join(Group(x, self.memory).names[:LISTED])
            raise DatasetError(f"{name} must be an array, it is a group of {inside or 'nothing'}")
        if not isinstance(x, h5py.Dataset):
            raise DatasetError(f"{name} must be an array, it is a {type(x).__name__.lower()}")
        with _reading(name):
            if x.is_virtual or x.external:
                raise DatasetError(f"{name} is stored in other files, which are not read")
            if x.shape is None:
                raise DatasetError(f"{name} is empty")
            if x.dtype.kind not in "biuf" or x.dtype.itemsize > 8:
                raise DatasetError(f"{name} must hold integers or floating-point numbers, got dtype {x.dtype}")
            if x.size and not x.id.get_storage_size():
                raise DatasetError(f"{name} was never written: it has the shape {x.shape} and no values")
            _check_chunks(name, x)
        return x

    def _attribute(self, name: str) -> Any:
        import h5py

        with _reading(f"the attribute {name!r}"):
            attribute = self._group.attrs.get_id(name)
            self.memory.take(math.prod(attribute.shape or ()) * attribute.dtype.itemsize)
            value = self._group.attrs[name]
        if isinstance(value, h5py.Empty):
            return None
        value = value.tolist() if isinstance(value, (np.ndarray, np.generic)) else value
        return _plain(name, value)


def _plain(name: str, value: Any) -> Any:
    """An attribute as texts, numbers and lists of them."""
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    if isinstance(value, list):
        return [_plain(name, x) for x in value]
    if not isinstance(value, (str, bool, int, float)):
        raise DatasetError(f"the attribute {name!r} must be a text, a number or a list of them, got {type(value)}")
    return value


def _check_chunks(name: str, x: h5py.Dataset) -> None:
    """Whether unpacking the chunks of an array runs nothing unknown, and gives about what its shape says."""
    from h5py import h5z

    plan = x.id.get_create_plist()
    filters = [plan.get_filter(i)[0] for i in range(plan.get_nfilters())]
    known = {h5z.FILTER_DEFLATE, h5z.FILTER_SHUFFLE, h5z.FILTER_FLETCHER32, h5z.FILTER_SZIP, h5z.FILTER_LZF}
    if set(filters) - known or len(set(filters)) < len(filters):
        raise DatasetError(f"{name} is packed by filters that are not read: write it with gzip")
    if not filters:
        return
    # HDF5 unpacks a chunk to its end, however long: a megabyte becomes a gigabyte. Packing makes no chunk much larger
    # than its numbers.
    largest = 0

    def note(chunk: Any) -> None:
        nonlocal largest
        largest = max(largest, chunk.size)

    x.id.chunk_iter(note)
    if largest > 1.1 * math.prod(x.chunks) * x.dtype.itemsize + 4096:
        raise DatasetError(f"{name} is damaged: a packed chunk of {largest} bytes is larger than the chunk itself")


@contextlib.contextmanager
def _reading(what: str, fails: str = "cannot be read, the file is damaged") -> Iterator[None]:
    """Turns every error of h5py into ours."""
    try:
        yield
    except DatasetError:
        raise
    except Exception as error:  # of a damaged file h5py raises errors of nearly every kind
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DatasetError(f"{what} {fails} ({reason})") from None


def _gigabytes(size: int | float) -> str:
    return f"{size / 1e9:,.3g} GB"
