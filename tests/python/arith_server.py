"""Serves `arith` and `notifications` on the published Python peer, for the interop tests.

It is the Python counterpart of `interop-server`: the same flags, the same standard streams, the
same services. It is not generated code and not an example of how to write a contract; the models
follow what the peer's own generator emits (unknown members refused, unset optionals sent as null)
so that the other side meets what it will meet in the field.

With flags it serves both services and reads no stdin. Without flags it reads one JSON object
from stdin up to its end:
    {redisUrl, keyPrefix, contract?: "arith"|"notifications", instanceId?, consumerClaimIdleMs?}
and serves the named contract, or both. Either way it prints READY on stdout once it serves, stops
gracefully on SIGTERM or SIGINT, and ends with HANDLED:<handlers begun> on stderr, where BEGUN
stands whenever a handler that pauses begins. It never outlives LIFETIME_S_MAX.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import signal
import sys
import uuid
from typing import Annotated, Any

try:
    from clamator_over_redis import RedisRpcServer
    from clamator_protocol import Contract, MethodEntry, RpcError
    from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
    from pydantic_core import PydanticCustomError
except ImportError as error:
    sys.exit(
        f"arith_server.py: {error}. Run tests/setup.sh once, then start this program with "
        "tests/.env/python/bin/python."
    )

CLAIM_IDLE_MS_DEFAULT = 60_000
LIFETIME_S_MAX = 900
START_S_MAX = 10
STOP_S_MAX = 15


# --- models ---------------------------------------------------------------------------------


class Model(BaseModel):
    """Refuses unknown members, as generated models do."""

    model_config = ConfigDict(extra="forbid")


def _number_only(value: Any) -> Any:
    """Refuses what the peer's lax mode would take for an integer: "2" and true.

    The error is a PydanticCustomError because an ordinary ValueError travels inside the peer's
    error data, cannot be encoded there, and leaves the entry unacknowledged for ever.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise PydanticCustomError("int_type", "Input should be a valid integer")
    return value


Integer = Annotated[int, BeforeValidator(_number_only)]
Milliseconds = Annotated[int, Field(ge=0, le=600_000)]


class Empty(Model):
    pass


class AddParams(Model):
    a: float
    b: float


class Sum(Model):
    sum: float


class AddIntParams(Model):
    a: Integer
    b: Integer


class IntegerSum(Model):
    sum: int


class Quotient(Model):
    q: float


class FailParams(Model):
    code: int
    message: str
    data: Any = None


class MessageParams(Model):
    message: str


class SlowParams(Model):
    ms: Milliseconds


class Done(Model):
    ok: bool


class SlowAddParams(Model):
    a: float
    b: float
    sleep_ms: Milliseconds = Field(alias="sleepMs")


class AnyValue(Model):
    value: Any


class Text(Model):
    text: str


class Camel(Model):
    foo_bar: str = Field(alias="fooBar")


class Tag(Model):
    tag: str | None = None


class LogParams(Model):
    msg: str


class Stats(Model):
    instance: str
    counts: dict[str, int]
    pings: list[str | None]
    logs: list[str]


# --- handlers -------------------------------------------------------------------------------


class Record:
    """What this process was asked to do, shared by both services."""

    def __init__(self, instance: str) -> None:
        self.instance = instance
        self.counts: dict[str, int] = {}
        self.pings: list[str | None] = []
        self.logs: list[str] = []

    def begin(self, method: str) -> None:
        self.counts[method] = self.counts.get(method, 0) + 1

    async def pause(self, ms: int) -> None:
        """What a slow handler does. It says first that it has begun."""
        print("BEGUN", file=sys.stderr, flush=True)
        await asyncio.sleep(ms / 1000)

    @property
    def handled(self) -> int:
        return sum(self.counts.values())


class Arith:
    def __init__(self, record: Record) -> None:
        self.record = record

    async def add(self, params: AddParams) -> dict[str, Any]:
        self.record.begin("add")
        return {"sum": params.a + params.b}

    async def add_int(self, params: AddIntParams) -> dict[str, Any]:
        self.record.begin("addInt")
        return {"sum": params.a + params.b}

    async def divide(self, params: AddParams) -> dict[str, Any]:
        self.record.begin("divide")
        if params.b == 0:
            raise RpcError(-32000, "division by zero", {"a": params.a, "b": params.b})
        return {"q": params.a / params.b}

    async def fail(self, params: FailParams) -> dict[str, Any]:
        self.record.begin("fail")
        raise RpcError(params.code, params.message, params.data)

    async def crash(self, params: MessageParams) -> dict[str, Any]:
        self.record.begin("crash")
        raise RuntimeError(params.message)

    async def slow(self, params: SlowParams) -> dict[str, Any]:
        self.record.begin("slow")
        await self.record.pause(params.ms)
        return {"ok": True}

    async def slow_add(self, params: SlowAddParams) -> dict[str, Any]:
        self.record.begin("slowAdd")
        await self.record.pause(params.sleep_ms)
        return {"sum": params.a + params.b}

    async def echo(self, params: AnyValue) -> dict[str, Any]:
        self.record.begin("echo")
        return {"value": params.value}

    async def echo_text(self, params: Text) -> dict[str, Any]:
        self.record.begin("echoText")
        return {"text": params.text}

    async def camel(self, params: Camel) -> dict[str, Any]:
        self.record.begin("camel")
        return {"fooBar": params.foo_bar}

    async def opt(self, params: Tag) -> dict[str, Any]:
        self.record.begin("opt")
        return {"tag": params.tag}

    async def bad_result(self, _params: Empty) -> dict[str, Any]:
        self.record.begin("badResult")
        return {"unexpected": True}

    async def stats(self, _params: Empty) -> dict[str, Any]:
        self.record.begin("stats")
        return {
            "instance": self.record.instance,
            "counts": dict(self.record.counts),
            "pings": list(self.record.pings),
            "logs": list(self.record.logs),
        }

    async def ping(self, params: Tag) -> None:
        self.record.begin("ping")
        self.record.pings.append(params.tag)

    async def log(self, params: LogParams) -> None:
        self.record.begin("log")
        self.record.logs.append(params.msg)

    async def slow_note(self, params: SlowParams) -> None:
        self.record.begin("slowNote")
        await self.record.pause(params.ms)

    async def crash_note(self, params: MessageParams) -> None:
        self.record.begin("crashNote")
        raise RuntimeError(params.message)


