"""Draw charts, one module each: a data frame in, a plotly figure out; `gapbench.report.views` lists them."""
