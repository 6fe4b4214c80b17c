"""Benchmarks: each module measures one claim about speed or returns, prints a table and writes its numbers as JSON."""
