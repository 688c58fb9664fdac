#!/bin/bash
# One more worker for a run that is going on, as a job of Slurm:
#
#   sbatch workers/slurm_worker.sh /path/to/embryo_denoised.zarr.run
#
# Send it as often as you like; `sbatch --array=1-20 ...` sends twenty. The run may be one
# whose own workers.count is 0. A worker leaves when there is nothing to do, and does no
# harm where the run is over.

# What one worker may take. Memory: what `denoise-daisy plan` says, and a little more.
#SBATCH --job-name=denoise-worker
#SBATCH --ntasks=1
#SBATCH --cpus-per-task=1
#SBATCH --mem=4G
#SBATCH --time=8:00:00

# Slurm tells the worker a minute before its time is up; it then takes no more blocks.
#SBATCH --signal=B:USR1@60
#SBATCH --no-requeue

# Your site's own lines: how to get at the Python that has denoise_daisy.
# module load python/3.11
# source ~/denoise_daisy/.venv/bin/activate

set -eu
run_dir=${1:?usage: sbatch workers/slurm_worker.sh RUN_DIR [--task NAME]}
shift

# When this job's time is up: then the worker takes only blocks that it can finish.
job=${SLURM_ARRAY_JOB_ID:+${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID}
end=$(squeue -h -j "${job:-$SLURM_JOB_ID}" -o %e || true)
ends_at=$([ -z "$end" ] || date -d "$end" +%s || true)

exec python -m denoise_daisy.worker "$run_dir" --ends-at "${ends_at:-0}" "$@"
