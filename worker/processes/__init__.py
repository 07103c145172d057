"""Several processes of one worker: the supervisor's side, and that of each process."""
