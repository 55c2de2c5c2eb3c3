"""`tinyml doctor`: what this machine has, and whether its int8 saturates."""

from tinyml.cli import options


@options.verb("tinyml doctor\ntinyml doctor --json")
@options.as_json
def command(as_json: bool) -> None:
    """Show what this machine has; probe whether its int8 saturates, and say which target fits."""
    from tinyml.cli.console import print_json, print_table
    from tinyml.runtime.probe import int8_meaning, probe_machine
    from tinyml.target import cpu_target

    machine = probe_machine()
    target = cpu_target(machine.cpu.architecture, saturates=machine.int8_saturates)
    meaning = int8_meaning(machine)
    if as_json:
        print_json({**machine.to_json(), "int8_meaning": meaning, "cpu_target": target})
        return
    cpu, int8 = machine.cpu, machine.int8
    gpu = [name for name in machine.providers if name.startswith(("CUDA", "Tensorrt"))]
    rows = [
        ("processor", f"{cpu.name} ({cpu.architecture})"),
        ("cores to use", str(cpu.cores)),
        ("instructions", ", ".join(cpu.instructions) or ("none of note" if cpu.instructions_known else "unknown")),
        ("system", f"{machine.system}, Python {machine.python}"),
        ("packages", ", ".join(f"{name} {version}" for name, version in machine.packages.items())),
        ("onnxruntime has", ", ".join(machine.providers)),
        ("GPU", ", ".join(gpu) or "none for onnxruntime (pip install onnxruntime-gpu on a machine with CUDA)"),
        ("int8 saturates", "yes" if machine.int8_saturates else "no"),
        (
            "int8 probe",
            f"exact {int8.exact}; default session {int8.optimized}, unoptimised {int8.unoptimized}, "
            f"x64quantprecision {int8.x64_quant_precision}",
        ),
        ("which means", meaning),
        ("--target cpu is", target),
    ]
    print_table(["what", "here"], rows)
