"""Break it: three brokers, three workers, faults one after the other, and a judge of what is left.

    python -m tests.faults [--seed N] [--profile short|long] ...

`make faults` runs the short profile. `docs/reliability.md` says what is promised, and how to read
what this writes.
"""
