"""A Modbus device made of pymodbus, for tests against parts that others wrote.

Arguments: tcp PORT | rtu PATH BAUD.  Every unit answers; registers start at 0.
Standard input takes one command a line:  set ADDRESS VALUE [VALUE …]  (holding and input registers alike).
Holding registers 900 and 901 are a 32-bit counter (high word first) that counts every time they are read.
Prints "ready" when it serves and "set" after each command.
"""

import asyncio
import sys

from pymodbus.server import ModbusSerialServer, ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

COUNTER = 900
count = 0
wanted = {}


async def answer(function, start, address, length, registers, values):
    """Runs before each access: puts in what the test set, and counts the reads of the counter."""
    global count
    for register, value in wanted.items():
        registers[register - start] = value
    if values is None and address <= COUNTER < address + length:
        count += 1
        registers[COUNTER - start] = count >> 16
        registers[COUNTER + 1 - start] = count & 0xFFFF


async def commands():
    """Obeys standard input."""
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        words = line.split()
        if words and words[0] == "set":
            first = int(words[1])
            wanted.update((first + n, int(word) & 0xFFFF) for n, word in enumerate(words[2:]))
            print("set", flush=True)


async def main(arguments):
    registers = [SimData(0, values=[0] * 1000, datatype=DataType.REGISTERS)]
    context = [SimDevice(0, simdata=registers, action=answer)]  # id 0: every unit
    if arguments[0] == "tcp":
        server = ModbusTcpServer(context, address=("127.0.0.1", int(arguments[1])))
    else:
        server = ModbusSerialServer(context, port=arguments[1], baudrate=int(arguments[2]))
    serving = asyncio.create_task(server.serve_forever(background=True))
    await serving
    print("ready", flush=True)
    await commands()
    await server.shutdown()


asyncio.run(main(sys.argv[1:]))
