"""What the server says of itself is what it does."""

import subprocess
import sys

import pytest

CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
    "unsupported_method",
)


def test_every_address_is_described_and_answers(server):
    described = server.ask("GET", "/openapi.json").json
    assert described["openapi"] == "3.1.0"
    for path, methods in described["paths"].items():
        for method in methods:
            assert server.ask(method.upper(), path).status == (200 if method == "get" else 400), path
    assert {*described["paths"]} >= {"/", "/predict", "/segments", "/explain", "/model", "/health", "/metrics"}
    sizes = described["paths"]["/predict"]["post"]["requestBody"]["content"]["video/*"]["schema"]["maxLength"]
    assert sizes == server.ask("GET", "/model").json["limits"]["bytes"]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_whatever_schemathesis_asks_is_answered_as_described(server, library, tmp_path):
    library("schemathesis", "peers")
    start = "import sys; from schemathesis.cli import schemathesis; sys.exit(schemathesis())"
    options = ["--checks", ",".join(CHECKS), "--max-examples", "50", "--seed", "1", "--generation-database", "none"]
    address = f"http://127.0.0.1:{server.port}/openapi.json"
    command = [sys.executable, "-c", start, "run", address, *options]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=500)
    assert done.returncode == 0, done.stdout
