"""Commands of lmd side by side: in processes with their share of the cores, or as jobs of a cluster.

`tasks` says what a task is. `running` decides which begins next, and keeps the deadline. `workers` are the
processes, each of which runs task after task, and `__main__` is what such a process does. `cluster` hands
tasks to submitit instead. `shares` says how many fit on this machine.
"""

from __future__ import annotations

from lmd.jobs.cluster import Cluster, check_executor
from lmd.jobs.deadline import Deadline, check_deadline
from lmd.jobs.running import run_tasks
from lmd.jobs.shares import AUTO, check_jobs, refuse_for_one, share_of_cores, told_of_gpu
from lmd.jobs.tasks import Done, Task
from lmd.jobs.workers import Pool

__all__ = [
    "AUTO",
    "Cluster",
    "Deadline",
    "Done",
    "Pool",
    "Task",
    "check_deadline",
    "check_executor",
    "check_jobs",
    "refuse_for_one",
    "run_tasks",
    "share_of_cores",
    "told_of_gpu",
]
