"""What the training process asks of the machine it runs on."""

import pytest

from lawam_ros.training.process_setup import cpu_multiplies_bfloat16


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("flags\t\t: fpu avx2 avx512f avx512_bf16 amx_tile", True),
        ("flags\t\t: fpu avx512f amx_bf16", True),
        ("Features\t: fp asimd i8mm bf16", True),
        ("flags\t\t: fpu avx avx2 fma", False),
        ("vmx flags\t: avx512_bf16", False),
        ("model name\t: bf16", False),
    ],
)
def test_whether_the_cpu_knows_bfloat16_is_read_from_what_the_kernel_says(tmp_path, line, expected):
    file = tmp_path / "cpuinfo"
    file.write_text(f"processor\t: 0\n{line}\nbugs\t\t: none\n")
    assert cpu_multiplies_bfloat16(file) is expected


def test_a_system_that_does_not_say_computes_in_float32(tmp_path):
    assert cpu_multiplies_bfloat16(tmp_path / "nothing") is False
