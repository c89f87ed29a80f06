"""The `scoreinv` command."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Annotated

import torch
import typer
import yaml
from tqdm import tqdm

from scoreinv.samplers import Diverged

app = typer.Typer(
    help="Diffusion-prior solvers for medical image reconstruction. Research use, not a medical device.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Config = Annotated[Path, typer.Argument(help="YAML file")]
Out = Annotated[Path | None, typer.Option(help="folder for the results")]
Set = Annotated[list[str] | None, typer.Option("--set", help="key.path=value, any number of times")]


log = logging.getLogger("scoreinv")


@app.callback()
def options(debug: Annotated[bool, typer.Option("--debug", help="show where an error comes from")] = False) -> None:
    log.setLevel(logging.DEBUG if debug else logging.NOTSET)


@app.command()
def demo(
    modality: Annotated[str, typer.Argument(help="cbct, mri or pet")] = "cbct", out: Out = None, set: Set = None
) -> None:
    """Reconstruct a phantom from a simulated scan by its modality's standard methods and a diffusion prior."""
    from scoreinv.config import DEMOS, RUNS, resolve
    from scoreinv.run import run

    if modality not in DEMOS:
        raise ValueError(f"demo: no modality {modality!r}; expected one of {sorted(DEMOS)}")
    folder = out or Path("out/demo" if modality == "cbct" else f"out/demo-{modality}")
    for tree in DEMOS[modality]:
        settings = resolve(RUNS[modality], tree, set or [], "demo")
        run(settings, _folder(folder if len(DEMOS[modality]) == 1 else folder / settings.name))


@app.command(name="run")
def run_command(config: Config, out: Out = None, set: Set = None) -> None:
    """Reconstruct what a configuration describes."""
    from scoreinv.config import load_run
    from scoreinv.run import run

    settings = load_run(config, set or [])
    run(settings, _folder(out or Path("out") / settings.name))


@app.command(name="batch")
def batch_command(
    config: Config,
    out: Out = None,
    set: Set = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="what would run, its seconds and memory")] = False,
    shard: Annotated[str | None, typer.Option(help="i/n: every n-th case from the i-th, counted from 0")] = None,
) -> None:
    """Reconstruct many cases; run again to continue. Status 1 if a case failed."""
    from scoreinv.batch import Share, batch, finished
    from scoreinv.batch.forecast import forecast, table
    from scoreinv.config import load_batch

    settings, cases = load_batch(config, set or [])
    folder = _folder(out or Path("out") / settings.name)
    share = Share() if shard is None else Share.parse(shard)
    if dry_run:
        own = share.take(cases)
        left = [case for case in own if not finished(case, folder, settings.outputs)]
        forecasts = forecast(tqdm(left, desc="dry run", unit="case", leave=False))
        typer.echo(table(forecasts))
        total = sum(sum(each.seconds.values()) for each in forecasts)
        done = f", beside {len(own) - len(forecasts)} finished ones" if len(own) > len(forecasts) else ""
        typer.echo(f"{len(forecasts)} cases into {folder}{done}: {total:.0f} s by one process; nothing was written.")
        failed = any(each.reason for each in forecasts)
    else:
        failed = any(outcome.status != "complete" for outcome in batch(settings, cases, folder, share))
    if failed:
        raise typer.Exit(1)


@app.command(name="sample")
def sample_command(config: Config, out: Out = None, set: Set = None) -> None:
    """Draw samples of one scan and write what they say, as maps and numbers; run again to continue or to add some."""
    from scoreinv.config import load_sample
    from scoreinv.sample import sample

    settings, run = load_sample(config, set or [])
    sample(settings, run, _folder(out or Path("out") / settings.name), say=typer.echo)


@app.command()
def calibrate(config: Config, out: Out = None, set: Set = None) -> None:
    """Learn how wide intervals of a method must be, and test it on cases held out; run again to continue."""
    from scoreinv.calibrate import calibrate as learn
    from scoreinv.config import load_calibration

    settings, runs = load_calibration(config, set or [])
    learn(settings, runs, _folder(out or Path("out") / settings.name), typer.echo)


@app.command(name="lesion")
def lesion_command(config: Config, out: Out = None, set: Set = None) -> None:
    """Scan patients with a lesion and without: how often is it found, how often invented? Run again to continue."""
    from scoreinv.config import load_lesion
    from scoreinv.lesion import lesion

    settings, runs = load_lesion(config, set or [])
    lesion(settings, runs, _folder(out or Path("out") / settings.name), typer.echo)


