"""The forms in which a weight may lie in the file, each made of two choices: with or without zeros, values or indices.

    all elements    indices      x = table[digits]
    non-zeros       values       x = (0, values)[rank]
    non-zeros       indices      x = (table, 0)[(-1, digits)[rank]]      -1: the last entry of the table

`tinyml.export.storage.zeros` says what rank is, `codebooks` where tables come from, `digits` how indices are packed.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import numpy_helper

from tinyml.export.storage.codebooks import Codebook, find_codebook, find_range
from tinyml.export.storage.decoder import Decoder, Shared
from tinyml.export.storage.digits import store_digits
from tinyml.export.storage.zeros import ranks_of, store_nonzeros
from tinyml.graph.packed_weights import CODEBOOK_SUFFIX, INDICES_SUFFIX


def decoders(array: NDArray[Any], name: str, shared: Shared, *, half: bool) -> list[Decoder]:
    """Return a decoder for each form that a tensor of this name could have; those that gain nothing may be left out.

    Args:
        array: its values.
        name: which readers know it by.
        shared: constants of the graph.
        half: whether non-zeros of floats may be rounded to float16.
    """
    found: list[Decoder] = []
    if array.size == 0:
        return found
    flat, kept = array.reshape(-1), array.reshape(-1) != 0
    count = len(array) if array.ndim else 1
    channels = np.arange(flat.size) * count // flat.size
    if not kept.all():
        found.append(store_nonzeros(Decoder(shared), array, name, half=half))
        for book in (find_codebook(flat[kept], channels[kept], count, shared.opset), find_range(flat[kept])):
            found += [_indexed(Decoder(shared), array, book, name, kept)] if book else []
    for book in (find_codebook(flat, channels, count, shared.opset), find_range(flat)):
        found += [_indexed(Decoder(shared), array, book, name)] if book else []
    return found


def _indexed(
    decoder: Decoder, array: NDArray[Any], book: Codebook, name: str, kept: NDArray[np.bool_] | None = None
) -> Decoder:
    """Return the decoder that looks every element up, those that are not kept as zero."""
    groups, table = len(book.table), book.table
    rows = array.shape if groups == 1 else (groups, array.size // groups)
    if kept is None:
        indices = store_digits(decoder, book.indices.reshape(rows), book.base, f"{name}{INDICES_SUFFIX}")
    else:
        table = np.concatenate([table, np.zeros((groups, 1), table.dtype)], axis=1)
        digits = store_digits(decoder, book.indices, book.base, f"{name}{INDICES_SUFFIX}")
        digits = decoder.node("Concat", decoder.constant(np.array([-1])), digits, axis=0)
        indices = decoder.shaped(decoder.node("Gather", digits, ranks_of(decoder, kept, name)), rows)
    if groups == 1:
        decoder.node("Gather", _table(decoder, table[0], name), indices, output=name)
    else:
        found = decoder.node("GatherElements", _table(decoder, table, name), indices, axis=1)
        decoder.shaped(found, array.shape, output=name)
    return decoder


def _table(decoder: Decoder, table: NDArray[Any], name: str) -> str:
    """Return the name of a table: its own, or where it counts up and other weights may have the same, a shared one."""
    inner = table[:-1] if table.ndim == 1 and table[-1] == 0 else table
    if table.dtype.kind in "iu" and table.ndim == 1 and (np.diff(inner.astype(np.int64)) == 1).all():
        return decoder.constant(table)
    return decoder.store(numpy_helper.from_array(table, f"{name}{CODEBOOK_SUFFIX}"))
