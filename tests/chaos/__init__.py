"""The chaos harness: the real order path under crashes, faults and lies, judged by what shares no code with it.

model.py     tier M: the protocol as an executable model
schedule.py  tier D: one seed → one run of the real gateway, journal and client against the simulator in process
kill.py      tier K: real processes and SIGKILL
checker.py   the judge: imports nothing from ibkit
bugs.py      protocol bugs put in on purpose; each must be caught

python -m tests.chaos --seed 17            one run again, told step by step
python -m tests.chaos --schedules 2000     many runs, and docs/chaos.md
"""
