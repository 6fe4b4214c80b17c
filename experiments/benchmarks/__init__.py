"""Benchmarks: each module measures one claim about speed, prints a table and writes its numbers as JSON."""
