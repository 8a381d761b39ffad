"""A TLS server as cheap as Python makes it: one fixed answer for every request, so that the client is what is timed."""

from __future__ import annotations

import asyncio
import ssl
import sys
from pathlib import Path

import trustme
import uvloop

SNAPSHOT = (
    b'[{"conidEx":"756733","conid":756733,"server_id":"q0","_updated":1775169600623,"6119":"q0","6509":"RpB",'
    b'"31":"655.89","84":"655.88","85":"600","86":"655.90","88":"1,300","7059":"100","87":"52.1M","87_raw":5.21E7,'
    b'"70":"657.10","71":"650.02","82":"+1.20","83":"0.18","7295":"653.00","7296":"654.69","7741":"654.69",'
    b'"7762":"52100311","7051":"SPDR S&P 500 ETF TRUST","55":"SPY","6070":"STK","7221":"ARCA","6004":"SMART"}]'
)
ANSWER = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json; charset=utf-8\r\n"
    b"Content-Length: %d\r\nConnection: keep-alive\r\n\r\n%s" % (len(SNAPSHOT), SNAPSHOT)
)


class Fixed(asyncio.Protocol):
    """Answers each complete head; the requests timed here carry no body."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.waiting = b""

    def data_received(self, data: bytes) -> None:
        self.waiting += data
        heads = self.waiting.count(b"\r\n\r\n")
        if heads:
            self.waiting = self.waiting.rsplit(b"\r\n\r\n", 1)[1]
            self.transport.write(ANSWER * heads)


async def serve(folder: Path) -> None:
    ca = trustme.CA()
    ca.cert_pem.write_to_path(str(folder / "ca.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("localhost", "127.0.0.1").configure_cert(context)
    server = await asyncio.get_running_loop().create_server(Fixed, "127.0.0.1", 0, ssl=context, backlog=256)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(Path(sys.argv[1])))
