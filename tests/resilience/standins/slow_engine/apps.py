"""Puts short stages in the place of curation and of the engine, in processes that the tests start."""

import json
import os
import time
from datetime import timedelta
from pathlib import Path

from django.apps import AppConfig

NAMES = (
    "refined.cif.gz",
    "residues.parquet",
    "boxed_map.ccp4.gz",
    "changes.json",
    "curves.json",
    "log.jsonl",
    "log.txt",
    "model_initial.cif.gz",
)


class SlowEngineConfig(AppConfig):
    """Replaces the stages when Django starts."""

    name = "slow_engine"

    def ready(self):
        from ceres.models import Stage
        from ceres.pipeline import schedule, stages

        stages.STAGES[Stage.FETCH] = fetch
        stages.STAGES[Stage.CURATE] = curate
        stages.STAGES[Stage.REFINE] = refine
        stages.STAGES[Stage.VALIDATE] = validate
        schedule.LOST_AFTER = timedelta(seconds=1)


def fetch(work):
    from ceres.models import Stage
    from ceres.pipeline.outcome import Outcome

    return Outcome(stage=Stage.CURATE)


def curate(work):
    from ceres.models import Stage
    from ceres.pipeline.outcome import Outcome

    return Outcome(stage=Stage.REFINE, entry={"resolution": 3.0})


def refine(work):
    """Hang the first time if there is a file `hang`, so that the test can kill the process in the middle."""
    from ceres.models import METRIC_KEYS, Stage
    from ceres.pipeline.outcome import Outcome

    var = Path(os.environ["CERES_VAR"])
    with (var / "refined.log").open("a") as log:
        log.write(f"{work.job.entry.key} {os.getpid()}\n")
    try:
        (var / "hang").rename(var / "hanging")
    except FileNotFoundError:
        pass
    else:
        (var / "hanging").write_text(str(os.getpid()))
        time.sleep(600)
    output = work.folder / "output"
    output.mkdir(exist_ok=True)
    for name in NAMES:
        (output / name).write_text(name)
    values = dict.fromkeys(METRIC_KEYS, 1.0)
    (output / "table_one.json").write_text(json.dumps({"initial": values, "refined": values, "reasons": {}}))
    return Outcome(stage=Stage.VALIDATE)


def validate(work):
    from ceres.models import Stage
    from ceres.pipeline import publish
    from ceres.pipeline.outcome import Outcome

    publish.write_manifest(work.folder / "output")
    return Outcome(stage=Stage.PUBLISH)
