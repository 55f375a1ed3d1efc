"""Sensors without Modbus, written independently of ours, for tests.

Arguments: KIND=WHERE …  with KIND sdi12, nmea, dlt645, mhz19 (WHERE a serial path), line (WHERE a TCP port to serve), hj212
(WHERE a TCP port to dial in to).  Standard input takes one command a line:  set NAME VALUE.
Prints "ready" when all speak, "set" after each command, and "acknowledged QN" for each 9014.
"""

import datetime
import os
import select
import socket
import sys
import threading
import time

values = {"moisture": 33.1, "temperature": 18.2, "wind": 5.0, "energy": 123456.78, "co2": 612, "range": 1234, "pm25": 31}


def serial(path):
    """An open serial path: reads what comes within a second, writes."""
    handle = os.open(path, os.O_RDWR | os.O_NOCTTY)

    def read():
        ready, _, _ = select.select([handle], [], [], 1)
        return os.read(handle, 4096) if ready else b""

    return read, lambda data: os.write(handle, data)


def crc16(data, start=0):
    crc = start
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ 0xA001 if crc & 1 else crc >> 1
    return crc


def sdi12(path):
    """Address 3: temperature and moisture in one measurement of one second, with checksum."""
    read, write = serial(path)
    heard = b""
    while True:
        heard += read()
        while b"!" in heard:
            command, heard = heard.split(b"!", 1)
            write(command + b"!")  # adapters send back what they are told
            if command == b"3MC":
                write(b"30012\r\n")
                time.sleep(0.2)
                write(b"3\r\n")
            elif command == b"3D0":
                text = b"3%+.1f%+.1f" % (values["temperature"], values["moisture"])
                crc = crc16(text)
                write(text + bytes(0x40 | crc >> shift & 0x3F for shift in (12, 6, 0)) + b"\r\n")


def nmea(path):
    _, write = serial(path)
    while True:
        body = "WIMWV,315.4,R,%.1f,M,A" % values["wind"]
        check = 0
        for character in body:
            check ^= ord(character)
        write(("$%s*%02X\r\n$GPGGA,junk\r\n" % (body, check)).encode())
        time.sleep(0.2)


def dlt645(path):
    """Meter 000010604867: forward active energy; anything else is refused."""
    read, write = serial(path)
    address = bytes.fromhex("674860100000")
    heard = b""
    while True:
        heard = (heard + read())[-200:]
        start = heard.find(b"\x68" + address + b"\x68\x11\x04")
        if start < 0 or len(heard) < start + 16:
            continue
        identifier = bytes((byte - 0x33) % 256 for byte in heard[start + 10 : start + 14])
        heard = b""
        if identifier == b"\x00\x00\x01\x00":
            digits = "%08d" % round(values["energy"] * 100)
            data, control = identifier + bytes.fromhex(digits)[::-1], 0x91
        else:
            data, control = b"\x02", 0xD1
        frame = b"\x68" + address + b"\x68" + bytes([control, len(data)]) + bytes((byte + 0x33) % 256 for byte in data)
        write(b"\xfe\xfe" + frame + bytes([sum(frame) % 256, 0x16]))


def mhz19(path):
    read, write = serial(path)
    while True:
        if read() == b"\xff\x01\x86\x00\x00\x00\x00\x00\x79":
            body = bytes([0x86]) + int(values["co2"]).to_bytes(2, "big") + bytes([61, 0, 0, 0])
            write(b"\xff" + body + bytes([(0x100 - sum(body)) % 256]))


def line(port):
    """A serial server in front of a sensor that prints a distance by itself."""
    server = socket.create_server(("127.0.0.1", int(port)))
    while True:
        peer, _ = server.accept()
        try:
            while True:
                peer.sendall(b"R%04d\r" % values["range"])
                time.sleep(0.2)
        except OSError:
            peer.close()


def hj212(port):
    """A station that dials in, and sends each value split over two packets until both are acknowledged."""
    number = 0
    while True:
        try:
            peer = socket.create_connection(("127.0.0.1", int(port)), timeout=2)
        except OSError:
            time.sleep(0.2)
            continue
        if peer.getsockname() == peer.getpeername():
            # Where nobody listens, a connection may meet itself, and would keep the port.
            peer.close()
            continue
        try:
            while True:
                now = datetime.datetime.now(datetime.timezone(datetime.timedelta(hours=8)))
                body = "DataTime=%s;a34004-Rtd=%s,a34004-Flag=N" % (now.strftime("%Y%m%d%H%M%S"), values["pm25"])
                for place, part in enumerate((body[:30], body[30:]), 1):
                    number += 1
                    qn = "20260610%09d" % number
                    segment = "QN=%s;ST=22;CN=2011;PW=123456;MN=620702107000000000000001;Flag=7;PNUM=2;PNO=%d;CP=&&%s&&"
                    segment %= (qn, place, part)
                    crc = 0xFFFF
                    for byte in segment.encode():
                        crc = (crc >> 8) ^ byte
                        for _ in range(8):
                            crc = (crc >> 1) ^ 0xA001 if crc & 1 else crc >> 1
                    peer.sendall(("##%04d%s%04X\r\n" % (len(segment), segment, crc)).encode())
                    answer = b""
                    while not answer.endswith(b"\r\n"):
                        piece = peer.recv(1000)
                        if not piece:
                            raise OSError
                        answer += piece
                    if b"CN=9014" in answer and qn.encode() in answer:
                        print("acknowledged", qn, flush=True)
                time.sleep(0.5)
        except OSError:
            peer.close()


def main():
    for argument in sys.argv[1:]:
        kind, where = argument.split("=", 1)
        threading.Thread(target=globals()[kind], args=(where,), daemon=True).start()
    print("ready", flush=True)
    for command in sys.stdin:
        words = command.split()
        if len(words) == 3 and words[0] == "set":
            values[words[1]] = float(words[2])
            print("set", flush=True)


main()
