"""pymodbus as a bus of two units, on a serial port or a socket: register n of unit u holds 1000 u + n."""

import asyncio
import sys

from pymodbus import FramerType
from pymodbus.datastore import ModbusDeviceContext, ModbusSequentialDataBlock, ModbusServerContext
from pymodbus.server import ModbusSerialServer, ModbusTcpServer


def unit(number):
    words = [number * 1000 + n for n in range(64)]
    # These values, as floats in the two usual orders: 1.5 at 20, -2.25 with its words swapped at 22.
    words[20:24] = [0x3FC0, 0x0000, 0x0000, 0xC010]
    registers = lambda: ModbusSequentialDataBlock(1, words)
    bits = lambda: ModbusSequentialDataBlock(1, [n % 3 == 0 for n in range(64)])
    return ModbusDeviceContext(di=bits(), co=bits(), hr=registers(), ir=registers())


async def main():
    kind, where = sys.argv[1:3]
    context = ModbusServerContext(devices={1: unit(1), 2: unit(2)}, single=False)
    options = {"ignore_missing_devices": True}
    if kind == "tcp":
        server = ModbusTcpServer(
            context, address=("127.0.0.1", int(where)), framer=FramerType.SOCKET, **options
        )
    else:
        server = ModbusSerialServer(
            context, framer=FramerType.RTU, port=where, baudrate=115200, **options
        )
    await server.serve_forever(background=True)
    print("ready", flush=True)
    await asyncio.sleep(600)


asyncio.run(main())
