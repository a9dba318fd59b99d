// Questions to the server that this page is from, and to no other.

/**
 * The answer to a file. `sent` is told which share of it has left, `lines` is given each piece of an answer in lines.
 * Fails with the server's own sentence and its status, 0 where the connection was lost.
 */
export function ask(path, file, { signal, sent, lines }) {
  return new Promise((done, failed) => {
    const request = new XMLHttpRequest(); // fetch does not tell how much of a file has left
    const fail = (sentence, status = request.status) => failed(Object.assign(new Error(sentence), { status }));
    const attempt = (step) => {
      try {
        step();
      } catch (error) {
        fail(error.message, error.status);
        request.abort();
      }
    };
    let read = 0;
    const take = () => {
      const end = request.responseText.lastIndexOf("\n") + 1;
      const found = request.responseText.slice(read, end).split("\n").filter(Boolean).map((line) => JSON.parse(line));
      read = end;
      if (found.length) lines(found.filter((one) => !one.error));
      const broken = found.find((one) => one.error);
      if (broken) throw Object.assign(new Error(broken.error), { status: broken.status });
    };
    const loaded = () => {
      if (request.status !== 200) throw new Error(sentence(request));
      if (lines) take();
      done(lines ? null : JSON.parse(request.responseText));
    };
    request.upload.addEventListener("progress", (event) => sent?.(event.loaded / event.total));
    request.addEventListener("progress", () => lines && request.status === 200 && attempt(take));
    request.addEventListener("load", () => attempt(loaded));
    request.addEventListener("error", () => fail("The server did not answer: it has ended, or the connection was lost."));
    request.addEventListener("abort", () => fail("Cancelled."));
    signal.addEventListener("abort", () => request.abort(), { once: true });
    request.open("POST", path);
    request.setRequestHeader("content-type", "application/octet-stream"); // its bytes say what it is, not its name
    request.send(file);
  });
}

function sentence(request) {
  try {
    return JSON.parse(request.responseText).error;
  } catch {
    return `The server answered ${request.status} ${request.statusText}`; // a proxy before it, perhaps
  }
}