@app.command()
def train(config: Config, out: Out = None, set: Set = None) -> None:
    """Train a network, a prior or a baseline, as the configuration names it; run again to continue."""
    from scoreinv.config import load_training
    from scoreinv.training import LearnedSettings, train_network
    from scoreinv.training import train as train_prior

    settings = load_training(config, set or [])
    folder = _folder(out or Path("runs") / settings.name)
    if isinstance(settings, LearnedSettings):
        train_network(settings, folder)
        typer.echo(f"The network is in {folder / 'network'}; use it with load_network or --set networks.NAME=...")
        return
    train_prior(settings, folder)
    typer.echo(f"The prior is in {folder / 'prior'}; use it with load_prior or --set sampling.prior={folder / 'prior'}")


@app.command()
def prepare(config: Config, out: Out = None, set: Set = None) -> None:
    """Cut volumes of CT into training cases with simulated scans; run again to continue."""
    from scoreinv.config import load_settings
    from scoreinv.training import PrepareSettings
    from scoreinv.training import prepare as prepare_cases

    settings = load_settings(PrepareSettings, config, set or [])
    folder = _folder(out or Path("data") / settings.name)
    counts = ", ".join(f"{number} for {split}" for split, number in prepare_cases(settings, folder).items())
    typer.echo(f"Cases in {folder}: {counts}; train on them with --set data.folder={folder}")


@app.command(name="import-checkpoint")
def import_command(
    checkpoint: Annotated[Path, typer.Argument(help="file, or folder of diffusers")],
    family: Annotated[str, typer.Option(help="diffusers, adm or ncsnpp")],
    out: Annotated[Path, typer.Option(help="folder for the prior")],
    scale: Annotated[float, typer.Option(help="image = scale * network + offset")] = 1.0,
    offset: Annotated[float, typer.Option(help="see scale")] = 0.0,
    unit: Annotated[str | None, typer.Option(help="of the image, such as 1/mm")] = None,
    data_std: Annotated[float, typer.Option(help="of clean images, network units")] = 0.25,
    air: Annotated[float, typer.Option(help="network value of air: 0 for [0, 1], -1 for [-1, 1]")] = 0.0,
    voxel_size: Annotated[tuple[float, float] | None, typer.Option(help="range of the training images, mm")] = None,
    set: Annotated[list[str] | None, typer.Option("--set", help="what the file does not tell, name=value")] = None,
) -> None:
    """Make a prior of a score network trained elsewhere."""
    from scoreinv.priors import IntensityMap
    from scoreinv.priors.checkpoints import import_checkpoint

    prior = import_checkpoint(
        checkpoint,
        family,
        _folder(out),
        intensity=IntensityMap(scale, offset, unit),
        data_std=data_std,
        air=air,
        voxel_size=voxel_size,
        **{key: yaml.safe_load(value) for key, _, value in (item.partition("=") for item in set or [])},
    )
    typer.echo(f"{prior} is in {out}; use it with load_prior or --set sampling.prior={out}")


@app.command()
def report(folder: Annotated[Path, typer.Argument(help="of a run or a batch")], out: Out = None) -> None:
    """Write report.html: a run's images, errors, spread, metrics and convergence, or a batch's cases, in one page."""
    from scoreinv.report import report as write_report

    typer.echo(f"Open {write_report(folder, None if out is None else _folder(out))} in a browser.")


@app.command()
def info(
    config: Annotated[Path | None, typer.Argument(help="YAML file of a run: what it would take here")] = None,
    set: Set = None,
) -> None:
    """Versions, bundled priors, methods and devices; or the seconds and memory that a run would take here."""
    if config is None:
        from scoreinv.info import describe

        if set:
            raise ValueError(f"--set {set[0]}: info sets values of a configuration alone; name its file")
        typer.echo(describe())
        return
    from scoreinv.batch.forecast import forecast_run, table
    from scoreinv.config import load_run

    each = forecast_run(load_run(config, set or []))
    typer.echo(table([each]))
    typer.echo(f"{sum(each.seconds.values()):.0f} s, from a few steps of every method; nothing was written.")


def _folder(path: Path) -> Path:
    """The folder for results; refused before anything is computed if it is a file."""
    if path.exists() and not path.is_dir():
        raise NotADirectoryError(f"--out: {path} is a file, expected a folder; give another name")
    return path


def main() -> None:
    """Entry point: what a user did wrong, or a machine refuses, ends in one line and status 2, not in a traceback."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        app()
    except (ValueError, OSError, ImportError, NotImplementedError, Diverged, torch.OutOfMemoryError) as error:
        if log.isEnabledFor(logging.DEBUG):
            raise
        typer.echo(f"scoreinv: {' '.join(str(error).split())}", err=True)
        sys.exit(2)


if __name__ == "__main__":
    main()
