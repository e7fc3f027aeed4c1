#!/bin/bash
# A cohort as an array of jobs, without dask: each task scores its share of the slides, and all write into one results
# folder. Copy, fill in, and submit it together with the job that sums up:
#
#   job=$(sbatch --parsable slurm-array.sh --slides /data/slides --out /data/results)
#   sbatch --dependency=afterany:$job --wrap "wsi-idc report /data/results"
#
# Interrupted or failed tasks: submit the same again; finished slides are kept. To submit task 3 alone, add
# --array=3 to sbatch's options and --shard auto/8, 8 being the number of all tasks, to those of this script.
#SBATCH --job-name=wsi-idc
#SBATCH --array=1-8
#SBATCH --cpus-per-task=4
#SBATCH --mem=8G
#SBATCH --time=02:00:00
# For one GPU a task: #SBATCH --gres=gpu:1
set -eu
# module load ...; source /path/to/.venv/bin/activate
exec wsi-idc score all --workers "${SLURM_CPUS_PER_TASK:-4}" --shard auto "$@"
