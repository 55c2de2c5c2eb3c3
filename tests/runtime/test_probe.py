import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
from onnx.reference import ReferenceEvaluator

from tinyml.runtime import probe
from tinyml.runtime.cpu import Cpu, parse_cpuinfo, read_cpu
from tinyml.runtime.probe import Int8Probe, Machine, int8_meaning, probe_int8, probe_machine, probe_network


def test_the_probes_exact_result_is_what_the_reference_computes():
    x = np.ones((1, 64, 8, 8), np.float32)
    (output,) = ReferenceEvaluator(probe_network()).run(None, {"input": x})
    np.testing.assert_array_equal(np.rint(output * 255), 255)


def test_float_arithmetic_and_the_precise_kernel_are_exact_on_every_cpu():
    result = probe_int8()
    assert (result.exact, result.unoptimized, result.x64_quant_precision) == (255, 255, 255)


@pytest.mark.parametrize(("optimized", "saturates"), [(255, False), (254, False), (129, True)])
def test_more_than_a_rounding_step_is_saturation(optimized, saturates):
    result = Int8Probe(exact=255, optimized=optimized, unoptimized=255, x64_quant_precision=255)
    assert result.saturates == saturates


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("qemu-x86_64"), reason="qemu-user is not installed")
def test_an_emulated_cpu_without_vnni_saturates():
    code = "from tinyml.runtime.probe import probe_int8; print(probe_int8().optimized)"
    command = ["qemu-x86_64", "-cpu", "Haswell", sys.executable, "-c", code]
    run = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    assert int(run.stdout) == 129  # 32,767 of 2 x 255 x 127, in steps of 255


def test_the_machine_is_json_and_probed_once():
    assert json.loads(json.dumps(probe_machine().to_json()))["int8"]["exact"] == 255
    assert probe_machine() is probe_machine()


def machine(architecture, saturates):
    cpu = Cpu(name="c", architecture=architecture, instructions=(), instructions_known=False, cores=1)
    int8 = Int8Probe(exact=255, optimized=129 if saturates else 255, unoptimized=255, x64_quant_precision=255)
    return Machine(cpu=cpu, system="s", python="3", packages={}, providers=(), int8=int8, int8_saturates=saturates)


@pytest.mark.parametrize(
    ("architecture", "saturates", "words"),
    [("x86_64", True, "7-bit weights are safe"), ("x86_64", False, "without VNNI"), ("aarch64", False, "safe here.")],
    ids=["saturating x86", "exact x86", "arm"],
)
def test_the_meaning_is_told_in_words(architecture, saturates, words):
    assert words in int8_meaning(machine(architecture, saturates))


def test_packages_that_are_not_installed_are_left_out(monkeypatch):
    monkeypatch.setattr(probe, "_PACKAGES", ("numpy", "no-such-package"))
    assert probe.installed_packages() == {"numpy": np.__version__}


@pytest.mark.parametrize(
    ("text", "instructions"),
    [
        ("processor\t: 0\nmodel name\t: X\nflags\t\t: fpu avx2 avx_vnni\n", ("AVX2", "AVX-VNNI")),
        ("processor\t: 0\nFeatures\t: fp asimd asimddp i8mm\n", ("NEON", "NEON dot product", "NEON int8 matrix multiply")),
    ],
    ids=["x86", "arm"],
)  # fmt: skip
def test_instructions_are_read(tmp_path, text, instructions):
    (tmp_path / "cpuinfo").write_text(text)
    cpu = read_cpu(tmp_path / "cpuinfo")
    assert (cpu.instructions, cpu.instructions_known) == (instructions, True)


def test_a_system_that_does_not_say_is_unknown(tmp_path):
    cpu = read_cpu(tmp_path / "none")
    assert (cpu.instructions, cpu.instructions_known) == ((), False)
    assert cpu.cores >= 1


def test_the_first_processor_speaks_for_all():
    assert parse_cpuinfo("model name : A\nflags : x\n\nmodel name : B\n") == {"model name": "A", "flags": "x"}
