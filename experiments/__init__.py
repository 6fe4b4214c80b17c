"""Experiments: wiring of environments, learners and loops into runs; the console command ``rlx``."""
