#!/bin/bash
# One more worker for a run that is going on, as a job of LSF:
#
#   export DENOISE_DAISY_RUN=/path/to/embryo_denoised.zarr.run
#   bsub < workers/lsf_worker.sh
#
# For a task that has workers of its own, also: export DENOISE_DAISY_TASK=NAME
#
# Send it as often as you like; `bsub -J "denoise-worker[1-20]" < ...` sends twenty. The
# run may be one whose own workers.count is 0. A worker leaves when there is nothing to do,
# and does no harm where the run is over.

# What one worker may take. Memory: what `denoise-daisy plan` says, and a little more.
#BSUB -J denoise-worker
#BSUB -n 1
#BSUB -R "span[hosts=1] rusage[mem=4096MB]"
#BSUB -M 4096MB
#BSUB -o /dev/null

# The time limit, for LSF (hours:minutes) and for the worker (minutes): keep them equal.
#BSUB -W 8:00
minutes=480

# The log is logs/manual-JOB.log in the run directory, readable by its owner only: Daisy names
# in it what lets a client in.
worker_job=${LSB_JOBID}_$LSB_JOBINDEX
log=${DENOISE_DAISY_RUN-}/logs/manual-$worker_job.log
if ! (umask 077; : >>"$log"); then
    echo "Can't write $log. Expected DENOISE_DAISY_RUN to be the run directory of a run that" \
        "is going on." | tee "denoise-worker-$worker_job.err" >&2
    exit 2
fi
exec >>"$log" 2>&1

# Your site's own lines: how to get at the Python that has denoise_daisy.
# module load python/3.11
# source ~/denoise_daisy/.venv/bin/activate

set -eu
exec python -m denoise_daisy.worker "$DENOISE_DAISY_RUN" \
    --task "${DENOISE_DAISY_TASK:-}" --ends-at "$(($(date +%s) + minutes * 60))"
