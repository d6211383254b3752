#!/bin/bash
#SBATCH --job-name=gapbench
#SBATCH --array=1-8
#SBATCH --nodes=1 --exclusive
#SBATCH --gpus-per-node=1
#SBATCH --time=00:30:00
# One shard of a plan on each node of a SLURM array: submit it from a clone of your repository, in which gapbench is
# installed. --exclusive keeps other jobs away from what is being measured. On nodes without a GPU, remove
# --gpus-per-node.
set -euo pipefail

SHARDS=8 # as many as --array has, which may be fewer when some are measured again

exec gapbench run heads --budget 20m --shard "$SLURM_ARRAY_TASK_ID/$SHARDS" --store "shards-$SLURM_ARRAY_JOB_ID"
