import platform
import subprocess
import sys

import pytest

from vehicle_lightning.parallel import keep_freed_memory

COUNT_PAGE_FAULTS = """
import resource, sys
from vehicle_lightning.parallel import keep_freed_memory
if sys.argv[1] == "keep":
    assert keep_freed_memory()
import numpy as np
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(150):
    np.empty(40_000_000, dtype=np.uint8).fill(1)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def page_faults(mode: str) -> int:
    command = [sys.executable, "-c", COUNT_PAGE_FAULTS, mode]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has these settings")
def test_freed_memory_serves_again_without_page_faults() -> None:
    assert page_faults("keep") < 0.2 * page_faults("as it comes")


def test_elsewhere_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    assert not keep_freed_memory()
