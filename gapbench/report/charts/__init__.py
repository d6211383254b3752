"""Charts: one module each, a data frame in and a plotly figure out; `gapbench.report.views` says where they stand."""
