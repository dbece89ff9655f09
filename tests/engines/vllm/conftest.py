"""vLLM is imported here once, where what it warns of is nobody's business."""

from __future__ import annotations

import os
import warnings
from importlib.util import find_spec

collect_ignore: list[str] = []

if find_spec("vllm") is None:
    collect_ignore += ["rig.py", "model.py"]  # no tests, and pytest would look for examples in them
else:
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
    os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import vllm.engine.arg_utils
        import vllm.v1.core.sched.async_scheduler
        import vllm.v1.engine.core  # noqa: F401
