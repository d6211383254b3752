"""Runs on disk or in an object store: append, read, find.

One folder per run::

    results/20261122T101112Z-abc1234-9f3c/
        run.json                first written with "ended": null, replaced when the run is complete
        shards/000123.parquet   one per finished round, while the run lasts
        samples.parquet         all shards, at the end
        results.parquet         one row per case x implementation x contender x clock, at the end
        profiles/               the output of gapbench profile (see gapbench.store.profiles), at any time
    results/index.parquet       a cache of what identifies each complete run: see `gapbench.store.index`

No finished file is changed except run.json, which is written last. Any fsspec URL works as well as a path, and any
number of writers at once. Every file names its schema's version; a column that may be null is added without a new one.
"""
