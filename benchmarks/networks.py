"""Networks named on a benchmark's command line: NAME=MODEL,CHECKPOINT,CARD."""

import argparse
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Network:
    """A trained network with its data: `card` is a data card or 'digits'."""

    name: str
    model: str
    checkpoint: Path
    card: str


def parse_network(text: str) -> Network:
    """Return the network that NAME=MODEL,CHECKPOINT,CARD names; for argparse's `type`."""
    name, _, rest = text.partition("=")
    parts = rest.split(",")
    if len(parts) != 3:
        raise argparse.ArgumentTypeError(f"{text!r}: write NAME=MODEL,CHECKPOINT,CARD")
    return Network(name=name, model=parts[0], checkpoint=Path(parts[1]), card=parts[2])
