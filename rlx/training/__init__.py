"""Compiled training: pure loops, evaluation, sweeps, sharding, checkpoints, run folders."""
