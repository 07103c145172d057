"""A deterministic simulator: a spec's pipelines under drawn schedules of what goes wrong."""
