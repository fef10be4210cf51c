"""A worker of a pool whose workers are killed, on the published Python peer.

It is the Python counterpart of `chaos-worker`, with `work` alone: the same arguments, an
instance name behind the first, the same lines on stdout. It never outlives LIFETIME_S_MAX.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from typing import Any

try:
    from clamator_over_redis import RedisRpcServer
    from clamator_protocol import Contract, MethodEntry
    from pydantic import BaseModel
except ImportError as error:
    sys.exit(
        f"chaos_worker.py: {error}. Run tests/setup.sh once, then start this program with "
        "tests/.env/python/bin/python."
    )

LIFETIME_S_MAX = 900
RUN_MS_MAX = 20


class Work(BaseModel):
    number: int


class Done(BaseModel):
    value: int


class Chaos:
    async def work(self, params: Work) -> dict[str, Any]:
        print(f"start {params.number}", flush=True)
        await asyncio.sleep(params.number % RUN_MS_MAX / 1000)
        print(f"end {params.number}", flush=True)
        return {"value": params.number * 3 + 1}


CHAOS = Contract(service="chaos", methods={"work": MethodEntry(Work, Done, "work")})


async def serve(url: str, instance: str, claim_idle_ms: str) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    server = RedisRpcServer(
        redis_url=url,
        key_prefix="chaos",
        instance_id=instance,
        consumer_claim_idle_ms=int(claim_idle_ms),
    )
    server.register_service(CHAOS, Chaos())
    await server.start()
    print("ready", flush=True)
    await asyncio.wait_for(stop.wait(), LIFETIME_S_MAX)
    await server.stop()


if __name__ == "__main__":
    logging.basicConfig(level=logging.ERROR, stream=sys.stderr)
    asyncio.run(serve(*sys.argv[1:4]))
