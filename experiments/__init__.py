"""Scripts to read and copy, claims of papers, and benchmarks; not installed, they use rlx as a stranger would."""
