"""What stands between a company's people and its Prefect server: a proxy, TLS with a private CA, a header, load."""

import datetime
import ipaddress
import socket
import ssl
import threading
from contextlib import contextmanager, suppress

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

_BUSY = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
_FORBIDDEN = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


def make_certificate(folder, *names):
    """A CA and a server certificate for these host names and 127.0.0.1; the files of CA, certificate and key."""
    now = datetime.datetime.now(datetime.UTC)
    keys = {name: ec.generate_private_key(ec.SECP256R1()) for name in ("ca", "server")}
    subjects = {name: x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, f"test {name}")]) for name in keys}

    def signed(name, *extensions):
        builder = x509.CertificateBuilder(
            issuer_name=subjects["ca"],
            subject_name=subjects[name],
            public_key=keys[name].public_key(),
            serial_number=x509.random_serial_number(),
            not_valid_before=now - datetime.timedelta(days=1),
            not_valid_after=now + datetime.timedelta(days=1),
        )
        for extension in extensions:
            builder = builder.add_extension(extension, critical=False)
        return builder.sign(keys["ca"], hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    identifier = x509.SubjectKeyIdentifier.from_public_key(keys["ca"].public_key())
    usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
    hosts = [*map(x509.DNSName, names), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(keys["ca"].public_key())
    paths = {name: folder / f"{name}.pem" for name in ("ca", "certificate", "key")}
    paths["ca"].write_bytes(signed("ca", x509.BasicConstraints(ca=True, path_length=None), identifier, usage))
    paths["certificate"].write_bytes(signed("server", x509.SubjectAlternativeName(hosts), authority))
    paths["key"].write_bytes(
        keys["server"].private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return paths["ca"], paths["certificate"], paths["key"]


class Front:
    """A listening port that passes connections on to another.

    Attributes:
        port: where it listens.
        busy: how many further requests whose first line holds `busy_with` it answers with 503 itself.
        every: each request of this number it answers so, too; 0 for none.
        connections, requests: how many it has taken.
    """

    def __init__(self, target, context=None, header=None, connect=False):
        self._target, self._context, self._header, self._connect = target, context, header, connect
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.busy, self.busy_with, self.every = 0, b"", 0
        self.connections = self.requests = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self):
        self._listener.close()

    def _accept(self):
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self.connections += 1
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        with suppress(OSError):
            if self._connect:
                connection.recv(65536)  # CONNECT, to wherever it says
                connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            if self._context is not None:
                connection = self._context.wrap_socket(connection, server_side=True)
            self._pass_on(connection)
        connection.close()

    def _pass_on(self, connection):
        first = connection.recv(65536)
        if self._header is not None and self._header.lower() not in first.lower():
            connection.sendall(_FORBIDDEN)
            return
        if self._is_refused(first, connection):
            return
        with socket.create_connection(("127.0.0.1", self._target)) as server:
            server.sendall(first)
            back = threading.Thread(target=_copy, args=(server, connection), daemon=True)
            back.start()
            _copy(connection, server, lambda data: self._is_refused(data, connection))
            back.join(timeout=5)

    def _is_refused(self, data, connection):
        """Answer a request here while the server is to look busy."""
        line = data.split(b"\r\n")[0]
        self.requests += line.endswith(b" HTTP/1.1")
        is_nth = bool(self.every) and line.endswith(b" HTTP/1.1") and self.requests % self.every == 0
        if not is_nth:
            if not self.busy or self.busy_with not in line:
                return False
            self.busy -= 1
        connection.sendall(_BUSY)
        connection.settimeout(1.0)
        with suppress(OSError):  # what is not read would reset the connection before the answer arrives
            while connection.recv(65536):
                pass
        return True


def _copy(source, target, is_refused=lambda _: False):
    with suppress(OSError):
        while (data := source.recv(65536)) and not is_refused(data):
            target.sendall(data)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)


@contextmanager
def front(target, certificate=None, **options):
    """A `Front` of a port of this machine, with TLS where a certificate (file, key file) is given."""
    context = None
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate)
    made = Front(target, context, **options)
    try:
        yield made
    finally:
        made.close()
