"""A worker of a denoise_daisy run, as a cluster job starts it.

python workers/block_worker.py RUN_DIR [--task NAME]
"""

from denoise_daisy.worker.process import run

run()
