"""What a factory and its engine tell each other, as JSON: the same over a socket pair and over HTTP."""

from __future__ import annotations

from pilothouse.canonical import Json
from pilothouse.fleet import wire
from pilothouse.fleet.wire import Fields
from pilothouse.ids import Epoch, JobId, ProductId
from pilothouse.ports.dispatch import Beat, Command, Held, Offer, Word


def offer_as_json(offer: Offer) -> dict[str, Json]:
    """Return an offer as JSON."""
    return {
        "job": offer.job,
        "epoch": offer.epoch,
        "product": offer.product,
        "key": offer.key,
        "spec": offer.spec.as_json(),
        "folder": offer.folder,
        "lease_seconds": offer.lease_seconds,
        "earlier_folders": list(offer.earlier_folders),
        "least": None if offer.least is None else wire.least_as_json(offer.least),
    }


def offer_from_json(value: Json) -> Offer:
    """Read what `offer_as_json` wrote."""
    read = Fields("offer", value)
    return Offer(
        job=JobId(read.text("job")),
        epoch=Epoch(read.whole("epoch")),
        product=ProductId(read.text("product")),
        key=read.text("key"),
        spec=wire.spec_from_json(read.raw("spec")),
        folder=read.text("folder"),
        lease_seconds=read.number("lease_seconds"),
        earlier_folders=read.texts("earlier_folders"),
        least=read.optional("least", lambda: wire.least_from_json(read.raw("least"))),
    )


def name_as_json(job: JobId, epoch: Epoch) -> dict[str, Json]:
    """Return an attempt's name as JSON."""
    return {"job": job, "epoch": epoch}


def name_from_json(value: Json) -> tuple[JobId, Epoch]:
    """Read what `name_as_json` wrote."""
    read = Fields("held", value)
    return JobId(read.text("job")), Epoch(read.whole("epoch"))


def start_as_json(
    job: JobId, epoch: Epoch, *, pid: int, pid_started: float, resume_step: int | None
) -> dict[str, Json]:
    """Return what is told of an attempt's start as JSON."""
    return {**name_as_json(job, epoch), "pid": pid, "pid_started": pid_started, "resume_step": resume_step}


def held_as_json(held: Held) -> dict[str, Json]:
    """Return a held attempt with its sign of life as JSON."""
    told = None if held.progress is None else wire.progress_as_json(held.progress)
    return {**name_as_json(held.job, held.epoch), "progress": told}


def held_from_json(value: Json) -> Held:
    """Read what `held_as_json` wrote."""
    read = Fields("held", value)
    job, epoch = name_from_json(value)
    progress = read.optional("progress", lambda: wire.progress_from_json(read.raw("progress")))
    return Held(job=job, epoch=epoch, progress=progress)


def beat_as_json(beat: Beat) -> dict[str, Json]:
    """Return the answer to a heartbeat as JSON."""
    return {
        "lease_seconds": beat.lease_seconds,
        "commands": [_command_as_json(command) for command in beat.commands],
        "draining": beat.draining,
    }


def beat_from_json(value: Json) -> Beat:
    """Read what `beat_as_json` wrote."""
    read = Fields("beat", value)
    return Beat(
        lease_seconds=read.number("lease_seconds"),
        commands=tuple(_command_from_json(item) for item in read.listed("commands")),
        draining=read.flag("draining"),
    )


def _command_as_json(command: Command) -> dict[str, Json]:
    return {
        **name_as_json(command.job, command.epoch),
        "word": command.word,
        "seconds": command.seconds,
        "why": command.why,
    }


def _command_from_json(value: Json) -> Command:
    read = Fields("command", value)
    return Command(
        job=JobId(read.text("job")),
        epoch=Epoch(read.whole("epoch")),
        word=read.word("word", Word),
        seconds=read.number("seconds"),
        why=read.text("why"),
    )
