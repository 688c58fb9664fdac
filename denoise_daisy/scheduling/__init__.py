"""The scheduler's side of a run: Daisy's server, pools of workers, states of stages."""
