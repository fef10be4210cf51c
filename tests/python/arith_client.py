"""Makes a list of calls with the published Python peer's client, for the interop tests.

It is the Python counterpart of `interop-client`: the same flags, the same JSON in and out. It
knows no contract: params go out as given (so an optional can be sent as null or left out) and
results come back unvalidated. It is not a load generator.

With flags, stdin is a JSON list of calls and stdout one JSON list of outcomes, in the same order:
    call     {method, params?, notification?, timeoutMs?}    method: "add" or "arith.add"
    outcome  {ok: true,  kind: "result", result}
             {ok: true,  kind: "notification"}
             {ok: false, kind: "rpc-error", code, message, data}
             {ok: false, kind: "transport-error" | "protocol-error" | "unknown-error", message}
Without flags, stdin is one JSON object
    {redisUrl, keyPrefix, instanceId?, defaultTimeoutMs?, calls, concurrent?}
and stdout {"results": [outcome, ...]}; `concurrent` n > 1 makes the whole list n times at once.
A failed call is an outcome; the exit status is 0 unless stdin or the flags are unusable (2).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import sys
from typing import Any

try:
    from clamator_over_redis import RedisRpcClient
    from clamator_protocol import ClamatorProtocolError, ClamatorTransportError, RpcError
    from redis.exceptions import RedisError
except ImportError as error:
    sys.exit(
        f"arith_client.py: {error}. Run tests/setup.sh once, then start this program with "
        "tests/.env/python/bin/python."
    )

TIMEOUT_MS_DEFAULT = 5_000
# What a call may take beyond its own timeout, which the peer starts only after XADD is answered.
XADD_S_MAX = 10
STOP_S_MAX = 5


def refuse(reason: str) -> None:
    print(f"arith_client.py: {reason}", file=sys.stderr)
    sys.exit(2)


def configuration() -> tuple[dict[str, Any], bool]:
    """Returns the stdio configuration, and whether it came from flags."""
    if len(sys.argv) == 1:
        config = read_stdin()
        if not isinstance(config, dict):
            refuse("the configuration on stdin is not an object")
        for key in ("redisUrl", "keyPrefix"):
            if not isinstance(config.get(key), str):
                refuse(f"the configuration on stdin needs the string {key}")
        check_calls(config.get("calls"))
        return config, False

    parser = argparse.ArgumentParser(
        description="Makes the JSON list of calls on stdin with the published Python peer."
    )
    parser.add_argument("--redis-url", required=True)
    parser.add_argument("--key-prefix", required=True)
    parser.add_argument("--instance-id", help="default: a random UUID")
    parser.add_argument("--claim-idle-ms", type=int, help="the server's; nothing here")
    parser.add_argument("--timeout-ms", type=int, default=TIMEOUT_MS_DEFAULT)
    parser.add_argument("--parallel", action="store_true", help="all calls at once")
    flags = parser.parse_args()
    calls = read_stdin()
    check_calls(calls)
    return {
        "redisUrl": flags.redis_url,
        "keyPrefix": flags.key_prefix,
        "instanceId": flags.instance_id,
        "defaultTimeoutMs": flags.timeout_ms,
        "calls": calls,
        "parallel": flags.parallel,
    }, True


def read_stdin() -> Any:
    try:
        return json.load(sys.stdin.buffer)
    except ValueError as error:
        return refuse(f"stdin is not JSON: {error}")


def check_calls(calls: Any) -> None:
    if not isinstance(calls, list):
        refuse("the calls are not a list")
    for call in calls:
        if not isinstance(call, dict) or not isinstance(call.get("method"), str):
            refuse(f"a call needs the string method: {call!r}")


async def attempt(client: RedisRpcClient, call: dict[str, Any], timeout_ms: int) -> dict[str, Any]:
    """Makes one call and turns whatever comes of it into an outcome."""
    service, dot, method = call["method"].partition(".")
    if not dot:
        service, method = "arith", service
    params = call.get("params", {})
    if call.get("timeoutMs") is not None:
        timeout_ms = call["timeoutMs"]
    try:
        async with asyncio.timeout(timeout_ms / 1000 + XADD_S_MAX):
            if call.get("notification"):
                await client.notify(service, method, params)
                return {"ok": True, "kind": "notification"}
            result = await client.call(service, method, params, timeout_ms=timeout_ms)
            return {"ok": True, "kind": "result", "result": result}
    except RpcError as error:
        return {
            "ok": False,
            "kind": "rpc-error",
            "code": error.code,
            "message": error.message,
            "data": error.data,
        }
    except ClamatorProtocolError as error:
        return {"ok": False, "kind": "protocol-error", "message": str(error)}
    except (ClamatorTransportError, RedisError) as error:
        # A failing notify raises the driver's own error.
        return {"ok": False, "kind": "transport-error", "message": describe(error)}
    except TimeoutError:
        return {"ok": False, "kind": "transport-error", "message": "timeout: no answer to XADD"}
    except ValueError as error:
        # A name refused before sending, or params that JSON cannot carry.
        return {"ok": False, "kind": "protocol-error", "message": str(error)}
    except Exception as error:  # noqa: BLE001  # an outcome, so that the other calls are reported
        return {"ok": False, "kind": "unknown-error", "message": describe(error)}


def printable(outcome: dict[str, Any]) -> dict[str, Any]:
    """Replaces an outcome with NaN or Infinity in it, which the peer passes on, by an error."""
    try:
        json.dumps(outcome, allow_nan=False)
    except ValueError as error:
        return {"ok": False, "kind": "protocol-error", "message": f"not JSON: {error}"}
    return outcome


def describe(error: BaseException) -> str:
    cause = f": {error.__cause__}" if error.__cause__ and str(error.__cause__) else ""
    return f"{error}{cause}" or type(error).__name__


async def run(config: dict[str, Any]) -> list[dict[str, Any]]:
    timeout_ms = config.get("defaultTimeoutMs") or TIMEOUT_MS_DEFAULT
    client = RedisRpcClient(
        redis_url=config["redisUrl"],
        key_prefix=config["keyPrefix"],
        instance_id=config.get("instanceId"),
        default_timeout_ms=timeout_ms,
    )
    await client.start()
    calls = config["calls"]
    rounds = config.get("concurrent") or 1
    try:
        if config.get("parallel") or rounds > 1:
            outcomes = await asyncio.gather(
                *(attempt(client, call, timeout_ms) for _ in range(rounds) for call in calls)
            )
        else:
            outcomes = [await attempt(client, call, timeout_ms) for call in calls]
        return [printable(outcome) for outcome in outcomes]
    finally:
        try:
            await asyncio.wait_for(client.stop(), STOP_S_MAX)
        except TimeoutError:
            print(f"arith_client.py: did not stop in {STOP_S_MAX} s", file=sys.stderr)


def main() -> None:
    logging.basicConfig(
        level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr
    )
    config, from_flags = configuration()
    results = asyncio.run(run(config))
    print(json.dumps(results if from_flags else {"results": results}), flush=True)


if __name__ == "__main__":
    main()
