"""`python -m worker.spec > docs/spec.md`."""

from worker.spec.schema import reference

if __name__ == "__main__":
    print(reference(), end="")  # noqa: T201 - this is the output
