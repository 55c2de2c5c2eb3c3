"""Plain values to YAML text: the same values give the same bytes."""

from collections.abc import Mapping
from io import StringIO

from ruamel.yaml import YAML

from tinyml.yaml_syntax import JSON


def dump_yaml(values: Mapping[str, JSON]) -> str:
    """Return the mapping as block-style YAML 1.2, keys in their order, long lines unbroken."""
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]  # declared as None, meant as a switch
    yaml.width = 1_000_000
    yaml.indent(mapping=2, sequence=4, offset=2)
    stream = StringIO()
    yaml.dump(dict(values), stream)
    return stream.getvalue()
