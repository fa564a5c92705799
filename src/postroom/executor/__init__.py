"""Runs jobs, the schedule and duties: in `up`, in `postroom executor`, or under Celery."""
