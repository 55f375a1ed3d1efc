"""A Modbus server made of pymodbus, for tests against parts that others wrote.

Arguments: tcp PORT UNITS | rtu PATH UNITS.  The word at an address is a function of unit, function code and address.
"""

import asyncio
import sys

from pymodbus.server import ModbusSerialServer, ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

TABLE = 8192


def device(unit):
    async def answer(function, start, address, length, registers, values):
        for at in range(address, address + length):
            registers[at - start] = (unit * 257 + at * 7 + function) & 0xFFFF

    registers = [SimData(0, values=[0] * TABLE, datatype=DataType.REGISTERS)]
    return SimDevice(unit, simdata=registers, action=answer)


async def main(kind, place, units):
    devices = [device(unit) for unit in range(1, int(units) + 1)]
    if kind == "tcp":
        server = ModbusTcpServer(devices, address=("127.0.0.1", int(place)))
    else:
        server = ModbusSerialServer(devices, port=place, baudrate=115200)
    await server.serve_forever(background=True)
    print("ready", flush=True)
    await asyncio.Event().wait()


asyncio.run(main(*sys.argv[1:]))
