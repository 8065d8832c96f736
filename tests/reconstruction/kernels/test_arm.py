"""The compiled loops become ARM's vector instructions: what can be told without such a processor."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import re
import numpy as np
import llvmlite.binding as llvm
from concertino.reconstruction import ReconstructionSettings, Reconstructor
from concertino.reconstruction.kernels import _pixel_backprojection, _spread, _voxel_backprojection

stack = np.ones((8, 4, 16), np.float32)
for how in ({}, {"axis_angle_x": 0.2}):
    settings = ReconstructionSettings(center=7.5, threads=1, **how)
    job = Reconstructor(settings, num_projections=8, frame_shape=(4, 16))
    job.add_projections(stack, 0)
    if not how:
        job.planes()
    job.finish()

llvm.initialize_all_targets()
llvm.initialize_all_asmprinters()
machine = llvm.Target.from_triple("aarch64-unknown-linux-gnu").create_target_machine(
    cpu="neoverse-n1", opt=3, reloc="pic", codemodel="small"
)
for kernel in (_spread.spread, _pixel_backprojection.accumulate, _voxel_backprojection.trace):
    for signature in kernel.signatures:
        code = kernel.inspect_llvm(signature)
        # numba's own count of references is no part of the loops
        code = code.replace("@llvm.x86.atomic.sub.cc.i64", "@count_down")
        code = re.sub("^(declare .*@count_down.*)$", lambda d: d[1].replace("immarg", ""), code, flags=re.M)
        assert "llvm.x86" not in code, set(re.findall("llvm[.]x86[^(]*", code))
        code = re.sub('^target datalayout.*$', f'target datalayout = "{machine.target_data}"', code, flags=re.M)
        code = re.sub('^target triple.*$', 'target triple = "aarch64-unknown-linux-gnu"', code, flags=re.M)
        code = re.sub('"target-(cpu|features)"="[^"]*"', '', code)
        module = llvm.parse_assembly(code)
        module.verify()
        text = machine.emit_assembly(module)
        vectors = len(re.findall(r"\\sfmla\\s+v\\d+\\.4s", text))
        print(kernel.__name__, vectors)
        assert vectors >= 4, (kernel, vectors)
"""


@pytest.mark.slow
def test_the_loops_become_neon(tmp_path: Path) -> None:
    """From the same LLVM code: four floats at a time, multiplied and added at once."""
    environment = os.environ | {
        "NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": "", "NUMBA_CACHE_DIR": str(tmp_path),
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert {line.split()[0] for line in done.stdout.splitlines()} == {
        "spread", "accumulate", "trace",
    }  # fmt: skip
