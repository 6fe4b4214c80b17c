"""Claims of papers, tried on tabular softmax policies, where entropies and success rates are exact.

`problems` has the tasks, `training` the one training loop, `verdicts` the statistics and the page
`docs/claims.md`; the other modules hold claims, each a function in a table `CLAIMS`.
"""
