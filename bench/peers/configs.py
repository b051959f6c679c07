"""What nginx and HAProxy are told, so that they do a relay's work and no more: one upstream, kept alive, no logs.

nginx passes no field of the client on but the type of the content. Both bound what a client may send and how long it
may take, as every proxy in earnest does.
"""

from pathlib import Path
from typing import Final

from seclude.ohttp.media import GATEWAY_PATH, OHTTP_REQ

KEEPALIVE: Final = 128  # upstream connections kept; more than the load ever has


def nginx(folder: Path, port: int, upstream: str, path: str, certificate: tuple[Path, Path] | None) -> str:
    """Return nginx.conf; `certificate` is a chain and its key, for TLS on the client side."""
    tls = ""
    if certificate is not None:
        tls = f"ssl_certificate {certificate[0]}; ssl_certificate_key {certificate[1]}; ssl_protocols TLSv1.3;"
    return f"""
daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/nginx-error.log crit;
events {{ worker_connections 4096; }}
http {{
  access_log off; keepalive_timeout 75s; keepalive_requests 100000000; client_max_body_size 1100k;
  client_header_timeout 10s; client_body_timeout 30s; send_timeout 30s; client_body_buffer_size 16k;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  upstream next {{ server {upstream}; keepalive {KEEPALIVE}; keepalive_requests 100000000; }}
  server {{
    listen 127.0.0.1:{port}{" ssl" if tls else ""} backlog=4096; {tls}
    location = {GATEWAY_PATH} {{
      proxy_pass http://next{path};
      proxy_http_version 1.1;
      proxy_pass_request_headers off;
      proxy_set_header Connection "";
      proxy_set_header Content-Type {OHTTP_REQ};
    }}
  }}
}}
"""


def haproxy(port: int, upstream: str) -> str:
    """Return haproxy.cfg."""
    return f"""
global
  nbthread 1
  maxconn 4096
defaults
  mode http
  no log
  timeout connect 5s
  timeout client 75s
  timeout server 120s
  timeout http-request 10s
  http-reuse always
frontend relay
  bind 127.0.0.1:{port} backlog 4096
  http-request deny unless METH_POST
  default_backend gateway
backend gateway
  server next {upstream}
"""
