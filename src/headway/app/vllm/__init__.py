"""vLLM as the engine behind `headway serve`: its command line, its process, and our door to its API.

`headway.app.vllm.door.Door` is what vLLM is told by ``--middleware``: it takes what a request asks of the scheduler out
of its body and headers, and makes an answer of what the policy turned away. `command` turns our settings into vLLM's
flags, and `launch` runs vLLM with them.
"""