class Notifications:
    def __init__(self, record: Record) -> None:
        self.record = record

    async def ping(self, params: Tag) -> None:
        self.record.begin("notifications.ping")
        self.record.pings.append(params.tag)


ARITH = Contract(
    service="arith",
    methods={
        "add": MethodEntry(AddParams, Sum, "add"),
        "addInt": MethodEntry(AddIntParams, IntegerSum, "add_int"),
        "divide": MethodEntry(AddParams, Quotient, "divide"),
        "fail": MethodEntry(FailParams, Empty, "fail"),
        "crash": MethodEntry(MessageParams, Empty, "crash"),
        "slow": MethodEntry(SlowParams, Done, "slow"),
        "slowAdd": MethodEntry(SlowAddParams, Sum, "slow_add"),
        "echo": MethodEntry(AnyValue, AnyValue, "echo"),
        "echoText": MethodEntry(Text, Text, "echo_text"),
        "camel": MethodEntry(Camel, Camel, "camel"),
        "opt": MethodEntry(Tag, Tag, "opt"),
        "badResult": MethodEntry(Empty, Done, "bad_result"),
        "stats": MethodEntry(Empty, Stats, "stats"),
        "ping": MethodEntry(Tag, None, "ping"),
        "log": MethodEntry(LogParams, None, "log"),
        "slowNote": MethodEntry(SlowParams, None, "slow_note"),
        "crashNote": MethodEntry(MessageParams, None, "crash_note"),
    },
)

NOTIFICATIONS = Contract(
    service="notifications",
    methods={"ping": MethodEntry(Tag, None, "ping")},
)


# --- configuration --------------------------------------------------------------------------


def configuration() -> dict[str, Any]:
    """Takes the configuration from the flags, or from stdin when there is none."""
    if len(sys.argv) == 1:
        return configuration_from_stdin()
    parser = argparse.ArgumentParser(
        description="Serves arith and notifications on the published Python peer."
    )
    parser.add_argument("--redis-url", required=True)
    parser.add_argument("--key-prefix", required=True)
    parser.add_argument("--instance-id", help="default: a random UUID")
    parser.add_argument("--claim-idle-ms", type=int, default=CLAIM_IDLE_MS_DEFAULT)
    parser.add_argument("--timeout-ms", type=int, help="the client's; nothing here")
    parser.add_argument("--parallel", action="store_true", help="the client's; nothing here")
    flags = parser.parse_args()
    return {
        "redisUrl": flags.redis_url,
        "keyPrefix": flags.key_prefix,
        "instanceId": flags.instance_id,
        "consumerClaimIdleMs": flags.claim_idle_ms,
    }


def configuration_from_stdin() -> dict[str, Any]:
    try:
        config = json.load(sys.stdin.buffer)
        for key in ("redisUrl", "keyPrefix"):
            if not isinstance(config[key], str):
                raise TypeError(f"{key} must be a string")
        if config.get("contract") not in (None, "arith", "notifications"):
            raise ValueError('contract must be "arith" or "notifications"')
    except (KeyError, TypeError, ValueError) as error:
        sys.exit(f"arith_server.py: the configuration on stdin is unusable: {error!r}")
    return config


# --- serving --------------------------------------------------------------------------------


async def serve(config: dict[str, Any]) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)

    record = Record(config.get("instanceId") or str(uuid.uuid4()))
    server = RedisRpcServer(
        redis_url=config["redisUrl"],
        key_prefix=config["keyPrefix"],
        instance_id=record.instance,
        consumer_claim_idle_ms=config.get("consumerClaimIdleMs") or CLAIM_IDLE_MS_DEFAULT,
    )
    contract = config.get("contract")
    if contract in (None, "arith"):
        server.register_service(ARITH, Arith(record))
    if contract in (None, "notifications"):
        server.register_service(NOTIFICATIONS, Notifications(record))

    try:
        await asyncio.wait_for(server.start(), START_S_MAX)
    except Exception as error:  # noqa: BLE001  # whatever it is, it is the reason to give
        print(f"arith_server.py: cannot serve: {type(error).__name__}: {error}", file=sys.stderr)
        return 1
    print("READY", flush=True)

    status = 0
    try:
        await asyncio.wait_for(stop.wait(), LIFETIME_S_MAX)
    except TimeoutError:
        print(f"arith_server.py: nobody stopped it in {LIFETIME_S_MAX} s", file=sys.stderr)
        status = 1
    try:
        await asyncio.wait_for(server.stop(), STOP_S_MAX)
    except TimeoutError:
        print(f"arith_server.py: did not stop in {STOP_S_MAX} s", file=sys.stderr)
        status = 1
    print(f"HANDLED:{record.handled}", file=sys.stderr, flush=True)
    return status


if __name__ == "__main__":
    logging.basicConfig(
        level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr
    )
    sys.exit(asyncio.run(serve(configuration())))
