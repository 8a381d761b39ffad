"""What `import ibkit` gives, and what it costs."""

from __future__ import annotations

import subprocess
import sys
import typing

import pytest

import ibkit


def test_the_public_names_are_sorted_and_all_of_them_exist() -> None:
    assert ibkit.__all__ == sorted(ibkit.__all__)
    assert set(ibkit.__all__) == set(ibkit._HOME)
    for name in ibkit.__all__:
        assert getattr(ibkit, name) is not None
    assert set(ibkit.__all__) <= set(dir(ibkit))


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        typing.cast("typing.Any", ibkit).nothing  # noqa: B018


def test_importing_loads_no_library_and_reads_no_environment() -> None:
    """Import cost is a feature: at most 150 ms, so nothing but ibkit itself may be loaded."""
    code = (
        "import sys; before = set(sys.modules); import ibkit;"
        "new = set(sys.modules) - before;"
        "print(*sorted(m for m in new if m.split('.')[0] not in sys.stdlib_module_names))"
    )
    said = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.split() == ["ibkit"]
