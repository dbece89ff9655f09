"""Which releases of vLLM are accepted; nothing here needs one."""

from __future__ import annotations

import pytest

from headway.core.errors import ConfigError
from headway.engines.vllm.versions import TESTED, check


@pytest.mark.parametrize("version", ["0.32", "0.32.0", "0.32.5", "0.32.1rc1", "0.32.0+cpu", "0.32.0.dev3+g12ab"])
def test_what_was_tested_is_accepted(version: str) -> None:
    check(version)


@pytest.mark.parametrize("version", ["0.31.9", "0.33", "0.33.0rc1", "1.0", "0.3.2", "0.320.0", "", "dev", "v0.32.0"])
def test_what_was_not_is_refused_in_one_sentence(version: str) -> None:
    with pytest.raises(ConfigError, match=r"^vllm: must be a release from .* got .*\. Install another.*\.$") as told:
        check(version)
    for word in (*TESTED, version):
        assert word in str(told.value)
    assert "\n" not in str(told.value)
