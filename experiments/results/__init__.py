"""Measurements as pages: `docs/results`, written from the records of `experiments/benchmarks` and of this folder.

`pages.py` has the table of pages: what was asked, the command that repeats it, and what the numbers say. `tables.py`
makes tables of records of speed and `outcomes.py` of what policies reach; `markdown.py` knows the form of a page.
"""
