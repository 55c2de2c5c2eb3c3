"""How the file stores its weights: in fewer bytes, decoded by standard operators when a session loads it."""

from tinyml.export.storage.zeros import Nonzeros, leave_out_zeros

__all__ = ["Nonzeros", "leave_out_zeros"]
