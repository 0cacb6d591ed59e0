"""A guard against an endless loop of libhdf5: global heaps, where texts of variable length lie, carry no checksum.

libhdf5 (2.0.0, and 1.14 alike) walks through the objects of a heap by their sizes. A damaged object that takes no room
makes it stand still for ever, so such heaps are looked for before any text is read.
Source: HDF5 file format 3.0, section III.E; H5HGcache.c `H5HG__cache_heap_deserialize`.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterable, Iterator

import h5py

from mpibridge.errors import MDFError

SIGNATURE = b"GCOL"
OBJECT = struct.Struct("<HHIQ")
"""Index, references, reserved, size; the data follow, padded to 8 bytes. Index 0 is free space, its size all-inclusive."""


def refuse_endless_heaps(file: h5py.File, items: Iterable[h5py.Dataset | h5py.Group]) -> None:
    """Raise MDFError if a global heap of ``file`` would hang libhdf5.

    items: the objects of the file; the numbers of their datasets are passed over, not read.
    """
    with open(file.filename, "rb") as raw, mmap.mmap(raw.fileno(), 0, access=mmap.ACCESS_READ) as content:
        start = 0
        for first, last in [*sorted(_numbers(items)), (len(content), len(content))]:
            at = content.find(SIGNATURE, start, first)
            while at >= 0:
                if _stands_still(content, at):
                    found = f"has a damaged text heap at byte {at}"
                    raise MDFError(file.filename, None, found, "the file is damaged; take it from a backup")
                at = content.find(SIGNATURE, at + len(SIGNATURE), first)
            start = max(start, last)


def _numbers(items: Iterable[h5py.Dataset | h5py.Group]) -> Iterator[tuple[int, int]]:
    """First and last byte of the stored values of every dataset."""
    for item in items:
        if not isinstance(item, h5py.Dataset):
            continue
        if (offset := item.id.get_offset()) is not None:
            yield offset, offset + item.id.get_storage_size()
        elif item.chunks is not None:
            chunks: list[tuple[int, int]] = []
            item.id.chunk_iter(
                lambda chunk, to=chunks: to.append((chunk.byte_offset, chunk.byte_offset + chunk.size))
            )
            yield from chunks


def _stands_still(content: mmap.mmap, at: int) -> bool:
    if len(content) < at + 16:
        return False
    end = min(at + int.from_bytes(content[at + 8 : at + 16], "little"), len(content))
    at += 16
    while at + OBJECT.size <= end:
        index, _, _, size = OBJECT.unpack_from(content, at)
        room = (OBJECT.size + ((size + 7) & ~7)) % 2**64 if index else size
        if room == 0:
            return True
        at += room
    return False
