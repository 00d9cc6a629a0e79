# SPDX-License-Identifier: MIT
"""What tests/bench/run is made of: figures and table, the peer's command lines, and a module a group of benchmarks."""
