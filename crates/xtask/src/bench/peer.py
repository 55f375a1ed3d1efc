"""What a careful person writes in an afternoon: pymodbus polls, paho publishes. For `cargo xtask bench field`.

Arguments: BROKER_PORT SETTLE_S SECONDS MODBUS_PORT...   One connection and ten registers for each port, once a second.
Prints "ready", then after the settling "measuring", and at the end one line of JSON.
"""

import asyncio
import json
import sys
import time

import paho.mqtt.client as mqtt
from pymodbus.client import AsyncModbusTcpClient

KEYS = ["soil_moisture", "soil_temperature", "soil_ec", "soil_ph", "air_temperature",
        "air_humidity", "air_co2", "wind_speed", "noise", "water_level"]
INTERVAL_S = 1.0
measuring = False
readings = 0
failed = 0
late_ms = []


async def device(number, port, publisher):
    global readings, failed
    client = AsyncModbusTcpClient("127.0.0.1", port=port, timeout=0.5)
    await client.connect()
    due = time.monotonic()
    before = None
    while True:
        answer = await client.read_holding_registers(0, count=10, device_id=1)
        now = time.monotonic()
        if answer.isError():
            failed += 1
        else:
            values = {key: word / 10 for key, word in zip(KEYS, answer.registers)}
            publisher.publish(f"bench/device-{number}", json.dumps({"at": time.time(), **values}), qos=1)
            if measuring:
                readings += len(values)
                if before is not None:
                    late_ms.append(abs(now - before - INTERVAL_S) * 1000)
            before = now
        due += INTERVAL_S
        await asyncio.sleep(max(0.0, due - time.monotonic()))


async def main(broker, settle_s, seconds, ports):
    global measuring
    publisher = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2)
    publisher.max_inflight_messages_set(1000)
    publisher.connect("127.0.0.1", broker)
    publisher.loop_start()
    polls = [asyncio.create_task(device(n, port, publisher)) for n, port in enumerate(ports, 1)]
    print("ready", flush=True)
    await asyncio.sleep(settle_s)
    measuring = True
    print("measuring", flush=True)
    await asyncio.sleep(seconds)
    late_ms.sort()
    part = lambda share: late_ms[int((len(late_ms) - 1) * share)] if late_ms else None
    print(json.dumps({"readings": readings, "failed": failed,
                      "p50": part(0.5), "p99": part(0.99), "max": part(1.0)}), flush=True)
    # The caller looks at what this process has used, and ends it.
    await asyncio.Event().wait()


asyncio.run(main(int(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3]), [int(port) for port in sys.argv[4:]]))
