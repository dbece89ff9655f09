"""Headway's policies inside vLLM: a scheduler that vLLM loads, and that lets a session decide.

Only `headway.engines.vllm.scheduler` imports vLLM and touches what is internal to it; vLLM is told its name by
``--scheduler-cls headway.engines.vllm.scheduler.HeadwayScheduler``. Everything else here knows nothing of vLLM: a
`Host` keeps the books of one vLLM engine, asks the policy, and says what the next step is to compute.
"""
