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
#SBATCH --output=/dev/null

# Slurm tells the worker a minute before its time is up; it then takes no more blocks.
#SBATCH --signal=B:USR1@60
#SBATCH --no-requeue

# The log is logs/manual-JOB.log in the run directory, readable by its owner only: Daisy names
# in it what lets a client in.
worker_job=${SLURM_ARRAY_JOB_ID:+${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID}
worker_job=${worker_job:-$SLURM_JOB_ID}
log=${1-}/logs/manual-$worker_job.log
if ! (umask 077; : >>"$log"); then
    echo "Can't write $log. Expected: sbatch workers/slurm_worker.sh RUN_DIR [--task NAME]," \
        "where RUN_DIR is that of a run that is going on." |
        tee "denoise-worker-$worker_job.err" >&2
    exit 2
fi
exec >>"$log" 2>&1

# Your site's own lines: how to get at the Python that has denoise_daisy.
# module load python/3.11
# source ~/denoise_daisy/.venv/bin/activate

set -eu
# When this job's time is up: then the worker takes only blocks that it can finish.
end=$(squeue -h -j "$worker_job" -o %e || true)
ends_at=$([ -z "$end" ] || date -d "$end" +%s || true)

exec python -m denoise_daisy.worker "$@" --ends-at "${ends_at:-0}"
