"""``python -m denoise_daisy.worker RUN_DIR``: one worker process."""

from denoise_daisy.worker.process import run

if __name__ == "__main__":
    run()
