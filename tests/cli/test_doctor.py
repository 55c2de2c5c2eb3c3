import json
import subprocess
import sys

from tinyml.cli import main
from tinyml.runtime.probe import probe_machine


def test_the_table_says_whether_int8_saturates_and_which_target_fits(capsys):
    assert main(["doctor"]) == 0
    shown = capsys.readouterr().out
    assert "int8 saturates" in shown
    assert "--target cpu is" in shown


def test_json_holds_the_probe(capsys):
    assert main(["doctor", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["int8_saturates"] == probe_machine().int8_saturates
    assert facts["cpu_target"] in ("x86-avx2", "x86-vnni", "arm64")
    assert facts["int8"]["exact"] == 255


def test_torch_is_not_imported():
    code = "import sys; from tinyml.cli import main; main(['doctor']); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0
