"""A hub on this machine: repositories with commits and branches, by the few addresses that huggingface_hub asks."""

import base64
import hashlib
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

TOKEN = "hf_of_the_tests"  # noqa: S105 (it opens nothing)


class Hub(ThreadingHTTPServer):
    """What is stored, and ``requests``: method and path of each."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files, self.branches, self.private = {}, {}, {}
        self.large, self.requests, self.refuses = {}, [], {}
        self.commits_taken = 0

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"

    def put(self, repository, contents, branch="main"):
        """A commit of these files; gives its id."""
        self.private.setdefault(repository, False)
        self.commits_taken += 1
        commit = hashlib.sha1(f"{repository} {self.commits_taken}".encode()).hexdigest()  # noqa: S324 (as git)
        self.files[commit] = dict(contents)
        self.branches.setdefault(repository, {})[branch] = commit
        return commit

    def held(self, repository, branch="main"):
        return self.files[self.branches[repository][branch]]

    def __enter__(self):
        self.thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02})
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.shutdown()
        self.thread.join()
        self.server_close()

    def handle_error(self, request, client_address):
        """A client that hangs up is no fault."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, format, *args):  # noqa: A002 (the name is http.server's)
        """Keep the tests' output clean."""

    def answer(self, status, content=b"", **headers):
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(body))} | headers).items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def absent(self, what):
        self.answer(404, {"error": "not found"}, X_Error_Code=what)

    def route(self):
        hub, path = self.server, unquote(urlsplit(self.path).path)
        hub.requests.append((self.command, path))
        sent = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            while size := int(self.rfile.readline(), 16):
                sent += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        known = self.headers.get("Authorization") == f"Bearer {TOKEN}"
        for pattern, status in hub.refuses.items():
            if re.search(pattern, path) and status is None:
                self.close_connection = True
                return None
            if re.search(pattern, path):
                return self.answer(status, {"error": "the test says so"})
        if found := re.fullmatch(r"/lfs/(\w+)", path):
            hub.large[found[1]] = sent
            return self.answer(200)
        if path == "/api/validate-yaml":
            return self.answer(200, {"errors": [], "warnings": []})
        if self.command == "POST" and not known:
            return self.answer(401, {"error": "invalid token"})
        if path == "/api/repos/create":
            asked = json.loads(sent)
            name = f"{asked.get('organization') or 'me'}/{asked['name']}"
            hub.put(name, {".gitattributes": b""})
            hub.private[name] = asked.get("visibility") == "private" or asked.get("private", False)
            return self.answer(200, {"url": f"{hub.url}/{name}"})
        found = re.fullmatch(
            r"/(?:api/models/)?([^/]+/[^/]+?)"
            r"(?:\.git/info/lfs/objects/(batch)|/(revision|preupload|commit|branch|resolve)/([^/]+)(?:/(.+))?)?",
            path,
        )
        name = found and found[1]
        if name not in hub.branches or (hub.private[name] and not known):
            return self.absent("RepoNotFound")
        what = found[2] or found[3] or "revision"
        branch = found[4] or "main"
        if what == "batch":
            objects = json.loads(sent)["objects"]
            actions = [one | {"actions": {"upload": {"href": f"{hub.url}/lfs/{one['oid']}"}}} for one in objects]
            return self.answer(200, {"transfer": "basic", "objects": actions})
        if what == "branch":
            hub.branches[name].setdefault(branch, hub.branches[name]["main"])
            return self.answer(200)
        commit = hub.branches[name].get(branch, branch if branch in hub.files else None)
        if commit is None:
            return self.absent("RevisionNotFound")
        return getattr(self, what)(name, branch, commit, found[5], sent)

    do_GET = do_POST = do_PUT = do_HEAD = route  # noqa: N815 (http.server's)

    def revision(self, name, branch, commit, path, sent):
        hub, files = self.server, self.server.files[commit]
        card = re.search(rb"^license: (.+)$", files.get("README.md", b""), re.MULTILINE)
        siblings = []
        for file, content in files.items():
            entry = {"rfilename": file, "size": len(content), "blobId": git_digest(content)}
            if file.endswith(".safetensors"):
                entry["lfs"] = {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 134}
            siblings.append(entry)
        self.answer(
            200,
            {
                "id": name,
                "sha": commit,
                "private": hub.private[name],
                "siblings": siblings,
                "cardData": {"license": card[1].decode()} if card else {},
            },
        )

    def preupload(self, name, branch, commit, path, sent):
        modes = [
            {"path": file["path"], "shouldIgnore": False, "uploadMode": mode}
            for file in json.loads(sent)["files"]
            for mode in ["lfs" if file["path"].endswith(".safetensors") else "regular"]
        ]
        self.answer(200, {"files": modes})

    def commit(self, name, branch, commit, path, sent):
        hub = self.server
        files = dict(hub.files[commit])
        for line in sent.splitlines():
            entry = json.loads(line)
            value = entry["value"]
            if entry["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif entry["key"] == "lfsFile":
                files[value["path"]] = hub.large[value["oid"]]
            elif entry["key"] == "deletedFile":
                del files[value["path"]]
        new = hub.put(name, files, branch)
        self.answer(200, {"commitUrl": f"{hub.url}/{name}/commit/{new}", "commitOid": new})

    def resolve(self, name, branch, commit, path, sent):
        content = self.server.files[commit].get(path)
        if content is None:
            return self.absent("EntryNotFound")
        tag = hashlib.sha256(content).hexdigest() if path.endswith(".safetensors") else git_digest(content)
        return self.answer(200, content, ETag=f'"{tag}"', X_Repo_Commit=commit)


def git_digest(content):
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()  # noqa: S324 (as git)
