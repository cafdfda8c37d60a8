"""An instrument of pyvisa-sim behind a socket: prints its port, then serves one connection."""

import socket
import sys
import tempfile

import pyvisa

INSTRUMENT = r"""
spec: "1.1"
devices:
  supply:
    eom:
      ASRL INSTR:
        q: "\n"
        r: "\n"
    error:
      error_queue:
        - q: "SYST:ERR?"
          default: '0,"No error"'
          command_error: '-113,"Undefined header"'
          query_error: '-400,"Query error"'
    dialogues:
      - q: "*IDN?"
        r: "SIMULATED,SUPPLY,42,1.0"
      - q: "MEAS:ALL?"
        r: "+1.25000000E+01,-3.5E-03,9.91E37"
    properties:
      voltage:
        default: 1.0
        getter:
          q: "VOLT?"
          r: "{:+.8E}"
        setter:
          q: "VOLT {:.3f}"
        specs:
          min: 0
          max: 30
          type: float
resources:
  ASRL1::INSTR:
    device: supply
"""

with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
    file.write(INSTRUMENT)
    file.flush()
    manager = pyvisa.ResourceManager(f"{file.name}@sim")
    instrument = manager.open_resource(
        "ASRL1::INSTR", read_termination="\n", write_termination="\n", timeout=100
    )
listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
connection, _ = listener.accept()
for line in connection.makefile("r", newline="\n"):
    instrument.write(line.strip())
    if "?" in line:
        try:
            connection.sendall((instrument.read() + "\n").encode())
        except pyvisa.VisaIOError:
            pass
