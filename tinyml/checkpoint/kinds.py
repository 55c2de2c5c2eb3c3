"""What a file is by its first bytes, whatever its name says."""

from typing import Final

PICKLE_PROTOCOLS: Final = tuple(bytes([0x80, protocol]) for protocol in range(2, 6))

# (how the file begins, what it is and what to do about it)
_NOT_CHECKPOINTS: Final = (
    (b"version https://git-lfs", "a git-LFS pointer: the weights are missing. Run 'git lfs pull' in its repository"),
    (b"\x1f\x8b", "gzip-compressed. Unpack it first, with gunzip or tar -xzf"),
    (b"\xfd7zXZ", "xz-compressed. Unpack it first, with unxz or tar -xJf"),
    (b"BZh", "bzip2-compressed. Unpack it first, with bunzip2 or tar -xjf"),
    (b"\x28\xb5\x2f\xfd", "zstd-compressed. Unpack it first, with unzstd"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive. Unpack it first"),
    (b"Rar!", "a RAR archive. Unpack it first"),
    (b"PK\x05\x06", "an empty zip archive"),
    (b"\x89HDF", "an HDF5 file (Keras?). tinyml reads checkpoints of torch"),
    (b"GGUF", "a GGUF file. tinyml reads checkpoints of torch"),
    (b"\x93NUMPY", "a numpy array. tinyml reads checkpoints of torch"),
    (b"%PDF", "a PDF document. Download the checkpoint again"),
    (b"\x89PNG", "a picture"),
    (b"\xff\xd8\xff", "a picture"),
    (b"{", "JSON text, not weights. Name the file with the weights"),
)
_MARKUP: Final = (b"<!doctype", b"<html", b"<head", b"<body", b"<?xml", b"<!--")


def explain_other_kind(head: bytes) -> str:
    """Return what a file is that is no checkpoint ("it is ..."), or "" where its first 512 bytes say nothing.

    Args:
        head: The first 512 bytes of the file, or all of it.
    """
    stripped = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if stripped.startswith(_MARKUP):
        return "it is a web page, not a checkpoint: the download went wrong. Use the link to the raw file"
    for beginning, meaning in _NOT_CHECKPOINTS:
        if head.startswith(beginning):
            return f"it is {meaning}"
    if head[257:262] == b"ustar":
        return "it is a tar archive (or a checkpoint of torch before 0.2). Unpack it first, with tar -xf"
    return ""


def looks_like_safetensors(head: bytes, size_bytes: int) -> bool:
    """Return whether a file begins with a header length that fits and an opening brace."""
    length = int.from_bytes(head[:8], "little")
    return head[8:9] == b"{" and 2 <= length <= max(size_bytes, 100_000_000)
