"""Pictures: each module collects its numbers and draws them; matplotlib is imported only to draw (extra `plot`).

`figure_kind` says what a figure of `crispsim figure` is, `registry` which there are: `metadata`, `speedup` and `energy`
(with `figure8_table` and `figure8_panels`, after the paper's figure 8), `stalls`, `roofline`, and, of a pruned network,
`sparsity` (after its figure 2). `run_speedup`, `run_energy` and `fine_tuning` are drawn by `crispsim report` only;
`run_rows` folds the rows of a run for all of its charts. `drawing` says how figures look. `timing` draws a trace.
"""
