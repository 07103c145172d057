"""`python -m worker.spec > docs/spec.md` writes the reference page anew."""

from worker.spec.reference import reference

if __name__ == "__main__":
    print(reference(), end="")  # noqa: T201 - this is the output
