"""The harness of `benchmarks/engine.py`: the course, the contenders and the scoreboard."""
