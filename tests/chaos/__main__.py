"""python -m tests.chaos: one seed told step by step, or many runs and the report."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))


def main() -> int:
    from chaos import campaign

    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seed", type=int, help="replay this schedule and tell its trace")
    parser.add_argument("--stream-seed", type=int, help="the same for a run of the stream")
    parser.add_argument("--shrink", action="store_true", help="with --seed: the fewest misfortunes with which it fails")
    parser.add_argument("--hashes", type=int, default=0, help="print the trace hash of so many schedules")
    parser.add_argument("--mode", default="", help="a kind of schedule instead of the seed's own")
    parser.add_argument("--schedules", type=int, default=300)
    parser.add_argument("--first", type=int, default=0, help="first seed")
    parser.add_argument("--fresh", type=int, default=0, help="further schedules, of seeds from --fresh-first on")
    parser.add_argument("--fresh-first", type=int, default=0)
    parser.add_argument("--models", type=int, default=20_000)
    parser.add_argument("--kills", type=int, default=0)
    parser.add_argument("--service-kills", type=int, default=0, help="`ibkit serve` killed so often under load, alone")
    parser.add_argument("--bug", default="", help="with --service-kills: a planted mistake, `forgetful`")
    parser.add_argument("--streams", type=int, default=0, help="schedules of the stream")
    parser.add_argument("--bugs", type=int, default=0, help="schedules to try for each planted bug")
    parser.add_argument("--complete", action="store_true", help="fail where a fault or a step was met too seldom")
    parser.add_argument("--known", type=int, default=1, help="0: leave out the seeds that failed once")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--report", type=Path, help="write the report here (docs/chaos.md)")
    parser.add_argument("--kept", type=Path, help="keep here what is done of a long run, and go on with it")
    given = parser.parse_args()
    if given.seed is not None:
        return (campaign.shrunk if given.shrink else campaign.replay)(given.seed, given.mode)
    if given.stream_seed is not None:
        return campaign.replay_stream(given.stream_seed)
    if given.hashes:
        campaign.hashes(given.first, given.hashes)
        return 0
    if given.service_kills:
        from chaos import service_kills

        return service_kills.told(given.service_kills, given.first, given.bug)
    return campaign.campaign(
        seeds=[
            *range(given.first, given.first + given.schedules),
            *range(given.fresh_first, given.fresh_first + given.fresh),
        ],
        models=given.models,
        kills=given.kills,
        streams=range(given.first, given.first + given.streams),
        bugs=given.bugs,
        jobs=given.jobs,
        known=bool(given.known),
        complete=given.complete,
        report=given.report,
        kept=given.kept,
    )


if __name__ == "__main__":
    sys.exit(main())
