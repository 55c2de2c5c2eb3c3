"""How the file stores its weights: in fewer bytes, decoded by standard operators when a session loads it."""

from tinyml.export.storage.choice import Nonzeros, pack_weights

__all__ = ["Nonzeros", "pack_weights"]
