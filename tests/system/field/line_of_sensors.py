"""A line with three sensors made of pymodbus, for the commands of those who commission.

Arguments: tcp PORT | rtu PATH BAUD.  Only these answer, and only at the addresses that they have:

    unit 1   XY-MD02                21.5 °C, 63.4 %
    unit 3   7-in-1 soil probe      61.0 %, 35.9 °C, 6 µS/cm, pH 5.5
    unit 7   TUF-2000M flow meter   12.5 m³/h, 0.8 m/s, 1234 m³, 92 %; its floats come high word first, unlike the profile's

Prints "ready" when it serves; ends when standard input does.
"""

import asyncio
import logging
import struct
import sys

from pymodbus.server import ModbusSerialServer, ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

NOWHERE = 60000
UNITS = (1, 3, 7)


def words(address, values):
    return SimData(address, values=values, datatype=DataType.REGISTERS)


def bits():
    return [SimData(NOWHERE, values=[False], datatype=DataType.BITS)]


def device(unit, holding, inputs, action=None):
    registers = (bits(), bits(), holding or [words(NOWHERE, [0])], inputs or [words(NOWHERE, [0])])
    return SimDevice(unit, simdata=registers, action=action)


def high_word_first(number):
    return list(struct.unpack(">HH", struct.pack(">f", number)))


reads = 0


async def flow(function, start, address, length, registers, values):
    """The flow moves a little with every read, as flows do."""
    global reads
    if values is None and address <= 0 < address + length:
        reads += 1
        registers[0 - start : 2 - start] = high_word_first(12.5 + 0.01 * (reads % 7))


def line():
    meter = [0] * 92
    meter[0:2] = high_word_first(12.5)
    meter[4:6] = high_word_first(0.8)
    meter[8:10] = [1234, 0]
    meter[91] = 92
    return [
        device(1, None, [words(1, [215, 634])]),
        device(3, [words(0, [610, 359, 6, 55])], None),
        device(7, [words(0, meter)], None, flow),
    ]


def only_ours(unit_at):
    """Units that are not on the line are silent; this server would answer for them with an exception."""

    def packet(sending, data):
        return data if not sending or data[unit_at] in UNITS else b""

    return packet


async def main(arguments):
    options = {"trace_packet": only_ours(6 if arguments[0] == "tcp" else 0)}
    logging.disable(logging.CRITICAL)
    if arguments[0] == "tcp":
        server = ModbusTcpServer(line(), address=("127.0.0.1", int(arguments[1])), **options)
    else:
        server = ModbusSerialServer(line(), port=arguments[1], baudrate=int(arguments[2]), **options)
    await asyncio.create_task(server.serve_forever(background=True))
    print("ready", flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    await server.shutdown()


asyncio.run(main(sys.argv[1:]))
