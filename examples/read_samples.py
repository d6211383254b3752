"""The samples of all runs in a store, with pandas alone: the median time of each implementation on each case."""

import sys
from pathlib import Path

import pandas as pd

samples = pd.concat(map(pd.read_parquet, Path(sys.argv[1]).glob("*/samples.parquet")))
medians = samples.groupby(["case", "implementation", "clock"])["seconds_per_call"].median()
print(medians.sort_values().to_string())
