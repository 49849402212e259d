"""Artifacts: sealed folders go up and down as tar archives, named by the digest of their manifest."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from pilothouse.access.roles import Permission
from pilothouse.errors import ArtifactDamaged, NotFound
from pilothouse.fleet.job import Artifact, Job
from pilothouse.fleet.stages import LEASED
from pilothouse.ids import ArtifactDigest, Epoch, JobId
from pilothouse.operations.audit import keep
from pilothouse.operations.find_job import lease_lost
from pilothouse.ports.blobs import Blobs, Stored
from pilothouse.ports.store import Transaction
from pilothouse.web.answers import ArtifactAnswer
from pilothouse.web.identity import Caller
from pilothouse.web.job_routes import seen_job
from pilothouse.web.parts import DigestPath, JobPath, NamePath, Parts, parts_of, route, told
from pilothouse.web.problems import Malformed
from pilothouse.web.tar import packed, unpack

router = APIRouter()
TAR = "application/x-tar"
TAR_BODY = {"requestBody": {"required": True, "content": {TAR: {"schema": {"type": "string", "format": "binary"}}}}}
TAR_ANSWER = {
    "description": "The sealed folder with its manifest.",
    "content": {TAR: {"schema": {"type": "string", "format": "binary"}}},
}


@router.post(
    "/fleet/jobs/{job}/artifacts/{name}",
    **route(answers={201: ArtifactAnswer}, problems=(404, 409, 415)) | {"openapi_extra": TAR_BODY},
)
async def upload(
    request: Request,
    job: JobPath,
    name: NamePath,
    epoch: Annotated[int, Query(ge=0, le=(1 << 53) - 1)],
    digest: Annotated[str, Query(pattern=r"^[0-9a-f]{64}$")],
) -> Response:
    """Keep what a running attempt has made; it is published when the attempt's own report names it."""
    parts = parts_of(request)
    caller = await parts.gate.admit_all(request, Permission.WORK)
    await parts.read(lambda tx: _held_by(tx, caller, JobId(job), Epoch(epoch)))
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != TAR:
        raise Malformed("the body is no tar archive", fix=f"send it as {TAR}", status=415)
    stored = await _kept(parts, request.stream(), ArtifactDigest(digest))
    await parts.read(lambda tx: _held_by(tx, caller, JobId(job), Epoch(epoch)))
    return told(
        {"name": name, "digest": stored.digest, "size_bytes": stored.size_bytes, "meta": dict(stored.meta)}, status=201
    )


@router.get(
    "/fleet/jobs/{job}/artifacts/{name}", **route(answers={200: None}, problems=(404, 409), raw={200: TAR_ANSWER})
)
async def download(request: Request, job: JobPath, name: NamePath) -> Response:
    """Send what a job has published under a name."""
    parts = parts_of(request)
    caller = await parts.gate.admit_all(request, Permission.FETCH)
    artifact = await parts.read(lambda tx: _published(tx, caller, JobId(job), name))
    return await _sent(parts, artifact.digest)


@router.delete("/fleet/jobs/{job}/artifacts/{name}", **route(answers={204: None}, problems=(404,)))
async def withdraw(request: Request, job: JobPath, name: NamePath) -> Response:
    """Publish the artifact no longer, wherever the product has it; a campaign that needs it has it made again."""
    parts = parts_of(request)
    caller = await parts.gate.admit_all(request, Permission.OPERATE)
    now = parts.clock.now()

    def act(tx: Transaction) -> None:
        found = _published(tx, caller, JobId(job), name)
        product = seen_job(tx, caller, JobId(job)).product
        tx.jobs.mark_damaged(product, found.digest, now=now)
        of = f"{name} of job {job}"
        keep(tx, "artifact.delete", found.digest, actor=caller.actor, product=product, now=now, detail=of)

    await parts.engine.apply_async(act)
    return Response(status_code=204)


@router.get("/fleet/artifacts/{digest}", **route(answers={200: None}, problems=(404, 409), raw={200: TAR_ANSWER}))
async def download_by_digest(request: Request, digest: DigestPath) -> Response:
    """Send a published artifact of the caller's product, such as an input of its job."""
    parts = parts_of(request)
    caller = await parts.gate.admit(request, Permission.FETCH)
    product, named = caller.one, ArtifactDigest(digest)
    if not await parts.read(lambda tx: tx.jobs.is_intact(product, named)):
        raise NotFound(f"there is no artifact {digest}", fix="take the digest from what a job has published")
    return await _sent(parts, named)


def _held_by(tx: Transaction, caller: Caller, name: JobId, epoch: Epoch) -> Job:
    """Return the job if the caller's factory holds it under this epoch."""
    job = seen_job(tx, caller, name)
    factory = caller.token.factory if caller.token is not None else job.factory
    if job.epoch != epoch or job.stage not in LEASED or job.factory != factory:
        raise lease_lost(job, held=epoch)
    return job


def _published(tx: Transaction, caller: Caller, name: JobId, artifact: str) -> Artifact:
    job = seen_job(tx, caller, name)
    found = next((each for each in tx.jobs.artifacts(job.id) if each.name == artifact), None)
    if found is None:
        raise NotFound(f"job {job.id} has published no {artifact!r}", fix="GET its artifacts to see what there is")
    return found


async def _kept(parts: Parts, stream: AsyncIterator[bytes], digest: ArtifactDigest) -> Stored:
    """Return the archive's folder as it is kept, if it is what the digest names."""
    parts.scratch.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="upload-", dir=parts.scratch))
    try:
        archive = folder / "archive.tar"
        with archive.open("wb") as file:
            async for chunk in stream:
                await asyncio.to_thread(file.write, chunk)
        return await asyncio.to_thread(_unpacked, parts.blobs, archive, folder / "sealed", digest)
    finally:
        await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)


def _unpacked(blobs: Blobs, archive: Path, folder: Path, digest: ArtifactDigest) -> Stored:
    unpack(archive, folder)
    stored = blobs.put(folder)
    if stored.digest != digest:
        raise ArtifactDamaged(
            f"the archive holds the artifact {stored.digest}, and {digest} was named",
            fix="send the folder whose manifest has that digest",
            artifact=digest,
        )
    return stored


async def _sent(parts: Parts, digest: ArtifactDigest) -> Response:
    folder = await asyncio.to_thread(parts.blobs.path, digest)
    headers = {
        "ETag": f'"{digest}"',
        "Pilothouse-Digest": digest,
        "Content-Disposition": f'attachment; filename="{digest}.tar"',
    }
    return StreamingResponse(_chunks(folder), media_type=TAR, headers=headers)


def _chunks(folder: Path) -> Iterator[bytes]:
    yield from packed(folder)
