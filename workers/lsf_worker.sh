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

# Your site's own lines: how to get at the Python that has denoise_daisy.
# module load python/3.11
# source ~/denoise_daisy/.venv/bin/activate

set -eu
run_dir=${DENOISE_DAISY_RUN:?set DENOISE_DAISY_RUN to the run directory first}
exec python -m denoise_daisy.worker "$run_dir" \
    --task "${DENOISE_DAISY_TASK:-}" --ends-at "$(($(date +%s) + minutes * 60))"
