"""How `tinyml.export.storage` names what it stores of a weight: tensors called after it, with these suffixes."""

from typing import Final

MASK_SUFFIX: Final = "_mask"
"""One bit an element, eight in a byte: where it is not zero."""
NONZEROS_SUFFIX: Final = "_nonzeros"
"""A zero, then the elements whose bit is set."""
INDICES_SUFFIX: Final = "_indices"
"""Digits: which entry of its table each element is, or each element whose bit is set."""
CODEBOOK_SUFFIX: Final = "_codebook"
"""The table of the indices: (values,), or (groups, values); behind a mask with a zero at its end. Where there is none,
the indices count from the lowest integer on."""
SUFFIXES: Final = (MASK_SUFFIX, NONZEROS_SUFFIX, INDICES_SUFFIX, CODEBOOK_SUFFIX)
